"""For web applications: metrics, status and health to mount, and a middleware for requests.

Each is imported when it is asked for; none of them needs a framework or a server to be installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pylog_struct.web.asgi import RequestMiddleware
    from pylog_struct.web.celery import install_celery
    from pylog_struct.web.executor import ContextExecutor
    from pylog_struct.web.flight import FlightRecorder
    from pylog_struct.web.health import health_asgi_app, health_wsgi_app
    from pylog_struct.web.metrics import metrics_asgi_app, metrics_wsgi_app
    from pylog_struct.web.mount import mount_metrics
    from pylog_struct.web.status import status_asgi_app, status_wsgi_app
    from pylog_struct.web.wsgi import WSGIRequestMiddleware
else:
    from pylog_struct._lazy import lazy_names

    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "asgi": ("RequestMiddleware",),
            "celery": ("install_celery",),
            "executor": ("ContextExecutor",),
            "flight": ("FlightRecorder",),
            "health": ("health_asgi_app", "health_wsgi_app"),
            "metrics": ("metrics_asgi_app", "metrics_wsgi_app"),
            "mount": ("mount_metrics",),
            "status": ("status_asgi_app", "status_wsgi_app"),
            "wsgi": ("WSGIRequestMiddleware",),
        },
    )

__all__ = [
    "ContextExecutor",
    "FlightRecorder",
    "RequestMiddleware",
    "WSGIRequestMiddleware",
    "health_asgi_app",
    "health_wsgi_app",
    "install_celery",
    "metrics_asgi_app",
    "metrics_wsgi_app",
    "mount_metrics",
    "status_asgi_app",
    "status_wsgi_app",
]
