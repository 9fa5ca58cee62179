"""The options of all request middleware: one set of names, defaults and checks."""

from __future__ import annotations

import inspect

import pytest

from pylog_struct.errors import ConfigError
from pylog_struct.web._request.options import DEFAULTS, Options, RequestKeywords
from pylog_struct.web.asgi import RequestMiddleware
from pylog_struct.web.flight import FlightRecorder
from pylog_struct.web.wsgi import WSGIRequestMiddleware


def app():
    """Stands for an application."""


@pytest.mark.parametrize("middleware", [RequestMiddleware, WSGIRequestMiddleware])
@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("logger", "", "not empty"),
        ("logger", 7, "not empty"),
        ("header", "X Request", "X-Request-ID"),
        ("header", "X-Id\r\nSet-Cookie", "X-Request-ID"),
        ("header", b"x-request-id", "X-Request-ID"),
        ("trust_request_id", "yes", "neither True nor False"),
        ("trust_traceparent", 1, "neither True nor False"),
        ("query", None, "neither True nor False"),
        ("exceptions", 0, "neither True nor False"),
        ("trusted_proxies", "10.0.0.0/8", "no list"),
        ("trusted_proxies", 5, "no list"),
        ("trusted_proxies", ["ten"], "10.0.0.0/8"),
        ("client_header", "X-Real-IP", "Forwarded"),
        ("client_header", None, "Forwarded"),
        ("exclude", "/health", "list of paths"),
        ("exclude", None, "list of paths"),
        ("exclude", ["health"], "slash"),
        ("exclude", ["/a*b"], "asterisk"),
        ("exclude", [7], "slash"),
        ("sample", 1.5, "0 to 1"),
        ("sample", -0.1, "0 to 1"),
        ("sample", True, "0 to 1"),
        ("sample", "half", "0 to 1"),
        ("sample", float("nan"), "0 to 1"),
        ("level_for", "INFO", "function"),
        ("slow", 0, "more than 0"),
        ("slow", "soon", "duration"),
        ("recorder", 200, "FlightRecorder"),
    ],
)
def test_nonsense_is_refused_by_name_with_what_would_be_right(middleware, option, value, hint):
    with pytest.raises(ConfigError) as caught:
        middleware(app, **{option: value})
    text = str(caught.value)
    assert f"{middleware.__name__}.{option}" in text
    assert hint in text


@pytest.mark.parametrize("middleware", [RequestMiddleware, WSGIRequestMiddleware])
def test_an_unknown_option_and_no_application_are_refused(middleware):
    with pytest.raises(
        ConfigError, match=r"'trust_requestid' \(did you mean 'trust_request_id'\?\)"
    ):
        middleware(app, trust_requestid=True)
    with pytest.raises(ConfigError, match=f"{middleware.__name__}.app: 7 is no"):
        middleware(7)


def test_everything_has_a_default_and_the_docstring_names_it():
    assert DEFAULTS.keys() == RequestKeywords.__annotations__.keys()
    text = inspect.getdoc(RequestMiddleware)
    assert all(f"{name}: " in text for name in DEFAULTS)


def test_values_in_all_their_forms():
    options = Options(
        "X",
        {
            "slow": "250 ms",
            "sample": 0,
            "exclude": iter(["/health", "/static/*"]),
            "trusted_proxies": ("127.0.0.1",),
            "client_header": "forwarded",
            "level_for": lambda status: "debug" if status < 300 else 25,
            "recorder": FlightRecorder(),
        },
    )
    assert options.slow == 0.25
    assert options.sample == 0.0
    assert [options.excludes(path) for path in ("/health", "/healthy", "/static/a", "/static")] == [
        True,
        False,
        True,
        False,
    ]
    assert (options.level(200), options.level(404)) == (10, 25)
    assert options.proxies.header == "forwarded"


@pytest.mark.parametrize(
    "arguments",
    [
        {"capacity": 0},
        {"capacity": 1.5},
        {"level": "loud"},
        {"max_bytes": 0},
        {"max_total_bytes": "1 KiB"},
    ],
)
def test_a_recorder_refuses_nonsense(arguments):
    with pytest.raises(ConfigError, match=f"FlightRecorder.{next(iter(arguments))}"):
        FlightRecorder(**arguments)
