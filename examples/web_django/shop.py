"""Django, under WSGI and ASGI: a request id on every line, one access event a request, metrics.

In this folder:

    gunicorn shop:wsgi --bind 127.0.0.1:8000
    uvicorn shop:asgi --log-config log-config.json --no-access-log

A whole project in one file; in yours, the three settings below go into ``settings.py``, and
``mount_metrics`` into ``urls.py``.
"""

import os

import django
import structlog
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path

from pylog_struct.web import mount_metrics

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SHOP_SECRET", "only for trying it out"),
    # These three:
    LOGGING_CONFIG=None,
    MIDDLEWARE=["pylog_struct.web.django.RequestMiddleware"],
    PYLOG_STRUCT={"exclude": ["/metrics"]},
)
django.setup()
log = structlog.get_logger("shop")


def order(_request, order_id):
    log.info("order looked up", order_id=order_id)
    return JsonResponse({"order": order_id})


async def order_async(_request, order_id):
    await log.ainfo("order looked up", order_id=order_id)
    return JsonResponse({"order": order_id})


def broken(_request):
    raise RuntimeError("the shelf is gone")


def report(_request):
    def rows():
        for row in range(3):
            log.info("row", row=row)
            yield f"{row}\n"

    return StreamingHttpResponse(rows(), content_type="text/plain")


async def report_async(_request):
    async def rows():
        for row in range(3):
            await log.ainfo("row", row=row)
            yield f"{row}\n"

    return StreamingHttpResponse(rows(), content_type="text/plain")


urlpatterns = mount_metrics(
    [
        path("orders/<int:order_id>", order),
        path("async/orders/<int:order_id>", order_async),
        path("broken", broken),
        path("report", report),
        path("async/report", report_async),
    ]
)
wsgi = get_wsgi_application()
asgi = get_asgi_application()
