"""The loggers of uvicorn, gunicorn and hypercorn, without their servers."""

from __future__ import annotations

import asyncio
import importlib
import io
import logging
import logging.config
import pickle
import signal
import sys
import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest
from support.events import memory_pipeline, only_the_bridge

import pylog_struct
from pylog_struct import ConfigError, manager
from pylog_struct.sinks import MemorySink
from pylog_struct.stdlib_bridge import BRIDGE, BridgeHandler
from pylog_struct.web import uvicorn
from pylog_struct.web._request.exchange import REQUEST_ID_KEY, TRACE_KEY
from pylog_struct.web._request.trace_context import Trace
from pylog_struct.web._server import signals as server_signals
from pylog_struct.web._server import stderr as server_stderr

NAMES = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "gunicorn.error",
         "gunicorn.access", "hypercorn.error", "hypercorn.access")  # fmt: skip
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def _as_it_was():
    """Give back what setting a server up changes in the process."""
    before = {
        name: (list(found.handlers), found.level, found.propagate, found.disabled)
        for name in NAMES
        for found in [logging.getLogger(name)]
    }
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    server_stderr.uninstall()
    for name, (kept, level, propagate, disabled) in before.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate, logger.disabled = kept, propagate, disabled
        logger.setLevel(level)
    for number, handler in handlers.items():
        signal.signal(number, handler)


# -- uvicorn ---------------------------------------------------------------------------------------


def uvicorn_logs():
    logging.getLogger("uvicorn.error").error("an error")
    logging.getLogger("uvicorn.access").info(
        '%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "GET", "/", "1.1", 200
    )


