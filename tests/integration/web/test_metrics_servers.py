"""The metrics under real servers: every mount over HTTP, and totals that are true while workers come and go."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress

import psutil
import pytest
from support import mounted
from support.process import environment
from support.scraping import ask_asgi, ask_wsgi, names, samples, stock, total
from support.web_servers import serving

from pylog_struct.web import metrics_asgi_app, metrics_wsgi_app

_LONG = 60.0


def request(port, path, method="GET"):
    """One request over a connection of its own: status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LONG)
    try:
        connection.request(method, path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def scrape(port):
    """The samples of one scrape."""
    status, _, body = request(port, "/metrics")
    assert status == 200, body
    return samples(body.decode())


def until(condition, what):
    """Wait until *condition* returns something true, and return that."""
    ends = time.monotonic() + _LONG
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < ends, f"{what} did not happen"
        time.sleep(0.05)


@pytest.fixture(name="logs")
def _logs(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


@pytest.fixture(name="values")
def _values(tmp_path):
    folder = tmp_path / "values"
    folder.mkdir()
    return folder


# -- every mount over HTTP (P59) -------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "cases"),
    [
        pytest.param(
            ("uvicorn", "support.mounted:all_asgi", "--port", "{port}", "--lifespan", "off"),
            mounted.ASGI,
            id="uvicorn",
        ),
        pytest.param(
            ("gunicorn", "support.mounted:all_wsgi", "--bind", "127.0.0.1:{port}"),
            mounted.WSGI,
            id="gunicorn",
        ),
    ],
)
def test_every_mount_is_answered_by_a_real_server_without_a_redirect(
    command, cases, tmp_path, logs
):
    with serving(*command, cwd=tmp_path, logs=logs) as server:
        for name, (_, path) in cases.items():
            for slash in ("", "/"):
                where = f"/{name}{path}{slash}"
                status, headers, body = request(server.port, where)
                assert (status, samples(body.decode())) == (200, mounted.EXPECTED), where
                size = headers.get("content-length") or headers.get("Content-Length")
                assert size == str(len(body))
                status, _, body = request(server.port, where, "HEAD")
                assert (status, body) == (200, b""), where


# -- gunicorn with workers that come and go (P60) --------------------------------------------------


class Client(threading.Thread):
    """Sends requests, one connection each, until it is told to stop."""

    def __init__(self, port):
        super().__init__()
        self.port = port
        self.answered = self.uncertain = 0
        self.workers = set()
        self.stop = threading.Event()

    def run(self):
        while not self.stop.is_set():
            try:
                status, _, body = request(self.port, "/work")
            except (OSError, http.client.HTTPException):
                self.uncertain += 1  # a worker went; it may have counted the request
                continue
            if status == 200:
                self.answered += 1
                self.workers.add(body.strip(b'"'))
            else:
                self.uncertain += 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("application", "worker", "hook"),
    [
        pytest.param("flask", "sync", False, id="sync"),
        pytest.param("fastapi", "uvicorn_worker.UvicornWorker", True, id="uvicorn-worker"),
    ],
)
def test_totals_are_true_through_recycles_and_rolling_restarts(
    application, worker, hook, tmp_path, logs, values
):
    """Four workers, each replaced after a few requests, under load, with reloads and kills."""
    config = tmp_path / "config.py"
    config.write_text("from support.counted import child_exit\n" if hook else "")
    command = [
        "gunicorn", f"support.counted:{application}()", "--config", str(config),
        "--bind", "127.0.0.1:{port}", "--workers", "4", "--worker-class", worker,
        "--max-requests", "15", "--max-requests-jitter", "10", "--graceful-timeout", "20",
    ]  # fmt: skip
    with serving(
        *command, cwd=tmp_path, logs=logs, PROMETHEUS_MULTIPROC_DIR=os.fspath(values)
    ) as server:
        master = psutil.Process(server.process.pid)
        clients = [Client(server.port) for _ in range(3)]
        for client in clients:
            client.start()
        try:
            seen = 0.0
            ends = time.monotonic() + _LONG
            for number, workers in enumerate((6, 11, 16, 20)):
                while len(set().union(*(set(client.workers) for client in clients))) < workers:
                    with suppress(OSError, http.client.HTTPException):
                        found = total(scrape(server.port), "shop_requests_total")
                        assert found >= seen  # a counter never goes back
                        seen = found
                    assert time.monotonic() < ends, server.said()
                if number == 1:
                    os.kill(master.pid, signal.SIGHUP)
                if number == 2:
                    os.kill(master.pid, signal.SIGTTIN)
        finally:
            for client in clients:
                client.stop.set()
            for client in clients:
                client.join(_LONG)
        answered = sum(client.answered for client in clients)
        uncertain = sum(client.uncertain for client in clients)

        def settled():
            with suppress(OSError, http.client.HTTPException):
                found = scrape(server.port)
                requests = total(found, "shop_requests_total")
                events = total(found, "pylog_events_total", level="info")
                written = total(found, "pylog_events_written_total", sink="end")
                return found if answered <= requests == events == written else None
            return None

        found = until(settled, f"that {answered} requests and their events were counted")
        requests = total(found, "shop_requests_total")
        assert answered <= requests <= answered + uncertain
        # Gauges say what is there now, not what ever was.
        assert 0 <= total(found, "shop_workers") <= 7
        assert found["pylog_queue_capacity", (("sink", "main"),)] <= 7 * 1000

        def few():
            """A file of each kind for every process that is there, and an archive."""
            with suppress(OSError, http.client.HTTPException):
                scrape(server.port)
            there = len(master.children()) + 1
            return all(
                len([name for name in names(values) if name.startswith(kind)]) <= there + 1
                for kind in ("counter", "histogram", "gauge_livesum", "gauge_livemax")
            )

        until(few, "that the number of files is bounded")
        assert server.stop() == 0
    # What prometheus-client's own collector makes of what is left.
    assert total(stock(values), "shop_requests_total") >= requests
    after = ask_wsgi(metrics_wsgi_app(multiprocess_dir=values)).samples
    assert total(after, "shop_requests_total") == total(stock(values), "shop_requests_total")
    assert "shop_workers" not in {name for name, _ in after}
    assert all("folded" in name for name in names(values))


