"""Flask: a request id on every line, one access event a request, metrics at /metrics.

In this folder (gunicorn reads ``gunicorn.conf.py`` by itself):

    gunicorn app:app --bind 127.0.0.1:8000
"""

import structlog
from flask import Flask

from pylog_struct.web import WSGIRequestMiddleware, mount_metrics

log = structlog.get_logger("shop")
app = Flask(__name__)
app.wsgi_app = WSGIRequestMiddleware(app.wsgi_app, exclude=["/metrics"])
mount_metrics(app)


@app.get("/orders/<int:order_id>")
def order(order_id):
    log.info("order looked up", order_id=order_id)
    return {"order": order_id}


@app.get("/broken")
def broken():
    raise RuntimeError("the shelf is gone")