def with_its_own_handlers():
    """uvicorn's loggers as its own default configuration leaves them."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "theirs": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}
            },
            "loggers": {
                "uvicorn": {"handlers": ["theirs"], "level": "INFO", "propagate": False},
                "uvicorn.access": {"handlers": ["theirs"], "level": "INFO", "propagate": False},
            },
        }
    )


def test_a_configuration_file_with_the_handler_configures_once():
    sink = MemorySink()
    config = {**uvicorn.LOG_CONFIG, "handlers": {"events": {
        "()": "pylog_struct.web.uvicorn.handler",
        "configure": {"format": "json", "service": "shop", "sink": sink, "level": "DEBUG"},
    }}}  # fmt: skip

    logging.config.dictConfig(config)
    first = manager.current_manager()
    logging.config.dictConfig(config)
    uvicorn_logs()

    assert manager.current_manager() is first
    assert [event["event"] for event in sink.events] == ["an error", "request"]
    assert {event["service"] for event in sink.events} == {"shop"}


def test_the_bridge_survives_and_no_line_comes_twice():
    sink = memory_pipeline()
    with_its_own_handlers()

    logging.config.dictConfig(uvicorn.LOG_CONFIG)
    uvicorn_logs()

    assert BRIDGE.installed
    assert any(isinstance(one, BridgeHandler) for one in logging.getLogger().handlers)
    assert len(sink.events) == 2


@pytest.mark.parametrize("use_colors", [None, True, False])
def test_uvicorn_takes_the_configuration(use_colors):
    real = pytest.importorskip("uvicorn")
    sink = memory_pipeline()

    real.Config("app:app", log_config=uvicorn.LOG_CONFIG, use_colors=use_colors)
    uvicorn_logs()

    assert len(sink.events) == 2


@pytest.mark.parametrize("propagate", [True, False])
@pytest.mark.parametrize("bridged", [True, False])
def test_a_handler_that_is_given_to_a_logger_as_well_brings_no_line_twice(propagate, bridged):
    sink = memory_pipeline(stdlib=bridged)

    logging.config.dictConfig(
        {
            **uvicorn.LOG_CONFIG,
            "loggers": {
                "uvicorn": {"handlers": ["events"], "level": "INFO", "propagate": propagate}
            },
        }
    )
    uvicorn_logs()

    assert [event["event"] for event in sink.events] == ["an error", "request"]


def test_a_function_can_configure():
    sink = MemorySink()

    uvicorn.handler(configure=lambda: pylog_struct.configure(format="json", sink=sink))
    uvicorn_logs()

    assert len(sink.events) == 2


def test_a_function_that_does_not_is_refused():
    with pytest.raises(ConfigError, match="did not call pylog_struct"):
        uvicorn.handler(configure=lambda: None)


@pytest.mark.parametrize("nonsense", ["json", 3, ["a"]])
def test_nonsense_is_refused(nonsense):
    with pytest.raises(ConfigError, match="is neither a mapping"):
        uvicorn.handler(configure=nonsense)

    assert manager.current_manager_or_none() is None


def test_a_wrong_keyword_is_an_error_of_the_file():
    with pytest.raises(ValueError, match="events") as caught:
        logging.config.dictConfig(
            {**uvicorn.LOG_CONFIG, "handlers": {"events": {
                "()": "pylog_struct.web.uvicorn.handler", "configure": {"levle": "INFO"},
            }}}
        )  # fmt: skip

    assert "did you mean 'level'" in str(caught.value.__cause__)


def test_after_a_shutdown_it_configures_again():
    memory_pipeline()
    pylog_struct.shutdown()
    sink = MemorySink()

    uvicorn.handler(configure={"sink": sink, "format": "json"})
    uvicorn_logs()

    assert len(sink.events) == 2


def test_taking_over_from_inside_the_application():
    with_its_own_handlers()
    kept = logging.NullHandler()
    logging.getLogger("uvicorn").addHandler(kept)
    sink = memory_pipeline()

    uvicorn.take_over()
    uvicorn_logs()

    assert len(sink.events) == 2
    assert logging.getLogger("uvicorn").handlers == [kept]


def test_an_access_log_that_uvicorn_was_told_to_leave_out_stays_out():
    with_its_own_handlers()
    logging.getLogger("uvicorn.access").handlers = []  # what --no-access-log does
    logging.getLogger("uvicorn.access").propagate = False
    sink = memory_pipeline()

    uvicorn.take_over()
    uvicorn_logs()

    assert [event["event"] for event in sink.events] == ["an error"]


# -- signals ---------------------------------------------------------------------------------------


def test_only_the_default_action_is_replaced():
    def own(*_):
        raise AssertionError

    signal.signal(signal.SIGTERM, own)
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    server_signals.drain_on_signals()

    assert signal.getsignal(signal.SIGTERM) is own
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_DFL


def test_no_handler_is_installed_from_another_thread():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    thread = threading.Thread(target=server_signals.drain_on_signals)
    thread.start()
    thread.join()

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_is_drained_and_when():
    server_signals._drain(True)  # nothing configured: nothing to do
    sink = MemorySink()
    pylog_struct.configure(format="json", sink=sink, queue_size=100)
    logging.getLogger("x").warning("one")

    server_signals._drain(False)
    assert len(sink.events) == 1
    logging.getLogger("x").warning("two")
    server_signals._drain(True)

    assert len(sink.events) == 2
    assert manager.current_manager().root._closed


# -- gunicorn --------------------------------------------------------------------------------------


@pytest.fixture
def glogging():
    """Our module, with gunicorn's configuration class."""
    pytest.importorskip("gunicorn")
    from gunicorn.config import Config

    module = importlib.import_module("pylog_struct.web.gunicorn")

    def make(cls=module.GunicornLogger, **settings):
        cfg = Config()
        for name, value in settings.items():
            cfg.set(name, value)
        return cls(cfg)

    return SimpleNamespace(module=module, make=make, Config=Config)


ENVIRON = {
    "REQUEST_METHOD": "GET",
    "RAW_URI": "/caf%C3%A9?q=1",
    "PATH_INFO": "/caf\xc3\xa9",
    "QUERY_STRING": "q=1",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "192.0.2.7",
    "REMOTE_PORT": "5000",
    "HTTP_USER_AGENT": '","status":200,"x":"\r\n%(h)s',
}