# -- what the gauges say (P63) ---------------------------------------------------------------------

_WORKER = textwrap.dedent("""
    import os, sys
    import pylog_struct
    from pylog_struct.sinks import FailoverSink, NullSink, QueueSink
    from pylog_struct.testing import CloggedSink, FailingSink

    waiting = int(sys.argv[1])
    if waiting:  # a destination that takes nothing
        sink = QueueSink(CloggedSink(name="stuck"), name="main", capacity=100, policy="discard")
    else:  # a destination that fails, and another one that works
        inner = FailoverSink([FailingSink(name="first"), NullSink(name="second")], name="safe")
        sink = QueueSink(inner, name="main", capacity=100)
    pylog_struct.configure(sink=sink, stdlib=False)
    for number in range(waiting or 5):
        pylog_struct.get_logger("shop").info("placed", number=number)
    if not waiting:
        assert pylog_struct.flush(60)
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    sys.stdin.readline()
    os._exit(0)
""")


def test_queues_and_failovers_of_several_processes_are_right(values):
    """Sizes add up, the watermark is the worst one's, and each target says how many use it."""
    started = []
    try:
        started.extend(
            subprocess.Popen(
                [sys.executable, "-c", _WORKER, str(waiting)],
                env=environment(PROMETHEUS_MULTIPROC_DIR=os.fspath(values)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for waiting in (3, 8, 0, 0)
        )
        for process in started:
            assert process.stdout.readline() == "ready\n"
        app = metrics_asgi_app(multiprocess_dir=values)

        def shown():
            found = ask_asgi(app).samples
            placed = total(found, "pylog_events_total", level="info")
            waiting = total(found, "pylog_queue_size")
            return found if (placed, waiting) == (3 + 8 + 2 * 5, 3 + 8) else None

        found = until(shown, "that all events are in the files")
        main, safe = ("sink", "main"), ("sink", "safe")
        assert found["pylog_queue_size", (main,)] == 3 + 8
        assert found["pylog_queue_capacity", (main,)] == 400
        assert found["pylog_queue_high_watermark", (main,)] == 8
        assert found["pylog_failover_active", (safe, ("target", "second"))] == 2
        assert found["pylog_failover_active", (safe, ("target", "first"))] == 0
        assert total(found, "pylog_failover_switch_total") == 2

        started[1].kill()  # with its eight records
        started[1].wait(_LONG)
        started[2].kill()
        started[2].wait(_LONG)
        after = ask_asgi(app).samples
        assert after["pylog_queue_size", (main,)] == 3
        assert 3 <= after["pylog_queue_high_watermark", (main,)] < 8
        assert after["pylog_failover_active", (safe, ("target", "second"))] == 1
        counters = [each for each in found if each[0].endswith("_total")]
        assert {each: after[each] for each in counters} == {each: found[each] for each in counters}
        assert stock(values) == after
    finally:
        for process in started:
            process.kill()
            process.communicate()
