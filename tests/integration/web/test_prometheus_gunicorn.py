"""A real Prometheus scrapes gunicorn with four workers, through rolling restarts under load.

What it has seen at the end is what stands in the files, line by line, and what the ledgers say; no
counter went backwards on the way, although every worker was replaced several times.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress

import psutil
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from support.process import environment
from support.prometheus_server import PATIENCE, Prometheus, promtool
from support.servers import Process, free_port

pytest.importorskip("gunicorn")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform == "win32", reason="no gunicorn there"),
]

WORKERS = 4
CAPACITY = 500
EVENTS = 3  # of each request, at level warning
CONFIGURATION = f"""
import pylog_struct
from pylog_struct.sinks import FailoverSink, QueueSink, RollingFileSink, StreamSink

file = RollingFileSink("logs/app.jsonl", pattern="logs/app-%i.jsonl", max_bytes="100 kB")
safe = FailoverSink([file, StreamSink("stderr")], name="safe")
pylog_struct.configure(sink=QueueSink(safe, capacity={CAPACITY}, policy="block"))

logger_class = "pylog_struct.web.gunicorn.GunicornLogger"
workers = {WORKERS}
graceful_timeout = 60
timeout = 60
control_socket_disable = True  # it would be one for all tests, in the home folder
"""
APPLICATION = f"""
import os

import structlog
from prometheus_client import Counter

from pylog_struct.web import metrics_wsgi_app

log = structlog.get_logger("shop")
orders = Counter("shop_orders_total", "Orders.")
metrics = metrics_wsgi_app()


def app(environ, start_response):
    if environ["PATH_INFO"] == "/metrics":
        return metrics(environ, start_response)
    orders.inc()
    for number in range({EVENTS}):
        log.warning("order step", number=number)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


class Load:
    """Threads that send one request after the other, and who answered."""

    def __init__(self, port, threads=3):
        self._port = port
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.answers = Counter()
        self.failures = []
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self):
        while not self._over.is_set():
            try:
                pid = int(get(self._port, "/order"))
            except OSError as error:
                with self._lock:
                    self.failures.append(repr(error))
            else:
                with self._lock:
                    self.answers[pid] += 1
            self._over.wait(0.01)  # the machine is for the servers

    @property
    def pids(self):
        with self._lock:
            return set(self.answers)


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return body
    finally:
        connection.close()


class Gunicorn:
    """The master, and its workers as the kernel knows them."""

    def __init__(self, folder):
        self.port = free_port()
        self.folder = folder
        self.metrics = folder / "metrics"
        for name in ("metrics", "logs"):
            (folder / name).mkdir()
        (folder / "gunicorn.conf.py").write_text(CONFIGURATION)
        (folder / "shop.py").write_text(APPLICATION)
        self.process = None

    def __enter__(self):
        command = [sys.executable, "-m", "gunicorn", "shop:app", "--bind", f"127.0.0.1:{self.port}"]
        self.process = Process.start(
            command, self.folder, **environment(PROMETHEUS_MULTIPROC_DIR=str(self.metrics))
        )
        self.process.wait_until(lambda: get(self.port, "/order"), timeout=PATIENCE)
        return self

    def __exit__(self, *_):
        self.process.stop(PATIENCE)

    def workers(self):
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children()
            return {child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE}
        return set()

    def replaced(self, load, old):
        """Wait until all of *old* are gone, and as many new ones have answered."""
        ends = time.monotonic() + PATIENCE
        while True:
            now = self.workers()
            if not now & old and len(now) == WORKERS and now <= load.pids:
                return
            assert time.monotonic() < ends, (old, now, load.pids, self.process.last_words())
            time.sleep(0.05)

    def levels(self):
        """How many lines of each level are in the files."""
        found = Counter()
        for path in (self.folder / "logs").glob("*.jsonl"):
            for line in path.read_bytes().splitlines():
                found[json.loads(line)["level"]] += 1
        return found


def restart(gunicorn, load):
    """Twice all at once (SIGHUP), and once one by one (SIGTERM)."""
    master = gunicorn.process.pid
    gunicorn.replaced(load, set())
    for _ in range(2):
        old = gunicorn.workers()
        os.kill(master, signal.SIGHUP)
        gunicorn.replaced(load, old)
    for pid in gunicorn.workers():
        os.kill(pid, signal.SIGTERM)
        gunicorn.replaced(load, {pid})