def gunicorn_access(logger, environ=None, status="404 Not Found"):
    response = SimpleNamespace(status=status, sent=17, headers=[])
    logger.access(response, None, ENVIRON if environ is None else environ, timedelta(seconds=0.25))


def test_gunicorn_lines_and_levels(glogging):
    sink = memory_pipeline()
    logger = glogging.make(loglevel="warning")

    logger.info("not shown")
    logger.warning("a warning of %s", "gunicorn")
    logger.log("error", "an error")

    assert [(e["level"], e["logger"], e["event"]) for e in sink.events] == [
        ("warning", "gunicorn.error", "a warning of gunicorn"),
        ("error", "gunicorn.error", "an error"),
    ]


def test_gunicorn_access_is_typed_and_cannot_be_forged(glogging):
    sink = memory_pipeline()

    gunicorn_access(glogging.make())

    (event,) = sink.events
    del event["timestamp"]
    assert event == {
        "level": "info",
        "logger": "gunicorn.access",
        "event": "request",
        "method": "GET",
        "path": "/café",
        "query": "q=1",
        "status": 404,
        "client_address": "192.0.2.7",
        "client_port": 5000,
        "http_version": "1.1",
        "user_agent": '","status":200,"x":"\\r\\n%(h)s',
        "duration": 0.25,
        "response_bytes": 17,
    }


def test_gunicorn_access_of_a_worker_that_says_less(glogging):
    sink = memory_pipeline()

    gunicorn_access(glogging.make(), {"PATH_INFO": "/x"}, status=200)

    assert sink.events[0]["path"] == "/x"
    assert sink.events[0]["status"] == 200
    assert "method" not in sink.events[0]


def test_gunicorn_times_of_days_and_of_its_asgi_worker(glogging):
    sink = memory_pipeline()
    logger = glogging.make()
    response = SimpleNamespace(status=200)

    logger.access(response, None, {"REMOTE_ADDR": "-"}, timedelta(days=2, seconds=1))
    logger.access(response, None, {}, SimpleNamespace(seconds=1, microseconds=500_000))

    assert [event["duration"] for event in sink.events] == [172801.0, 1.5]
    assert "client_address" not in sink.events[0]


@pytest.mark.parametrize(("accesslog", "lines"), [(None, 0), ("-", 1), ("", 0)])
def test_gunicorn_leaves_a_request_to_the_middleware_unless_told(glogging, accesslog, lines):
    from pylog_struct.web import WSGIRequestMiddleware

    sink = memory_pipeline()
    logger = glogging.make(accesslog=accesslog)
    environ = dict(ENVIRON)
    app = WSGIRequestMiddleware(lambda environ, start_response: [], exclude=["/café"])
    app(environ, lambda *of_response: None).close()

    gunicorn_access(logger, environ)
    assert [event["request_id"] for event in sink.events] == [environ[REQUEST_ID_KEY]] * lines

    gunicorn_access(logger)  # the middleware was not asked
    assert len(sink.events) == lines + (accesslog != "")


def test_gunicorn_access_can_be_turned_off(glogging):
    sink = memory_pipeline()

    gunicorn_access(glogging.make(accesslog=""))
    logger = glogging.make()
    pylog_struct.set_level("WARNING", logger="gunicorn.access")
    gunicorn_access(logger)

    assert sink.events == []


def test_a_request_that_cannot_be_described_is_an_event_still(glogging):
    sink = memory_pipeline()

    glogging.make().access(None, None, ENVIRON, timedelta(0))

    assert [event["event"] for event in sink.events] == [
        "a request could not be described",
        "request",
    ]


def test_a_reload_stacks_no_handlers(glogging):
    sink = memory_pipeline()
    logger = glogging.make()
    own = logging.NullHandler()
    logger.error_log.addHandler(own)

    cfg = glogging.Config()
    cfg.set("loglevel", "debug")
    logger.setup(cfg)
    logger.setup(cfg)
    logger.debug("once")

    assert len(sink.events) == 1
    assert own in logger.error_log.handlers


