"""Applications under gunicorn that count what they answer, log it, and answer scrapes: for the tests."""

from __future__ import annotations

import os

from prometheus_client import Counter, Gauge

import pylog_struct
from pylog_struct.sinks import NullSink, QueueSink
from pylog_struct.web import mount_metrics

REQUESTS = Counter("shop_requests", "Requests answered.", ["route"])
HERE = Gauge("shop_workers", "Workers that are there.", multiprocess_mode="livesum")
LOG = pylog_struct.get_logger("shop")


def configured(signals=()):
    """Configure the logging of a worker."""
    sink = QueueSink(NullSink(name="end"), name="main", capacity=1000, policy="block")
    pylog_struct.configure(sink=sink, stdlib=False, signals=signals)


def answered():
    """Count and log one request."""
    HERE.set(1)
    REQUESTS.labels("/work").inc()
    LOG.info("answered")
    return str(os.getpid())


def flask():
    """For gunicorn's sync workers."""
    from flask import Flask

    configured()
    app = Flask("counted")
    app.get("/work")(answered)
    return mount_metrics(app)


def fastapi():
    """For gunicorn's uvicorn workers."""
    from fastapi import FastAPI

    # uvicorn ends with the signal that it got, and no exit handler runs.
    configured(signals=("SIGTERM",))
    app = FastAPI()
    app.get("/work")(answered)
    return mount_metrics(app)


def child_exit(server, worker):
    """Gunicorn's hook, for the configuration file that imports it."""
    from pylog_struct.web.metrics import fold_dead_workers

    fold_dead_workers()
