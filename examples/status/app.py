"""A status page and health checks in a FastAPI application, with something going on to look at.

    STATUS_TOKEN=open-sesame-0123456789 python examples/status/app.py

Then http://127.0.0.1:8000/status/ asks for the token, and http://127.0.0.1:8000/health says how it is.
``POST /collector/down`` takes away where the logs go, ``POST /collector/up`` brings it back: the
failover turns to files meanwhile, and returns by itself.
"""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

import pylog_struct
from pylog_struct.sinks import FailoverSink, HttpSink, QueueSink, RollingFileSink, StreamSink
from pylog_struct.web import health_asgi_app, status_asgi_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOGS = Path(os.environ.get("STATUS_LOGS", "demo-output/status"))

orders = pylog_struct.get_logger("shop.orders")
payments = pylog_struct.get_logger("shop.payments")


# -- a collector on this machine, which can be taken away -------------------------------------------


class Collector(BaseHTTPRequestHandler):
    """Takes whatever is posted to it, in its own time."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(random.uniform(0.002, 0.03))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """It has no log of its own."""


class Switch:
    """The collector's server, on or off, always on the same port."""

    def __init__(self) -> None:
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.up()

    def up(self) -> None:
        if self._server is None:
            self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Collector)
            self.port = self._server.server_port
            threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def down(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


collector = Switch()


# -- traffic ----------------------------------------------------------------------------------------


class Traffic(threading.Thread):
    """People who buy things, in waves, and payments that fail now and then."""

    def __init__(self, per_second: float) -> None:
        super().__init__(daemon=True)
        self._per_second = per_second
        self._over = threading.Event()

    def run(self) -> None:
        number, started = 0, time.monotonic()
        while not self._over.wait(0.05):
            wave = 1 + 0.6 * random.random() * (1 + (time.monotonic() - started) // 20 % 3)
            for _ in range(int(self._per_second * 0.05 * wave)):
                number += 1
                orders.info("order placed", order_id=number, items=random.randint(1, 9))
            if random.random() < 0.06:
                payments.warning("payment is slow", order_id=number, ms=random.randint(800, 4000))
            if random.random() < 0.03:
                self._fail(number)

    def _fail(self, number: int) -> None:
        try:
            if random.random() < 0.7:
                raise TimeoutError("no answer from the bank within 5 s")
            raise ConnectionResetError("the bank hung up")
        except OSError as error:
            payments.exception("payment failed", order_id=number, cause=str(error))

    def stop(self) -> None:
        self._over.set()
        self.join()


# -- the application --------------------------------------------------------------------------------


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    pylog_struct.configure(
        service="shop",
        sink=QueueSink(
            FailoverSink(
                [
                    HttpSink(
                        f"http://127.0.0.1:{collector.port}/logs", name="collector", backoff_max=2.0
                    ),
                    RollingFileSink(
                        LOGS / "shop.jsonl", max_bytes="512 KiB", max_files=5, name="files"
                    ),
                    StreamSink("stderr"),
                ],
                retry_interval=3.0,
            ),
            capacity=2000,
            policy="discard_low_level",
        ),
    )
    traffic = Traffic(float(os.environ.get("STATUS_RATE", "400")))
    traffic.start()
    yield
    traffic.stop()
    collector.down()
    pylog_struct.shutdown()


app = FastAPI(lifespan=lifespan)
app.mount("/status", status_asgi_app(token=os.environ["STATUS_TOKEN"]))
app.mount("/health", health_asgi_app())


@app.post("/collector/{state}")
def switch_collector(state: str) -> str:
    (collector.up if state == "up" else collector.down)()
    return state


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")), log_config=None)