def test_settings_without_effect_are_named(glogging):
    sink = memory_pipeline()

    glogging.make(accesslog="access.log", errorlog="-", syslog=True)

    assert sink.events[0]["settings"] == ["accesslog", "syslog"]
    assert sink.events[0]["level"] == "warning"


def test_gunicorn_configures_itself_by_its_options(glogging):
    sink = MemorySink()

    class Own(glogging.module.GunicornLogger):
        options = {"sink": sink, "format": "json", "service": "shop"}  # noqa: RUF012

    glogging.make(Own).info("hello")

    assert sink.events[0]["service"] == "shop"


def test_what_gunicorn_prints_after_an_exception_is_said_once(glogging, monkeypatch, tmp_path):
    with (tmp_path / "stderr").open("w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        sink = MemorySink()
        out = pylog_struct.sinks.StreamSink(io.StringIO())
        pylog_struct.configure(format="json", sink=pylog_struct.sinks.FanOutSink([sink, out]))
        logger = glogging.make()
        try:
            raise ValueError("cannot start")
        except ValueError as error:
            logger.exception("Exception in worker process")
            print(str(error), file=sys.stderr)
            logger.debug("Exception while loading the application", exc_info=True)
            print(str(error), file=sys.stderr)
            print("and more", file=sys.stderr)
        server_stderr.uninstall()

    assert [(e["level"], e["event"]) for e in sink.events] == [
        ("error", "Exception in worker process"),
        ("error", "Exception while loading the application"),
        ("warning", "and more"),
    ]


def test_users_log_files_are_reopened_and_nothing_is_captured(glogging, tmp_path):
    memory_pipeline()
    logger = glogging.make(capture_output=True, errorlog=str(tmp_path / "errors.log"))
    handler = logging.FileHandler(tmp_path / "own.log", mode="w")
    logger.error_log.addHandler(handler)
    try:
        logger.error("before")
        (tmp_path / "own.log").rename(tmp_path / "moved.log")
        logger.reopen_files()
        logger.error("after")
    finally:
        logger.error_log.removeHandler(handler)
        handler.close()

    assert "after" in (tmp_path / "own.log").read_text()
    assert logger.cfg.capture_output
    assert not (tmp_path / "errors.log").exists()


def test_workers_that_a_signal_would_kill_leave_by_exit(glogging):
    memory_pipeline()
    seen = []
    cfg = glogging.Config()
    cfg.set("post_worker_init", lambda worker: seen.append(worker))
    logger = glogging.module.GunicornLogger(cfg)
    logger.setup(cfg)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    kept = signal.getsignal(signal.SIGINT)

    cfg.post_worker_init("the worker")

    assert seen == ["the worker"]
    assert signal.getsignal(signal.SIGINT) is kept
    with pytest.raises(SystemExit) as caught:
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == 0


def test_wsgi_errors_go_to_stderr_whatever_the_errorlog(glogging):
    memory_pipeline()

    handler = glogging.make().error_log.handlers[0]

    assert handler.stream is sys.stderr


# -- hypercorn -------------------------------------------------------------------------------------


@pytest.fixture
def hyper():
    """Our module, with hypercorn's configuration class."""
    pytest.importorskip("hypercorn")
    from hypercorn.config import Config

    module = importlib.import_module("pylog_struct.web.hypercorn")

    def make(cls=module.HypercornLogger, **settings):
        config = Config()
        for name, value in settings.items():
            setattr(config, name, value)
        return cls(config)

    return SimpleNamespace(module=module, make=make, Config=Config)


SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/café",
    "query_string": b"q=1",
    "http_version": "2",
    "client": ("192.0.2.7", 5000),
    "headers": [(b"User-Agent", b'","status":200,"x":"')],
}


