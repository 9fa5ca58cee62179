"""The examples of frameworks, started with the commands that they name, under load, to SIGTERM."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.web_servers import serving

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not installed")

UVICORN = ("--log-config", "log-config.json", "--no-access-log", "--port", "{port}")
GUNICORN = ("--bind", "127.0.0.1:{port}")
LOAD = 50


def check(server, folder, *, route, orders="/orders"):
    """Send requests, end the server, and look at every line that it has written."""
    assert f"{server.process.args[2]} {server.process.args[3]}" in described(folder)
    with ThreadPoolExecutor(LOAD) as threads:
        answers = list(threads.map(lambda number: server.get(f"{orders}/{number}"), range(LOAD)))
    assert {status for status, _ in answers} == {200}
    assert server.get("/broken")[0] == 500
    assert server.get("/nowhere")[0] == 404
    status, body = server.get("/metrics")
    assert (status, b"pylog_events_total" in body) == (200, True)
    server.stop()

    events = server.events  # each line is one JSON object
    counted = Counter((server.stdout + server.stderr).splitlines())
    assert [line for line, number in counted.items() if number > 1] == []
    requests = [one for one in events if one["logger"] == "pylog_struct.access"]
    assert Counter(one["path"] for one in requests) == Counter(
        [*(f"{orders}/{number}" for number in range(LOAD)), "/broken", "/nowhere"]
    )
    assert [one for one in events if one["event"] == "request" and one not in requests] == []
    by_path = {one["path"]: one for one in requests}
    assert len({one["request_id"] for one in requests}) == LOAD + 2
    looked_up = [one for one in events if one["event"] == "order looked up"]
    assert sorted(one["order_id"] for one in looked_up) == list(range(LOAD))
    for one in looked_up:
        access = by_path[f"{orders}/{one['order_id']}"]
        assert one["request_id"] == access["request_id"]
        assert (access["status"], access["level"], access["route"]) == (200, "info", route)
    broken = by_path["/broken"]
    assert (broken["status"], broken["level"], broken["outcome"]) == (500, "error", "failed")
    assert by_path["/nowhere"]["level"] == "warning"
    [stack] = [one for one in events if "exception" in one]
    assert stack["exception"]["message"] == "the shelf is gone"
    assert stack["request_id"] == broken["request_id"]
    assert {one["service"] for one in events} == {"shop"}
    return events


def described(folder):
    """What an example says about itself."""
    return "".join(path.read_text("utf-8") for path in folder.glob("*.py"))


def test_fastapi(tmp_path):
    pytest.importorskip("fastapi")
    folder = EXAMPLES / "web_fastapi"
    with serving("uvicorn", "app:app", *UVICORN, cwd=folder, logs=tmp_path) as server:
        check(server, folder, route="/orders/{order_id}")


def test_litestar(tmp_path):
    pytest.importorskip("litestar")
    folder = EXAMPLES / "web_litestar"
    with serving("uvicorn", "app:app", *UVICORN, cwd=folder, logs=tmp_path) as server:
        check(server, folder, route="/orders/{order_id}")


def test_flask(tmp_path):
    pytest.importorskip("flask")
    folder = EXAMPLES / "web_flask"
    with serving("gunicorn", "app:app", *GUNICORN, cwd=folder, logs=tmp_path) as server:
        check(server, folder, route="/orders/<int:order_id>")


def test_django_under_wsgi(tmp_path):
    pytest.importorskip("django")
    folder = EXAMPLES / "web_django"
    with serving("gunicorn", "shop:wsgi", *GUNICORN, cwd=folder, logs=tmp_path) as server:
        check(server, folder, route="/orders/<int:order_id>")


def test_django_under_asgi(tmp_path):
    pytest.importorskip("django")
    folder = EXAMPLES / "web_django"
    with serving("uvicorn", "shop:asgi", *UVICORN, cwd=folder, logs=tmp_path) as server:
        check(server, folder, route="/async/orders/<int:order_id>", orders="/async/orders")


@pytest.mark.parametrize(
    ("module", "target", "options", "path"),
    [
        ("gunicorn", "shop:wsgi", GUNICORN, "/report"),
        ("uvicorn", "shop:asgi", UVICORN, "/async/report"),
    ],
    ids=["wsgi", "asgi"],
)
def test_a_streaming_view_of_django_has_its_id_to_the_last_byte(
    module, target, options, path, tmp_path
):
    pytest.importorskip("django")
    cwd = EXAMPLES / "web_django"
    with serving(module, target, *options, cwd=cwd, logs=tmp_path) as server:
        assert server.get(path) == (200, b"0\n1\n2\n")
        server.stop()

    [access] = server.access(path)
    assert (access["response_bytes"], access["outcome"], access["route"]) == (6, "completed", path)
    rows = server.named("row")
    assert [(one["row"], one["request_id"]) for one in rows] == [
        (row, access["request_id"]) for row in range(3)
    ]
    events = server.events
    assert events.index(access) > max(events.index(row) for row in rows)
