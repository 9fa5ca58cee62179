"""A small web shop, written the way an application is: one call sets up its logging.

    SHOP_OUTPUT=demo-output python examples/shop/app.py

Routes: GET /products, POST /orders, POST /checkout/{order_id}, POST /imports, GET /metrics.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
from pathlib import Path

import orjson
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

import pylog_struct
from pylog_struct.sinks import FailoverSink, QueueSink, RollingFileSink, SwitchEvent
from pylog_struct.web import RequestMiddleware, mount_metrics

OUTPUT = Path(os.environ.get("SHOP_OUTPUT", "demo-output"))

log = pylog_struct.get_logger("shop")  # before configure(): it follows all the same


def page_somebody(switch: SwitchEvent) -> None:
    """What a team would send to its pager."""
    word = "recovered" if switch.recovered else "FAILOVER"
    text = f"{word}: {switch.source} -> {switch.target}, {switch.in_flight} record(s) handed on"
    print(f"{text}: {switch.reason}", file=sys.stderr, flush=True)


def configure_logging() -> None:
    pylog_struct.configure(
        service="shop",
        format="json",
        sink=QueueSink(
            FailoverSink(
                [
                    RollingFileSink(
                        OUTPUT / "primary" / "shop.jsonl",
                        pattern=OUTPUT / "primary" / "shop-%d{yyyy-MM-dd}-%i.jsonl.gz",
                        max_bytes="512 KiB",
                        max_files=3,
                        name="primary",
                    ),
                    RollingFileSink(
                        OUTPUT / "fallback" / "shop.jsonl", max_bytes="100 MB", name="fallback"
                    ),
                ],
                retry_interval=1.0,
                on_switch=page_somebody,
            ),
            capacity=1024,
            policy="discard_low_level",
        ),
    )


app = FastAPI()
mount_metrics(app)

PRODUCTS = {number: f"product {number}" for number in range(1, 51)}
orders: dict[int, int] = {}
next_order = itertools.count(1)


class PaymentError(Exception):
    """The bank said no, or nothing."""


class Order(BaseModel):
    product_id: int
    quantity: int = 1


@app.get("/products")
async def products(page: int = 1):
    shown = list(PRODUCTS)[(page - 1) * 10 : page * 10]
    log.info("products listed", page=page, count=len(shown))
    return shown


@app.post("/orders", status_code=201)
async def order(item: Order):
    number = next(next_order)
    order_log = log.bind(order_id=number)
    order_log.debug("stock checked", product_id=item.product_id)  # below the level: not emitted
    if item.product_id not in PRODUCTS:
        order_log.warning("unknown product", product_id=item.product_id)
        raise HTTPException(404, "no such product")
    orders[number] = item.quantity
    order_log.info("order placed", product=PRODUCTS[item.product_id], quantity=item.quantity)
    return {"order_id": number}


@app.post("/checkout/{order_id}")
async def checkout(order_id: int):
    order_log = log.bind(order_id=order_id)
    quantity = orders.pop(order_id, None)
    if quantity is None:
        order_log.warning("checkout of an unknown order")
        raise HTTPException(404, "no such order")
    if quantity > 3:
        order_log.warning("unusual quantity", quantity=quantity)
    try:
        charge(order_id)
    except PaymentError:
        order_log.exception("payment failed")
        raise HTTPException(502, "payment failed") from None
    order_log.info("order paid", quantity=quantity)
    return {"paid": True}


def charge(order_id: int) -> None:
    if random.random() < 0.1:
        try:
            raise TimeoutError("no answer within 2 s")
        except TimeoutError as error:
            raise PaymentError(f"order {order_id}: the bank does not answer") from error


@app.post("/imports")
def import_catalogue(rows: int = 3000):
    """What every shop has: a job that logs each row, faster than anything could write them."""
    for row in range(rows):
        log.info("row imported", row=row)
    log.warning("import finished", rows=rows)
    return {"rows": rows}


def main() -> None:
    configure_logging()
    # When uvicorn has stopped because of a SIGTERM it sends itself the signal once more; this makes
    # that an ordinary exit.  Without code of one's own to run at the end,
    # configure(signals=("SIGTERM",)) drains the queue and lets the signal do its work.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(os.environ.get("SHOP_PORT", "8000"))
    try:
        # log_config=None: uvicorn leaves logging alone, and its lines come through the same pipeline.
        # The middleware gives every event of a request its id, and each request its access event.
        # The ids are the demo's own clients'; in front of strangers, do not trust what they send.
        served = RequestMiddleware(app, trust_request_id=True)
        uvicorn.run(served, host="127.0.0.1", port=port, log_config=None, access_log=False)
    finally:
        report = pylog_struct.shutdown()
        (OUTPUT / "statistics.json").write_bytes(final_numbers(report))


def final_numbers(report: pylog_struct.ShutdownReport) -> bytes:
    """The ledger after the last record, for whoever wants to check it against the files."""
    statistics = pylog_struct.statistics()
    numbers = {
        "complete": report.complete,
        "written": report.written,
        "abandoned": report.abandoned,
        "emitted": statistics.emitted,
        "discarded": statistics.discarded,
        "root": statistics.root,
        "balanced": statistics.balanced,
        "sinks": {
            name: {
                "received": sink.received,
                "written": sink.written,
                "dropped": sink.dropped,
                "waiting": sink.waiting,
                "bytes_written": sink.bytes_written,
                "drops": {f"{reason} {level}": n for (reason, level), n in sink.drops.items()},
                "errors": dict(sink.errors),
                "details": dict(sink.details),
            }
            for name, sink in statistics.sinks.items()
        },
    }
    return orjson.dumps(numbers, option=orjson.OPT_INDENT_2)


if __name__ == "__main__":
    main()