def test_hypercorn_access_is_typed(hyper):
    sink = memory_pipeline()
    response = {"status": 404, "headers": [(b"Content-Length", b"17")]}

    asyncio.run(hyper.make().access(SCOPE, response, 0.25))

    (event,) = sink.events
    del event["timestamp"]
    assert event == {
        "level": "info",
        "logger": "hypercorn.access",
        "event": "request",
        "method": "GET",
        "path": "/café",
        "query": "q=1",
        "status": 404,
        "client_address": "192.0.2.7",
        "client_port": 5000,
        "http_version": "2",
        "user_agent": '","status":200,"x":"',
        "duration": 0.25,
        "response_bytes": 17,
    }


def test_hypercorn_access_of_a_client_that_left(hyper):
    sink = memory_pipeline()

    asyncio.run(hyper.make().access({"type": "websocket", "path": "/ws"}, None, 1))

    assert sink.events[0]["method"] == "GET"
    assert "status" not in sink.events[0]


def test_hypercorn_access_of_something_odd_is_an_event_still(hyper):
    sink = memory_pipeline()

    asyncio.run(hyper.make().access(None, None, 0.0))

    assert [event["event"] for event in sink.events] == [
        "a request could not be described",
        "request",
    ]


@pytest.mark.parametrize(("accesslog", "lines"), [(None, 0), ("-", 1), ("", 0)])
def test_hypercorn_leaves_a_request_to_the_middleware_unless_told(hyper, accesslog, lines):
    from pylog_struct.web import RequestMiddleware

    sink = memory_pipeline()
    logger = hyper.make(accesslog=accesslog)
    scope = dict(SCOPE)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def serve():
        async def send(message):
            del message

        await RequestMiddleware(app, exclude=["/café"])(scope, None, send)
        await logger.access(scope, {"status": 204}, 0.1)
        assert [event["request_id"] for event in sink.events] == [scope[REQUEST_ID_KEY]] * lines
        await logger.access(SCOPE, {"status": 204}, 0.1)  # the middleware was not asked
        assert len(sink.events) == lines + (accesslog != "")

    asyncio.run(serve())


def test_a_servers_own_access_line_has_the_ids_that_the_middleware_found(hyper):
    sink = memory_pipeline(format="ecs")
    trace = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    scope = {**SCOPE, REQUEST_ID_KEY: "r-1", TRACE_KEY: trace}

    asyncio.run(hyper.make(accesslog="-").access(scope, {"status": 204}, 0.1))

    (event,) = sink.events
    assert event["http.request.id"] == "r-1"
    assert (event["trace.id"], event["span.id"]) == (trace.trace_id, trace.span_id)


def test_hypercorn_access_can_be_turned_off(hyper):
    sink = memory_pipeline()

    asyncio.run(hyper.make(accesslog="").access(SCOPE, {"status": 200}, 0.1))

    assert sink.events == []


def test_hypercorn_lines_levels_and_ignored_settings(hyper):
    sink = memory_pipeline()
    logger = hyper.make(loglevel="warning", accesslog="access.log", logconfig_dict={"version": 1})

    asyncio.run(logger.info("not shown"))
    asyncio.run(logger.error("an error"))
    hyper.make(loglevel="odd")

    assert [event["event"] for event in sink.events] == [
        "logging settings without effect: the sinks of pylog_struct.configure() are used",
        "an error",
    ]
    assert sink.events[0]["settings"] == ["accesslog", "logconfig_dict"]


def test_arriving_in_a_worker_sets_logging_up(hyper):
    only_the_bridge()
    data = pickle.dumps(hyper.module.HypercornLogger)
    assert manager.current_manager_or_none() is None

    found = pickle.loads(data)

    assert found is hyper.module.HypercornLogger
    assert manager.current_manager_or_none() is not None


# -- a server that is not there --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "needs"),
    [("gunicorn", "gunicorn.glogging"), ("hypercorn", "hypercorn.logging")],
)
def test_without_the_server_one_sentence_says_what_to_install(module, needs, monkeypatch):
    monkeypatch.setitem(sys.modules, needs, None)
    monkeypatch.delitem(sys.modules, f"pylog_struct.web.{module}", raising=False)

    with pytest.raises(ImportError, match=f"pip install {module}"):
        importlib.import_module(f"pylog_struct.web.{module}")
