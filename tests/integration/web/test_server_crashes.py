"""Servers in trouble: applications that cannot be imported, workers that hang, are killed, recycled.

Every line of stdout and stderr is one JSON object all the same, none is there twice, and no record
of a worker that exits is lost.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter

import psutil
import pytest
from support.web_servers import check, listens, load, running, serving

pytestmark = pytest.mark.slow  # all together

WSGI = """
import structlog, time, traceback
logger = structlog.get_logger("shop")

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/broken":
        raise RuntimeError("the shelf is gone")
    if path == "/hang":
        while True:
            time.sleep(0.05)
    if path == "/errors":
        errors = environ["wsgi.errors"]
        errors.write("odd things ")
        errors.write("happened\\n")
        try:
            raise KeyError("lost")
        except KeyError:
            traceback.print_exc(file=errors)
    if path == "/":
        logger.info("order placed", item="book")
    start_response("200 OK" if path in {"/", "/errors"} else "404 Not Found", [("Content-Length", "0")])
    return [b""]
"""
ASGI = """
import structlog
logger = structlog.get_logger("shop")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/broken":
        raise RuntimeError("the shelf is gone")
    if scope["path"] == "/":
        logger.info("order placed", item="book")
    status = 200 if scope["path"] == "/" else 404
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
"""
# A queue that does not write before it has to: what is lost at a worker's exit would be everything.
LINGERING = """
import pylog_struct
from pylog_struct.sinks import QueueSink, StreamSink

def setup():
    pylog_struct.configure(format="json", sink=QueueSink(StreamSink("stdout"), linger=60))
"""
LOGGER = ("--logger-class", "pylog_struct.web.gunicorn.GunicornLogger")
GUNICORN = ("--bind", "127.0.0.1:{port}", "--no-control-socket", "--graceful-timeout", "2")


@pytest.fixture
def folder(tmp_path):
    """A folder with applications and configurations of all kinds."""
    made = tmp_path / "folder"
    made.mkdir()
    files = {
        "wsgi.py": WSGI,
        "asgi.py": ASGI,
        "logs.py": LINGERING,
        "failing.py": "raise ValueError('cannot start')\n",
        "lacking.py": "x = 1\n",
        "self_configured.py": (
            "import pylog_struct\npylog_struct.configure(format='json', service='inside')\n" + WSGI
        ),
        "lingering_conf.py": "import logs\nlogs.setup()\n",
        "hyper_conf.py": (
            "from pylog_struct.web.hypercorn import HypercornLogger\nlogger_class = HypercornLogger\n"
        ),
        "log-config.json": json.dumps(log_config()),
        "lingering.json": json.dumps(log_config(configure="ext://logs.setup")),
    }
    for name, text in files.items():
        (made / name).write_text(text)
    return made


def log_config(**options):
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"events": {"()": "pylog_struct.web.uvicorn.handler", **options}},
    }


def none_twice(server):
    """Every line is one JSON object, and no two are the same."""
    counted = Counter(json.dumps(one, sort_keys=True) for one in server.events)
    assert [line for line, count in counted.items() if count > 1] == []
    return [one["event"] for one in server.events]


def texts_of(server):
    """The events' names, as far as whole lines are there."""
    return [json.loads(line)["event"] for line in server.stdout.split("\n")[:-1]]


def worker_pids(server):
    """The pids that gunicorn's workers have named."""
    found = [re.match(r"Booting worker with pid: (\d+)", one["event"]) for one in server.events]
    return [int(match[1]) for match in found if match]


def exceptions(server):
    return [one["exception"]["type"] for one in server.events if "exception" in one]


# -- applications that cannot be imported ----------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--preload",)], ids=["", "preload"])
@pytest.mark.parametrize(
    ("app", "error"), [("failing", "ValueError"), ("lacking", "AppImportError")]
)
def test_gunicorn_cannot_import(app, error, more, folder, tmp_path):
    pytest.importorskip("gunicorn")
    arguments = (f"{app}:app", *GUNICORN, *LOGGER, *more)
    with running("gunicorn", *arguments, cwd=folder, logs=tmp_path) as server:
        assert server.wait() != 0

    none_twice(server)
    assert exceptions(server) == [error]


def test_gunicorn_with_uvicorns_worker_cannot_import(folder, tmp_path):
    pytest.importorskip("uvicorn_worker")
    arguments = ("failing:app", *GUNICORN, *LOGGER, "-k", "uvicorn_worker.UvicornWorker")
    with running("gunicorn", *arguments, cwd=folder, logs=tmp_path) as server:
        assert server.wait() == 3

    assert "Reason: Worker failed to boot." in none_twice(server)
    assert exceptions(server) == ["ValueError"]


