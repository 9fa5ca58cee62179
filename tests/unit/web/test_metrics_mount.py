"""One line mounts the metrics in any framework, and nothing is imported that is not there."""

from __future__ import annotations

import functools
import subprocess
import sys

import pytest
from support import mounted
from support.process import environment
from support.scraping import ask_asgi, ask_wsgi

from pylog_struct.errors import ConfigError
from pylog_struct.web import metrics_asgi_app, mount_metrics

CASES = [
    *((name, make, ask_asgi, path) for name, (make, path) in mounted.ASGI.items()),
    *((name, make, ask_wsgi, path) for name, (make, path) in mounted.WSGI.items()),
]


@functools.cache
def _made(make):
    return make()


@pytest.mark.parametrize(
    ("make", "ask", "path"),
    [pytest.param(make, ask, path, id=name) for name, make, ask, path in CASES],
)
class TestEveryFramework:
    """P59: no redirect, whatever the metrics are mounted in."""

    @pytest.mark.parametrize("slash", ["", "/"])
    @pytest.mark.parametrize("root", ["", "/below"])
    def test_both_paths_are_answered(self, make, ask, path, slash, root):
        app = _made(make)
        got = ask(app, path + slash, root=root)
        assert (got.status, got.samples) == (200, mounted.EXPECTED)
        assert got.headers["content-type"].startswith("text/plain; version=0.0.4")
        head = ask(app, path + slash, "HEAD", root=root)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == got.headers["content-length"]

    def test_the_query_and_the_headers_arrive(self, make, ask, path):
        app = _made(make)
        assert ask(app, path, query="name[]=nothing").samples == {}
        compressed = ask(app, path, accept_encoding="gzip", accept="application/openmetrics-text")
        assert compressed.headers["content-encoding"] == "gzip"
        assert compressed.headers["content-type"].startswith("application/openmetrics-text")

    def test_other_methods_are_refused(self, make, ask, path):
        answer = ask(_made(make), path, "POST")
        assert answer.status == 405
        assert {"GET", "HEAD", "OPTIONS"} <= set(answer.headers["allow"].split(", "))
        assert ask(_made(make), path, "OPTIONS").status in {200, 204}

    def test_other_paths_are_still_the_applications(self, make, ask, path):
        app = _made(make)
        for other in ("/", f"{path}/more", f"{path}s", f"/x{path}"):
            answer = ask(app, other)
            assert answer.status in {200, 404}
            assert b"mounted 1.0" not in answer.body


@pytest.mark.parametrize("root", ["", "/below"])
@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/sub/metrics", "/sub/metrics/"])
@pytest.mark.parametrize("name", ["Starlette", "FastAPI"])
def test_starlettes_own_mount_does_not_redirect_to_a_slash(name, path, root):
    """``app.mount("/metrics", metrics_asgi_app())``, as everybody writes it."""
    module = pytest.importorskip("starlette.applications" if name == "Starlette" else "fastapi")
    inner, app = getattr(module, name)(), getattr(module, name)()
    for each in (inner, app):
        each.mount("/metrics", metrics_asgi_app(mounted.REGISTRY))
    app.mount("/sub", inner)
    got = ask_asgi(app, path, root=root)
    assert (got.status, got.samples) == (200, mounted.EXPECTED)
    assert ask_asgi(app, path, "HEAD", root=root).status == 200
    assert ask_asgi(app, f"{path.rstrip('/')}s", root=root).status == 404


def test_a_mount_of_somebody_else_redirects_as_ever():
    applications = pytest.importorskip("starlette.applications")
    app = applications.Starlette()
    app.mount("/metrics", metrics_asgi_app(mounted.REGISTRY))
    app.mount("/other", applications.Starlette())
    answer = ask_asgi(app, "/other")
    assert answer.status == 307
    assert answer.headers["location"].endswith("/other/")


