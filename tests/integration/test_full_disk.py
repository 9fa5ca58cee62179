"""A disk without room, seen from the application: no exception, little noise, nothing uncounted."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry
from support.rolling import files

import pylog_struct
from pylog_struct.sinks import FailoverSink, MemorySink, QueueSink, RollingFileSink, StreamSink

PATIENCE = 30.0

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="needs /dev/full and limits of files"
)


def kinds(said):
    """The lines of the diagnostics, without what tells one from the next of its kind."""
    return [line for line in said.splitlines() if line.strip()]


@pytest.fixture(params=["file", "stream"])
def leaf(request):
    if request.param == "file":
        yield RollingFileSink("/dev/full")
        return
    with Path("/dev/full").open("ab", 0) as stream:
        yield StreamSink(stream)


@pytest.mark.parametrize("queued", [False, True])
def test_a_device_that_is_always_full_costs_no_exception_and_one_line_a_kind(queued, leaf, capfd):
    sink = QueueSink(leaf, capacity=100, name="q", spill=False) if queued else leaf
    manager = pylog_struct.configure(sink=sink, format="json")
    log = structlog.get_logger()
    for number in range(1000):
        log.info("x", number=number)
    pylog_struct.shutdown(timeout=0.5)

    ledger = manager.statistics()
    assert ledger.balanced
    assert ledger.emitted >= 1000
    root = ledger["q"] if queued else ledger["locked"]
    assert root.written == 0
    assert root.dropped + root.waiting == ledger.emitted
    lines = kinds(capfd.readouterr().err)
    assert any("No space left" in line for line in lines)
    assert len(lines) == len(set(lines)) <= 5


def test_a_full_disk_in_front_of_a_failover_loses_nothing_and_heals(tmp_path, capfd):
    """The kernel refuses what would make a file larger than the limit, as a full disk does."""
    registry = CollectorRegistry()
    second = MemorySink(name="second")
    manager = pylog_struct.configure(
        sink=QueueSink(
            FailoverSink(
                [RollingFileSink(tmp_path / "app.jsonl", max_bytes="1 GB", name="file"), second],
                retry_interval=0.001,
                name="safe",
            ),
            name="q",
            policy="block",
        ),
        format="json",
        registry=registry,
    )
    log = structlog.get_logger()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        for number in range(2000):
            log.info("x", number=number, padding="p" * 100)
        assert pylog_struct.flush(PATIENCE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert any(event["event"] == "x" for event in second.events)
    for number in range(2000, 2100):
        log.info("x", number=number, padding="p" * 100)
        assert pylog_struct.flush(PATIENCE)
    active = registry.get_sample_value("pylog_failover_active", {"sink": "safe", "target": "file"})
    pylog_struct.shutdown(timeout=PATIENCE)

    assert active == 1, "it came back by itself"
    assert files(tmp_path) == ["app.jsonl"], "nothing was rolled away to make empty files"
    written = [
        pylog_struct.Record(20, line).fields
        for line in (tmp_path / "app.jsonl").read_bytes().splitlines()
    ]
    everywhere = [*written, *second.events]
    # A line that the disk took in part was ended and written again elsewhere: it has no number.
    assert sorted(e["number"] for e in everywhere if "number" in e) == list(range(2100))
    assert manager.statistics().balanced
    assert manager.statistics()["q"].dropped == 0
    lines = kinds(capfd.readouterr().err)
    assert not any("Traceback" in line for line in lines)
    assert len(lines) < 20