def test_uvicorn_cannot_import(folder, tmp_path):
    pytest.importorskip("uvicorn")
    arguments = ("failing:app", "--port", "{port}", "--log-config", "log-config.json")
    with running("uvicorn", *arguments, cwd=folder, logs=tmp_path) as server:
        assert server.wait() == 1

    assert none_twice(server) == ["uncaught exception"]
    assert exceptions(server) == ["ValueError"]


def test_uvicorn_does_not_find_the_application(folder, tmp_path):
    pytest.importorskip("uvicorn")
    arguments = ("lacking:app", "--port", "{port}", "--log-config", "log-config.json")
    with running("uvicorn", *arguments, cwd=folder, logs=tmp_path) as server:
        assert server.wait() != 0

    (event,) = server.events
    assert event["level"] == "error"
    assert "Error loading ASGI app" in event["event"]


def test_uvicorns_workers_cannot_import(folder, tmp_path):
    pytest.importorskip("uvicorn")
    arguments = (
        "failing:app",
        "--port",
        "{port}",
        "--log-config",
        "log-config.json",
        "--workers",
        "2",
    )
    with running("uvicorn", *arguments, cwd=folder, logs=tmp_path) as server:
        server.wait_for(exceptions, "a worker's end")
        server.stop()

    none_twice(server)
    assert set(exceptions(server)) == {"ValueError"}
    failed = [one for one in server.events if "exception" in one]
    assert all(re.fullmatch(r"Process SpawnProcess-\d+", one["event"]) for one in failed)


def test_hypercorn_cannot_import(folder, tmp_path):
    pytest.importorskip("hypercorn")
    arguments = ("failing:app", "--bind", "127.0.0.1:{port}", "--config", "file:hyper_conf.py")
    with running("hypercorn", *arguments, cwd=folder, logs=tmp_path) as server:
        server.wait()

    assert none_twice(server) == ["Process SpawnProcess-1"]
    assert exceptions(server) == ["ValueError"]


# -- workers that end badly ------------------------------------------------------------------------


def test_a_gunicorn_worker_is_killed_and_one_hangs(folder, tmp_path):
    pytest.importorskip("gunicorn")
    arguments = ("wsgi:app", *GUNICORN, *LOGGER, "--timeout", "2")
    with serving("gunicorn", *arguments, cwd=folder, logs=tmp_path) as server:
        server.get("/nowhere")
        os.kill(server.wait_for(worker_pids)[0], signal.SIGKILL)
        server.wait_for(lambda server: len(worker_pids(server)) == 2, "a new worker")
        server.raw(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")  # until the worker is ended
        server.wait_for(lambda server: len(worker_pids(server)) == 3, "another new worker")
        load(server)
        assert server.stop() == 0

    texts = none_twice(server)
    assert any("was sent SIGKILL" in text for text in texts)
    assert any(text.startswith("WORKER TIMEOUT") for text in texts)
    assert [one["status"] for one in server.access("/broken")] == [500]


def test_a_killed_uvicorn_worker_is_replaced(folder, tmp_path):
    pytest.importorskip("uvicorn")
    arguments = (
        "asgi:app",
        "--port",
        "{port}",
        "--log-config",
        "log-config.json",
        "--workers",
        "2",
    )
    with serving("uvicorn", *arguments, cwd=folder, logs=tmp_path) as server:

        def started(server):
            found = [
                re.match(r"Started server process \[(\d+)\]", e["event"]) for e in server.events
            ]
            return [int(match[1]) for match in found if match]

        server.wait_for(lambda server: len(started(server)) == 2, "both workers")
        os.kill(started(server)[0], signal.SIGKILL)
        server.wait_for(lambda server: len(started(server)) == 3, "a new worker")
        server.wait_for(
            lambda server: sum("startup complete" in e["event"] for e in server.events) == 3
        )
        load(server)
        assert server.stop() == 0

    assert any("died" in text for text in none_twice(server))
    check(server, "uvicorn.access")


def test_a_killed_hypercorn_worker(folder, tmp_path):
    pytest.importorskip("hypercorn")
    arguments = ("asgi:app", "--bind", "127.0.0.1:{port}", "--config", "file:hyper_conf.py")
    with serving("hypercorn", *arguments, cwd=folder, logs=tmp_path) as server:
        server.get("/")
        server.wait_for(lambda server: server.access("/"), "the access event")
        for child in psutil.Process(server.process.pid).children(recursive=True):
            if any("spawn_main" in word for word in child.cmdline()):
                child.kill()
        server.wait()

    none_twice(server)
    assert len(server.access("/")) == 1


# -- nothing is lost when a worker exits -----------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent", "asgi", "uvicorn"])
def test_recycled_gunicorn_workers_drain_their_queues(kind, folder, tmp_path):
    """No hook in the configuration; the records of each worker leave its queue only at its exit."""
    needed = {"gevent": "gevent", "uvicorn": "uvicorn_worker"}
    pytest.importorskip(needed.get(kind, "gunicorn"))
    worker, app = kind, "asgi:app" if kind == "asgi" else "wsgi:app"
    if kind == "uvicorn":
        worker, app = "uvicorn_worker.UvicornWorker", "asgi:app"
    arguments = (
        app, *GUNICORN, *LOGGER, "--worker-class", worker, "--max-requests", "3",
        "--config", "lingering_conf.py",
    )  # fmt: skip
    with serving("gunicorn", *arguments, cwd=folder, logs=tmp_path) as server:
        answered = failed = 0
        # gevent's and uvicorn's look at the number of requests once in a while.
        while sum(text.startswith("Worker exiting") for text in texts_of(server)) < 2:
            try:
                assert server.get("/")[0] == 200
                answered += 1
            except OSError:  # the one worker is being replaced
                failed += 1
                server.wait_for(lambda server: listens(server.port))
        assert server.stop() == 0

    texts = none_twice(server)
    orders = len(server.named("order placed"))
    assert answered <= orders <= answered + failed
    assert [one["status"] for one in server.access("/")] == [200] * orders
    booted = len(worker_pids(server))
    assert booted >= 2
    assert sum(text.startswith("Worker exiting") for text in texts) == booted


@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["one", "workers"])
def test_uvicorn_drains_before_the_signal_ends_it(more, folder, tmp_path):
    pytest.importorskip("uvicorn")
    arguments = ("asgi:app", "--port", "{port}", "--log-config", "lingering.json", *more)
    with serving("uvicorn", *arguments, cwd=folder, logs=tmp_path) as server:
        for _ in range(5):
            assert server.get("/")[0] == 200
        assert server.stdout == ""
        server.stop()

    texts = none_twice(server)
    assert len(server.named("order placed")) == len(server.access("/")) == 5
    assert any("Finished server process" in text for text in texts)


