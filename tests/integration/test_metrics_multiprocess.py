"""The metrics under PROMETHEUS_MULTIPROC_DIR: several processes, one scrape.

prometheus-client reads the variable when it is imported, so each worker is a process of its own; the
scraping is done here, as a web app would: a fresh registry with a ``MultiProcessCollector``.
"""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import textwrap
import time

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.parser import text_string_to_metric_families

_LONG = 60.0

_PREAMBLE = """
import os, sys, threading
from prometheus_client import CollectorRegistry, generate_latest
from pylog_struct.ledger import DropReason
from pylog_struct.metrics import Metrics, Pipeline, is_multiprocess
from pylog_struct.record import Record
from pylog_struct.sinks.memory import NullSink

class QueueLike(NullSink):
    type_name = "queue"

class FailoverLike(NullSink):
    type_name = "failover"

def received(sink, number, level=20):
    sink.ledger.accepted([Record(level, b"12345")] * number)
    levels = sink.ledger.received_by_level
    levels[level] = levels.get(level, 0) + number

registry = CollectorRegistry()
metrics = Metrics.of(registry)
queue, failover, counts = QueueLike(name="main"), FailoverLike(name="safe"), Pipeline()
metrics.attach([queue, failover], queue, counts)
"""


class Worker:
    """A process that runs *script*; each ``step`` lets it go on to its next ``wait()``."""

    def __init__(self, directory, script, *arguments):
        code = (
            _PREAMBLE
            + "def wait():\n    print('ready', flush=True)\n    sys.stdin.readline()\n"
            + textwrap.dedent(script)
        )
        environment = {
            **os.environ,
            "PROMETHEUS_MULTIPROC_DIR": str(directory),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self):
        return self.process.pid

    def until_ready(self):
        line = self.process.stdout.readline()
        assert line == "ready\n", line + self.process.stderr.read()
        return self

    def step(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self):
        """Let it run to its end and return what it printed on stdout and stderr."""
        out, err = self.process.communicate("\n" * 10, timeout=_LONG)
        assert self.process.returncode == 0, err
        return out.replace("ready\n", ""), err


@pytest.fixture(name="workers")
def _workers(tmp_path):
    """Starts workers that share one directory, and leaves none behind."""
    started = []

    def start(script, *arguments, directory=tmp_path):
        started.append(Worker(directory, script, *arguments))
        return started[-1]

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.communicate()


def _scrape(directory):
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            found[sample.name, *sorted(sample.labels.values())] = sample.value
    return found


def test_the_counters_of_all_processes_add_up_also_of_those_that_have_ended(workers, tmp_path):
    script = """
        number = int(sys.argv[1])
        for _ in range(2):  # two updates: growth is added, not the total again
            received(queue, 10 * number)
            queue.ledger.delivered([Record(20, b"12345")] * 9 * number, seconds=0.02)
            queue.ledger.gave_up([Record(20, b"12345")] * number, DropReason.REJECTED)
            queue.ledger.failed(ValueError())
            queue.ledger.delivery_seconds.observe(0.5)
            queue.ledger.count("rollovers.size", number)
            queue.ledger.count("archives_deleted.count")
            failover.ledger.count("failover.switches")
            counts.discard("debug")
            counts.error("bridge")
            metrics.publish()
        assert is_multiprocess()
    """
    for number in (1, 2, 3):
        workers(script, number).end()
    scraped = _scrape(tmp_path)
    expected = {
        ("pylog_events_total", "info"): 120,
        ("pylog_events_total", "debug"): 6,
        ("pylog_events_written_total", "main"): 108,
        ("pylog_bytes_written_total", "main"): 540,
        ("pylog_events_dropped_total", "info", "main", "rejected"): 12,
        ("pylog_sink_errors_total", "main", "other"): 6,
        ("pylog_sink_write_seconds_count", "main"): 6,
        ("pylog_sink_write_seconds_bucket", "0.01", "main"): 0,
        ("pylog_sink_write_seconds_bucket", "0.025", "main"): 6,
        ("pylog_sink_write_seconds_bucket", "+Inf", "main"): 6,
        ("pylog_delivery_seconds_count", "main"): 6,
        ("pylog_rollovers_total", "main", "size"): 12,
        ("pylog_archives_deleted_total", "count", "main"): 6,
        ("pylog_failover_switch_total", "safe"): 6,
        ("pylog_failover_all_failed_total", "safe"): 0,
        ("pylog_processing_errors_total", "bridge"): 6,
    }
    assert {key: scraped.get(key) for key in expected} == expected
    assert scraped["pylog_sink_write_seconds_sum", "main"] == pytest.approx(0.12)


