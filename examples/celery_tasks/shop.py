"""Tasks of a small shop, with logging that follows an order from the web app to the worker.

    celery -A shop worker --concurrency 2
    celery -A shop beat
    python send.py

All three in this folder.  Broker and results are folders below ``celery-data`` (``SHOP_DATA``), so that
nothing has to be installed; put your own broker in their place.
"""

import os
import time
from pathlib import Path

from celery import Celery, chain

import pylog_struct
from pylog_struct.web import install_celery

pylog_struct.configure(format="json", service="shop")
install_celery()

log = pylog_struct.get_logger("shop")

data = Path(os.environ.get("SHOP_DATA", "celery-data")).absolute()
for folder in ("in", "results", "control"):
    (data / folder).mkdir(parents=True, exist_ok=True)

app = Celery("shop", broker="filesystem://localhost//", backend=f"file://{data / 'results'}")
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "data_folder_in": str(data / "in"),
        "data_folder_out": str(data / "in"),
        "control_folder": str(data / "control"),
    },
    beat_schedule={
        "look for late parcels": {"task": "shop.look_for_late_parcels", "schedule": 1.0}
    },
    beat_schedule_filename=str(data / "schedule"),
)


@app.task(name="shop.pack")
def pack(order_id):
    log.info("packed", order_id=order_id)
    return order_id


@app.task(name="shop.ship", bind=True, max_retries=2)
def ship(self, order_id):
    if self.request.retries == 0:
        raise self.retry(countdown=0, exc=ConnectionError("the carrier does not answer"))
    log.info("shipped", order_id=order_id)
    return order_id


@app.task(name="shop.charge")
def charge(order_id):
    log.info("charging", order_id=order_id)
    raise ValueError("the card was refused")


@app.task(name="shop.look_for_late_parcels", ignore_result=True)
def look_for_late_parcels():
    print("no parcel is late")  # prints are events, too
    time.sleep(0.01)


def fulfil(order_id):
    """Pack, then ship: what the web app calls when an order comes."""
    return chain(pack.s(order_id), ship.s()).apply_async()