def test_hypercorn_drains_at_its_end(folder, tmp_path):
    pytest.importorskip("hypercorn")
    (folder / "lingering_asgi.py").write_text(f"import logs\nlogs.setup()\n{ASGI}")
    arguments = (
        "lingering_asgi:app",
        "--bind",
        "127.0.0.1:{port}",
        "--config",
        "file:hyper_conf.py",
    )
    with serving("hypercorn", *arguments, cwd=folder, logs=tmp_path) as server:
        for _ in range(5):
            assert server.get("/")[0] == 200
        assert server.stop() == 0

    none_twice(server)
    assert len(server.named("order placed")) == len(server.access("/")) == 5


# -- how gunicorn is configured --------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--preload",)], ids=["", "preload"])
def test_configured_in_the_application_alone(more, folder, tmp_path):
    pytest.importorskip("gunicorn")
    arguments = ("self_configured:app", *GUNICORN, *LOGGER, *more)
    with serving("gunicorn", *arguments, cwd=folder, logs=tmp_path) as server:
        load(server)
        assert server.stop() == 0

    none_twice(server)
    assert all(one["service"] == "inside" for one in server.access())
    assert len(server.access("/broken")) == 1


def test_reload_reopen_and_wsgi_errors(folder, tmp_path):
    pytest.importorskip("gunicorn")
    arguments = ("wsgi:app", *GUNICORN, *LOGGER)
    with serving("gunicorn", *arguments, cwd=folder, logs=tmp_path) as server:
        server.get("/errors")
        server.send(signal.SIGUSR1)
        server.wait_for(lambda server: server.named("Handling signal: usr1"))
        server.send(signal.SIGHUP)
        server.wait_for(lambda server: len(worker_pids(server)) == 2, "a new worker")
        server.wait_for(lambda server: any("Worker exiting" in e["event"] for e in server.events))
        load(server)
        assert server.stop() == 0

    texts = none_twice(server)
    assert texts.count("Hang up: Master") == 1
    errors = [one for one in server.events if one["logger"] == "stderr"]
    assert errors[0]["event"] == "odd things happened"
    assert errors[1]["exception"]["type"] == "KeyError"
    assert len(errors) == 2
    assert exceptions(server) == ["KeyError", "RuntimeError"]


def test_ecs(folder, tmp_path):
    pytest.importorskip("gunicorn")
    (folder / "ecs_conf.py").write_text(
        "import pylog_struct\npylog_struct.configure(format='ecs')\n"
    )
    arguments = ("wsgi:app", *GUNICORN, *LOGGER, "--config", "ecs_conf.py")
    with serving("gunicorn", *arguments, cwd=folder, logs=tmp_path) as server:
        server.get("/", User_Agent='","http.response.status_code":500,"x":"')
        assert server.stop() == 0

    (event,) = [one for one in server.events if one["log.logger"] == "gunicorn.access"]
    assert event["http.response.status_code"] == 200
    assert type(event["event.duration"]) is int
    assert event["url.path"] == "/"
    assert event["client.ip"] == "127.0.0.1"
    assert event["user_agent.original"] == '","http.response.status_code":500,"x":"'
    assert "x" not in event