def test_a_route_of_starlette_takes_it_for_an_application():
    app = pytest.importorskip("starlette.applications").Starlette()
    app.add_route("/metrics", metrics_asgi_app(mounted.REGISTRY))
    assert ask_asgi(app).samples == mounted.EXPECTED
    assert ask_asgi(app, method="HEAD").status == 200


@pytest.mark.parametrize("make", [mounted.fastapi, mounted.starlette, mounted.flask])
def test_what_is_returned_is_the_application_and_a_path_can_be_chosen(make):
    app = make()
    assert mount_metrics(app, "/internal/prom-metrics/", registry=mounted.REGISTRY) is app
    ask = ask_wsgi if make is mounted.flask else ask_asgi
    for path in ("/metrics", "/internal/prom-metrics", "/internal/prom-metrics/"):
        assert ask(app, path).samples == mounted.EXPECTED


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/api/metrics", "/api/metrics/"])
def test_a_root_path_that_the_application_says_may_or_may_not_be_in_the_path(path):
    """Proxies that strip it and proxies that do not."""
    assert ask_asgi(mounted.fastapi_root_path(), path).samples == mounted.EXPECTED


def test_the_schema_of_fastapi_does_not_show_it():
    assert "/metrics" not in mounted.fastapi().openapi()["paths"]


def test_a_plain_application_keeps_its_other_scopes():
    seen = []

    class App:
        async def __call__(self, scope, receive, send):
            seen.append(scope["type"])

    app = mount_metrics(App(), registry=mounted.REGISTRY)
    for kind in ("lifespan", "websocket"):
        coroutine = app({"type": kind, "path": "/metrics"}, None, None)
        with pytest.raises(StopIteration):
            coroutine.send(None)
    assert seen == ["lifespan", "websocket"]


def test_an_application_whose_signature_says_nothing_is_named():
    async def asgi(*everything):
        raise NotImplementedError

    def wsgi(*everything):
        raise NotImplementedError

    with pytest.raises(ConfigError, match="say interface='asgi' or interface='wsgi'"):
        mount_metrics(asgi)
    app = mount_metrics(asgi, registry=mounted.REGISTRY, interface="asgi")
    assert ask_asgi(app).samples == mounted.EXPECTED
    app = mount_metrics(wsgi, registry=mounted.REGISTRY, interface="wsgi")
    assert ask_wsgi(app).samples == mounted.EXPECTED


@pytest.mark.parametrize("app", [None, 5, "app", object(), dict, lambda one: None])
def test_what_is_no_application_is_refused(app):
    with pytest.raises(ConfigError, match="app: "):
        mount_metrics(app)
    if not callable(app):
        with pytest.raises(ConfigError, match="app: "):
            mount_metrics(app, interface="wsgi")


@pytest.mark.parametrize(
    "path", ["", "/", "metrics", "/m/{x}", "/a b", "/<x>", "//", "/m?x", 5, None]
)
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ConfigError, match="path: "):
        mount_metrics(lambda environ, start_response: [], path)


def test_what_is_no_interface_is_refused():
    with pytest.raises(ConfigError, match="interface: 'fcgi'"):
        mount_metrics(lambda environ, start_response: [], interface="fcgi")


def test_options_are_checked_before_anything_is_mounted():
    app = mounted.starlette()
    routes = list(app.routes)
    with pytest.raises(ConfigError, match="registry: "):
        mount_metrics(app, "/other", registry=5)
    assert app.routes == routes


def test_a_list_without_django_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "django.urls", None)
    with pytest.raises(ConfigError, match="as Django's urlpatterns are, but there is no Django"):
        mount_metrics([])


def test_no_framework_is_imported():
    code = """
import sys
from pylog_struct.web import metrics_asgi_app, metrics_wsgi_app, mount_metrics
mount_metrics(metrics_asgi_app())
mount_metrics(metrics_wsgi_app())
names = {"starlette", "fastapi", "litestar", "flask", "django", "werkzeug", "portalocker"}
print(sorted(names & {name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
