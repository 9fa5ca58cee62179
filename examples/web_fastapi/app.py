"""FastAPI: a request id on every line, one access event a request, metrics at /metrics.

In this folder:

    uvicorn app:app --log-config log-config.json --no-access-log

``log-config.json`` calls ``pylog_struct.configure`` before uvicorn's first line.  uvicorn's own access log
is off: the middleware's event says more.
"""

import structlog
from fastapi import FastAPI

from pylog_struct.web import RequestMiddleware, mount_metrics

log = structlog.get_logger("shop")
api = FastAPI()


@api.get("/orders/{order_id}")
def order(order_id: int):
    # In a thread: FastAPI runs it there, with the request's context.
    log.info("order looked up", order_id=order_id)
    return {"order": order_id}


@api.get("/broken")
async def broken():
    raise RuntimeError("the shelf is gone")


mount_metrics(api)
app = RequestMiddleware(api, exclude=["/metrics"])
