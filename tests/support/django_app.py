"""Views for the tests of Django's middleware, and Django set up as far as they need it."""

from __future__ import annotations

import asyncio
import io
import logging

import django
import structlog
from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
from django.urls import include, path
from structlog.contextvars import bind_contextvars, get_contextvars

if (
    not settings.configured
):  # somebody else's tests may have been first; these override what they need
    settings.configure(SECRET_KEY="tests", LOGGING_CONFIG=None)
    django.setup()

MIDDLEWARE = ["pylog_struct.web.django.RequestMiddleware"]
OVERRIDES = {
    "ALLOWED_HOSTS": ["*"],
    "DEBUG": False,
    "LOGGING": {},
    "LOGGING_CONFIG": None,
    "MIDDLEWARE": MIDDLEWARE,
    "PYLOG_STRUCT": {},
    "ROOT_URLCONF": __name__,
}
log = structlog.get_logger("shop")


def item(request, number):
    bind_contextvars(stray=number)
    log.info("shown", number=number)
    return HttpResponse(b"0123456789")


def broken(request):
    raise ValueError("boom")


def missing(request):
    raise Http404


def stream(request):
    def chunks():
        for number in range(3):
            log.info("chunk", number=number)
            yield f"chunk {number};"

    return StreamingHttpResponse(chunks())


def broken_stream(request):
    def chunks():
        yield b"first;"
        raise ValueError("torn")

    return StreamingHttpResponse(chunks())


def file(request):
    return FileResponse(io.BytesIO(b"x" * 1000), filename="x.bin")


class User:
    is_authenticated = True
    pk = 17


def profile(request):
    if "anonymous" not in request.GET:
        request._cached_user = (
            User()
        )  # what django.contrib.auth does when request.user is looked at
    return HttpResponse(b"")


async def patient(request, number):
    log.info("begun", number=number)
    await asyncio.sleep(0.01 * (number % 3))
    seen = await sync_to_async(_in_thread)(number)
    await asyncio.gather(_in_task(number))
    log.info("ended", number=number)
    return HttpResponse(seen)


def _in_thread(number):
    log.info("in thread", number=number)
    return get_contextvars()["request_id"]


async def _in_task(number):
    log.info("in task", number=number)


async def broken_async(request):
    raise ValueError("boom")


async def stream_async(request):
    async def chunks():
        for number in range(3):
            log.info("chunk", number=number)
            await asyncio.sleep(0)
            yield f"chunk {number};".encode()
            if "forever" in request.GET:
                await asyncio.Event().wait()

    return StreamingHttpResponse(chunks())


async def forever(request):
    log.info("waiting")
    await asyncio.Event().wait()


def stdlib(request):
    logging.getLogger("legacy").info("by logging")
    return HttpResponse(b"")


inner = [path("items/<int:number>/", item)]
urlpatterns = [
    path("api/", include(inner)),
    path("broken/", broken),
    path("missing/", missing),
    path("stream/", stream),
    path("broken-stream/", broken_stream),
    path("file/", file),
    path("profile/", profile),
    path("stdlib/", stdlib),
    path("patient/<int:number>/", patient),
    path("broken-async/", broken_async),
    path("stream-async/", stream_async),
    path("forever/", forever),
]
