"""Litestar: a request id on every line, one access event a request, metrics at /metrics.

In this folder:

    uvicorn app:app --log-config log-config.json --no-access-log

``log-config.json`` calls ``pylog_struct.configure`` before uvicorn's first line; ``logging_config=None``
keeps Litestar from setting up a logging of its own.
"""

import structlog
from litestar import Litestar, get
from litestar.exceptions import HTTPException
from litestar.types import Scope

from pylog_struct.web import RequestMiddleware, mount_metrics

log = structlog.get_logger("shop")


@get("/orders/{order_id:int}", sync_to_thread=True)
def order(order_id: int) -> dict[str, int]:
    log.info("order looked up", order_id=order_id)
    return {"order": order_id}


@get("/broken")
async def broken() -> None:
    raise RuntimeError("the shelf is gone")


async def report(error: Exception, scope: Scope) -> None:
    # Litestar makes a 500 of it, so no server sees it; without its own logging, nobody else logs it.
    if not isinstance(error, HTTPException):
        log.error("request failed", path=scope["path"], exc_info=error)


api = mount_metrics(Litestar([order, broken], logging_config=None, after_exception=[report]))
app = RequestMiddleware(api, exclude=["/metrics"])
