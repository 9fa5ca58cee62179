"""The examples for servers, started by the commands in them and loaded with HTTP.

From the first line to the last, each line of stdout and stderr is one JSON object and none is there
twice; each request has one access event, and a failed one its exception, once.
"""

from __future__ import annotations

import shutil

import pytest
from support.web_servers import EXAMPLES, check, load, serving

pytestmark = [
    pytest.mark.skipif(not EXAMPLES.exists(), reason="the examples are not here"),
    pytest.mark.slow,  # all together
]

GUNICORN = (
    "app:app",
    "--bind",
    "127.0.0.1:{port}",
    "--no-control-socket",
    "--graceful-timeout",
    "5",
)
UVICORN = ("app:app", "--port", "{port}", "--log-config", "log-config.json")
HYPERCORN = ("app:app", "--bind", "127.0.0.1:{port}", "--config", "file:hypercorn_conf.py")


def booted(number, text):
    """A condition: *number* events that begin with *text*."""
    return lambda server: sum(str(one["event"]).startswith(text) for one in server.events) >= number


def reloads(server):
    """How often it has reloaded."""
    return sum("Reloading" in one["event"] for one in server.events)


def test_uvicorn(tmp_path):
    pytest.importorskip("uvicorn")
    with serving("uvicorn", *UVICORN, cwd=EXAMPLES / "uvicorn", logs=tmp_path) as server:
        load(server)
        server.stop()

    check(server, "uvicorn.access")
    assert any("Uvicorn running on" in one["event"] for one in server.events)
    assert any("Finished server process" in one["event"] for one in server.events)
    assert {one["service"] for one in server.events} == {"shop"}


def test_uvicorn_with_workers(tmp_path):
    pytest.importorskip("uvicorn")
    arguments = (*UVICORN, "--workers", "2")
    with serving("uvicorn", *arguments, cwd=EXAMPLES / "uvicorn", logs=tmp_path) as server:
        server.wait_for(booted(2, "Application startup complete."), "the start of both workers")
        load(server)
        assert server.stop() == 0

    check(server, "uvicorn.access")
    texts = [one["event"] for one in server.events]
    assert any("Started parent process" in text for text in texts)
    assert sum("Finished server process" in text for text in texts) == 2


def test_uvicorn_reloads(tmp_path):
    pytest.importorskip("uvicorn")
    folder = shutil.copytree(EXAMPLES / "uvicorn", tmp_path / "copy")
    arguments = (*UVICORN, "--reload")
    with serving("uvicorn", *arguments, cwd=folder, logs=tmp_path) as server:
        server.wait_for(booted(1, "Application startup complete."), "the start")
        app = folder / "app.py"

        def noticed(server):
            app.write_text(
                f"{app.read_text()}\n# changed\n"
            )  # again: its first look is not the first
            return reloads(server)

        server.wait_for(noticed, "the reload")
        server.wait_for(
            lambda server: booted(1 + reloads(server), "Application startup complete.")(server),
            "the start after it",
        )
        load(server)
        assert server.stop() == 0

    check(server, "uvicorn.access")


@pytest.mark.parametrize("more", [(), ("--preload",), ("--threads", "2")], ids=" ".join)
def test_gunicorn(more, tmp_path):
    pytest.importorskip("gunicorn")
    folder = EXAMPLES / "gunicorn_sync"
    with serving("gunicorn", *GUNICORN, *more, cwd=folder, logs=tmp_path) as server:
        server.wait_for(booted(2, "Booting worker"), "the start of both workers")
        load(server)
        assert server.stop() == 0

    by_path = check(server, "gunicorn.access")
    assert by_path["/forged"]["user_agent"] == '","status":200,"x":"%(h)s'
    assert by_path["/"]["user_agent"] == "a client/1.0"
    assert by_path["/"]["response_bytes"] == len("thank you\n")
    assert all(type(one["duration"]) is float for one in by_path.values())
    texts = [one["event"] for one in server.events]
    assert texts[0].startswith("Starting gunicorn")
    assert texts[-1] == "Shutting down: Master"
    assert sum(text.startswith("Worker exiting") for text in texts) == 2


def test_gunicorn_with_uvicorns_worker(tmp_path):
    pytest.importorskip("uvicorn_worker")
    folder = EXAMPLES / "gunicorn_uvicorn"
    with serving("gunicorn", *GUNICORN, cwd=folder, logs=tmp_path) as server:
        server.wait_for(booted(2, "Application startup complete."), "the start of both workers")
        load(server)
        assert server.stop() == 0

    check(server, "uvicorn.access")
    texts = [one["event"] for one in server.events]
    assert sum(text.startswith("Worker exiting") for text in texts) == 2
    assert texts.count("Application shutdown complete.") == 2


def test_gunicorn_with_gevents_worker(tmp_path):
    pytest.importorskip("gevent")
    folder = EXAMPLES / "gunicorn_gevent"
    with serving("gunicorn", *GUNICORN, cwd=folder, logs=tmp_path) as server:
        server.wait_for(booted(2, "Booting worker"), "the start of both workers")
        load(server)
        assert server.stop() == 0

    by_path = check(server, "gunicorn.access")
    assert all(type(one["duration"]) is float for one in by_path.values())


def test_hypercorn(tmp_path):
    pytest.importorskip("hypercorn")
    with serving("hypercorn", *HYPERCORN, cwd=EXAMPLES / "hypercorn", logs=tmp_path) as server:
        server.wait_for(booted(2, "Running on"), "the start of both workers")
        load(server)
        assert server.stop() == 0

    by_path = check(server, "hypercorn.access")
    assert by_path["/forged"]["user_agent"] == '","status":200,"x":"%(h)s'
    assert by_path["/"]["response_bytes"] == len("thank you\n")
    assert all(type(one["duration"]) is float for one in by_path.values())