def test_prometheus_and_the_files_and_the_ledgers_agree_after_rolling_restarts(tmp_path):
    with (
        Gunicorn(tmp_path) as gunicorn,
        Prometheus(tmp_path / "prometheus", {"shop": gunicorn.port}, interval="500ms") as server,
    ):
        server.wait_until(lambda: server.query("pylog_events_total"), "nothing is scraped")
        with Load(gunicorn.port) as load:
            restart(gunicorn, load)
        assert load.failures == []
        code, said = promtool("check", "metrics", stdin=get(gunicorn.port, "/metrics").decode())
        assert (code, said) == (0, "")
        assert len(load.pids) >= 4 * WORKERS
        requests = load.answers.total() + 1  # the one that waited for the start

        warnings = 'sum(pylog_events_total{level="warning"})'
        server.wait_until(
            lambda: server.total(warnings) >= EVENTS * requests,
            lambda: f"{server.query(warnings)}, and {gunicorn.levels()}",
        )
        assert server.total("sum(shop_orders_total)") == requests
        assert server.total(warnings) == gunicorn.levels()["warning"] == EVENTS * requests
        the_ledger_adds_up(server)
        nothing_went_backwards(server)
        gauges_make_sense(server, gunicorn)
    # Scrapes are requests, too, so only now everything stands still.
    lines = gunicorn.levels()
    totals = in_the_directory(gunicorn.metrics)
    assert totals["pylog_events"] == lines.total()
    assert totals["pylog_events_written", "queue"] == lines.total()
    assert lines["error"] == lines["critical"] == 0


def the_ledger_adds_up(server):
    """Received = written + dropped + waiting, over all processes that there were."""
    balance = (
        'sum(pylog_events_total) - sum(pylog_events_written_total{sink="queue"})'
        ' - (sum(pylog_events_dropped_total) or vector(0)) - sum(pylog_queue_size{sink="queue"})'
    )
    server.wait_until(lambda: server.total(balance) == 0, lambda: f"off by {server.total(balance)}")
    assert server.query("pylog_events_dropped_total") == []


def nothing_went_backwards(server):
    counters = '{__name__=~"(pylog|shop)_.+_(total|count|sum|bucket)"}'
    seen = server.history(counters)
    names = {labels["__name__"] for labels, _ in seen}
    assert {
        "pylog_events_total", "pylog_events_written_total", "pylog_bytes_written_total",
        "pylog_rollovers_total", "pylog_sink_write_seconds_bucket", "pylog_delivery_seconds_count",
        "shop_orders_total",
    } <= names  # fmt: skip
    for labels, samples in seen:
        values = [value for _, value in samples]
        assert values == sorted(values), labels
    for name in names:
        assert {value for _, value in server.query(f"resets({name}[1h])")} == {0}, name
    assert max(len(samples) for _, samples in seen) >= 5  # it looked often enough to say so


def gauges_make_sense(server, gunicorn):
    """At any time those of the processes alive; at the end the master's and four workers'."""
    alive = 1 + WORKERS
    seen = defaultdict(list)
    for name in ("queue_size", "queue_capacity", "queue_high_watermark", "spool_records"):
        for labels, samples in server.history(f'pylog_{name}{{sink="queue"}}'):
            assert labels["sink"] == "queue"
            seen[name] += [value for _, value in samples]
    assert all(capacity % CAPACITY == 0 for capacity in seen["queue_capacity"])
    assert max(seen["queue_capacity"]) <= CAPACITY * (1 + 3 * WORKERS)
    assert all(0 <= size <= max(seen["queue_capacity"]) for size in seen["queue_size"])
    assert all(0 <= mark <= CAPACITY for mark in seen["queue_high_watermark"])
    assert set(seen["spool_records"]) == {0}
    server.wait_until(
        lambda: server.total("sum(pylog_queue_capacity)") == alive * CAPACITY,
        lambda: f"{server.query('pylog_queue_capacity')}, with {gunicorn.workers()}",
    )
    used = 'sum(pylog_failover_active{sink="safe", target="%s"})'
    assert server.total(used % "rolling_file") == alive
    assert server.total(used % "stream") == 0
    assert server.total('sum(pylog_failover_switch_total{sink="safe"})') == 0


def in_the_directory(folder):
    """The totals in prometheus-client's files, read by its own collector."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))
    found = Counter()
    for family in registry.collect():
        for sample in family.samples:
            if sample.name == "pylog_events_total":
                found["pylog_events"] += sample.value
            elif sample.name == "pylog_events_written_total":
                found["pylog_events_written", sample.labels["sink"]] += sample.value
    return found