def test_gauges_mean_what_their_modes_say(workers, tmp_path):
    script = """
        size, mark, target = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
        queue.ledger.accepted([Record(20, b"12345")] * size)
        for detail, value in (("bytes", 5 * size), ("capacity", 100), ("high_watermark", mark)):
            queue.ledger.set("queue." + detail, value)
        queue.ledger.set("spool.records", size)
        queue.ledger.set("spool.bytes", 7)
        for name in ("elastic", "file"):
            failover.ledger.set("failover.active." + name, int(name == target))
        metrics.publish()
        wait()
        metrics.detach([queue, failover], queue)
        wait()
    """
    first = workers(script, 4, 50, "elastic").until_ready()
    second = workers(script, 3, 80, "file").until_ready()
    third = workers(script, 1, 20, "file").until_ready()

    def gauges():
        scraped = _scrape(tmp_path)
        names = ("size", "bytes", "capacity", "high_watermark")
        return (
            [scraped["pylog_queue_" + name, "main"] for name in names],
            [scraped["pylog_spool_" + name, "main"] for name in ("records", "bytes")],
            [
                scraped["pylog_failover_active", *sorted((name, "safe"))]
                for name in ("elastic", "file")
            ],
        )

    assert gauges() == (
        [8, 40, 300, 80],
        [8, 21],
        [1, 2],
    )  # sums; the worst mark; processes by target
    second.end()
    mark_process_dead(second.pid, path=str(tmp_path))
    assert gauges() == ([5, 25, 200, 50], [5, 14], [1, 1])
    first.step()
    first.until_ready()
    assert gauges() == ([1, 5, 100, 20], [1, 7], [0, 1])  # a pipeline that was closed shows zero
    third.end()
    first.end()
    mark_process_dead(third.pid, path=str(tmp_path))
    mark_process_dead(first.pid, path=str(tmp_path))
    assert not [key for key in _scrape(tmp_path) if key[0].startswith("pylog_queue")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_workers_forked_from_a_configured_parent_count_from_zero(workers, tmp_path):
    script = """
        received(queue, 5)
        queue.ledger.delivered([Record(20, b"12345")] * 5, seconds=0.01)
        counts.error("bridge")
        metrics.publish()
        children = []
        for number in (1, 2, 3):
            pid = os.fork()
            if not pid:
                counts.reset()  # the manager's part
                received(queue, 10 * number)
                queue.ledger.delivered([Record(20, b"12345")] * 10 * number, seconds=0.01)
                metrics.publish()
                os._exit(0)
            children.append(pid)
        for pid in children:
            assert os.waitpid(pid, 0)[1] == 0
        received(queue, 2)
        metrics.publish()
    """
    workers(script).end()
    scraped = _scrape(tmp_path)
    assert scraped["pylog_events_total", "info"] == 5 + 60 + 2
    assert scraped["pylog_events_written_total", "main"] == 65
    assert scraped["pylog_sink_write_seconds_count", "main"] == 4
    assert scraped["pylog_processing_errors_total", "bridge"] == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_another_thread_counts_leaves_the_child_free(workers, tmp_path):
    script = """
        from pylog_struct._exposition import values_lock
        received(queue, 1)
        metrics.publish()
        taken, go_on = threading.Event(), threading.Event()
        def count():
            with values_lock():  # as the application's own Counter.inc() has it
                taken.set()
                go_on.wait(0.3)
        thread = threading.Thread(target=count)
        thread.start()
        taken.wait()
        pid = os.fork()
        if not pid:
            import signal
            signal.alarm(20)
            received(queue, 2)
            metrics.publish()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0, "the child hung"
        go_on.set()
        thread.join()
    """
    workers(script).end()
    assert _scrape(tmp_path)["pylog_events_total", "info"] == 3


def test_a_registry_of_the_workers_own_shows_the_worker_only(workers):
    script = """
        received(queue, int(sys.argv[1]))
        wait()
        print(registry.get_sample_value("pylog_events_total", {"level": "info"}))
        print(registry.get_sample_value("pylog_queue_size", {"sink": "main"}))
    """
    first, second = workers(script, 3).until_ready(), workers(script, 4).until_ready()
    assert first.end()[0] == "3.0\n3.0\n"
    assert second.end()[0] == "4.0\n4.0\n"


def test_the_objects_are_plain_ones_that_this_mode_supports(workers):
    script = """
        from prometheus_client import Counter, Gauge, Histogram
        received(queue, 1)
        metrics.publish()
        for collector in registry._collector_to_names:
            assert isinstance(collector, (Counter, Gauge, Histogram)), collector
            if isinstance(collector, Gauge):
                wanted = "livemax" if "high_watermark" in collector._name else "livesum"
                assert collector._multiprocess_mode == wanted, collector
            for child in collector._metrics.values():
                assert "_child_samples" not in vars(child), "set_function() shows 0 here"
    """
    workers(script).end()


def test_a_directory_that_is_gone_is_reported_and_stops_nothing(workers, tmp_path):
    script = """
        received(queue, 1)
        metrics.publish()
        metrics.publish()
        os.mkdir(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        metrics.publish()
        print(registry.get_sample_value("pylog_events_total", {"level": "info"}))
    """
    missing = tmp_path / "missing"
    out, err = workers(script, directory=missing).end()
    assert err.count("the metrics could not be brought up to date (FileNotFoundError") == 1
    assert out == "1.0\n"
    assert _scrape(missing)["pylog_events_total", "info"] == 1


_CONFIGURED = """
    import pylog_struct, structlog
    from pylog_struct.sinks.memory import MemorySink
    pylog_struct.configure(sink=MemorySink(name="kept"), stdlib=False, registry=CollectorRegistry())
    log = structlog.get_logger()
    for _ in range(7):
        log.info("hello")
    {then}
"""


def test_a_running_pipeline_shows_its_numbers_without_being_asked(workers, tmp_path):
    worker = workers(_CONFIGURED.format(then="wait()")).until_ready()
    ends = time.monotonic() + _LONG
    expected = {("pylog_events_written_total", "kept"): 7, ("pylog_events_total", "info"): 7}
    found = {}
    while expected.items() - found.items():  # an update may have begun between two events
        assert time.monotonic() < ends, "nobody brings the files up to date"
        time.sleep(0.02)
        # prometheus-client makes a file and gives it its length in two steps, and its collector
        # cannot read one that is still empty.
        with contextlib.suppress(struct.error):
            found = _scrape(tmp_path)
    worker.end()


@pytest.mark.parametrize(
    "then", ["pylog_struct.flush(); os._exit(0)", "pylog_struct.shutdown(); os._exit(0)", "pass"]
)
def test_flush_shutdown_and_the_exit_leave_exact_numbers(workers, tmp_path, then):
    workers(_CONFIGURED.format(then=then)).end()
    assert _scrape(tmp_path)["pylog_events_total", "info"] == 7
    assert _scrape(tmp_path)["pylog_events_written_total", "kept"] == 7
