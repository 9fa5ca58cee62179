"""Every sink of the package against the public conformance suite."""

from __future__ import annotations

import importlib
import os
import sys

import pytest

from pylog_struct.levels import ERROR, INFO
from pylog_struct.testing import FailingSink, ShortSink, SlowSink, check_sink


def of(module, name):
    """The class *name*; imported when the test runs, so that one broken module fails one test."""
    return getattr(importlib.import_module(f"pylog_struct.sinks.{module}"), name)


QUICK = {"retry_min": 0.001, "retry_max": 0.01, "spill": False}

WRAPPERS = {
    "FailoverSink": lambda inner: of("failover", "FailoverSink")([inner]),
    "FailoverSink, hung calls left": lambda inner: of("failover", "FailoverSink")(
        [inner, FailingSink()], timeout=30
    ),
    "FailoverSink, degraded": lambda inner: of("failover", "FailoverSink")([FailingSink(), inner]),
    "RetrySink": lambda inner: of("retry", "RetrySink")(inner, base=0.0001, cap=0.001),
    "RetrySink, impatient": lambda inner: of("retry", "RetrySink")(inner, attempts=1),
    "BatchSink": lambda inner: of("batch", "BatchSink")(inner, max_records=4, linger=3600),
    "BatchSink, without a linger": lambda inner: of("batch", "BatchSink")(inner, linger=0),
    "FanOutSink": lambda inner: of("fan_out", "FanOutSink")([inner]),
    "FilterSink": lambda inner: of("filter", "FilterSink")(inner, min_level="DEBUG"),
    "RouteSink": lambda inner: of("route", "RouteSink")(
        {"no": FailingSink()}, key="x", default=inner
    ),
    "LockedSink": lambda inner: of("locked", "LockedSink")(inner),
    "QueueSink": lambda inner: of("bounded_queue", "QueueSink")(inner, policy="block", **QUICK),
    "QueueSink, one by one": lambda inner: of("bounded_queue", "QueueSink")(
        inner, policy="block", capacity=64, batch_records=1, **QUICK
    ),
    "FailingSink": lambda inner: FailingSink(inner, fail=False),
    "ShortSink": lambda inner: ShortSink(inner, accept=1_000_000),
    "SlowSink": lambda inner: SlowSink(inner, delay=0.0),
    "canonical stack": lambda inner: of("bounded_queue", "QueueSink")(
        of("batch", "BatchSink")(
            of("retry", "RetrySink")(
                of("failover", "FailoverSink")([inner]), base=0.0001, cap=0.001
            ),
            linger=0.001,
        ),
        policy="block",
        **QUICK,
    ),
}
THREAD_SAFE = ("QueueSink", "LockedSink", "canonical")


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrapper(name):
    check_sink(
        make_wrapper=WRAPPERS[name],
        thread_safe=name.startswith(THREAD_SAFE),
        isolates=name.startswith("QueueSink"),
    )


def test_a_flight_recorder_whose_trigger_is_every_record():
    check_sink(
        make_wrapper=lambda inner: of("buffer", "BufferSink")(inner, flush_level="ERROR"),
        level=ERROR,
    )


def test_a_filter_that_says_no():
    check_sink(
        make_wrapper=lambda inner: of("filter", "FilterSink")(inner, min_level="ERROR"),
        keeps=lambda record: False,
        level=INFO,
        # Nothing reaches the inner sink, so none of its faults can show.
        skip=[
            "flush_tells_the_truth",
            "passes_timeouts_on",
        ],
    )


def test_memory_sink():
    check_sink(of("memory", "MemorySink"), read=lambda sink: sink.lines)


def test_null_sink():
    check_sink(of("memory", "NullSink"), thread_safe=True)


def test_rolling_file_sink(tmp_path):
    numbers = iter(range(10_000))

    def make():
        return of("rolling_file", "RollingFileSink")(tmp_path / f"{next(numbers)}" / "app.jsonl")

    def lines(sink):
        # The newest directory that has a file: a constructor alone makes none.
        return [
            line
            for path in sorted(tmp_path.glob("*/app.jsonl"))
            for line in path.read_bytes().split(b"\n")
        ]

    def make_failing():
        blocked = tmp_path / "a-file"
        blocked.write_bytes(b"")
        return of("rolling_file", "RollingFileSink")(blocked / "app.jsonl")

    check_sink(make, read=lines, make_failing=make_failing)


def test_rolling_file_sink_that_rolls_all_the_time(tmp_path):
    def make():
        return of("rolling_file", "RollingFileSink")(
            tmp_path / "app.jsonl", pattern=tmp_path / "app-%i.jsonl", max_bytes="10 kB"
        )

    def lines():
        return [
            line for path in tmp_path.glob("app*.jsonl") for line in path.read_bytes().split(b"\n")
        ]

    check_sink(make, read=lines, ordered=False)


def test_stream_sink_on_a_file(tmp_path):
    path = tmp_path / "out.jsonl"
    with path.open("ab") as stream:
        check_sink(
            lambda: of("stream", "StreamSink")(stream),
            read=lambda: path.read_bytes().split(b"\n"),
        )


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and select")
def test_stream_sink_on_a_full_pipe():
    ends = []

    def make_clogged():
        reader, writer = os.pipe()
        stream = os.fdopen(writer, "wb", buffering=0)
        ends.extend((os.fdopen(reader, "rb"), stream))
        return of("stream", "StreamSink")(stream, timeout=0.05)

    def make_failing():
        reader, writer = os.pipe()
        os.close(reader)
        stream = os.fdopen(writer, "wb", buffering=0)
        ends.append(stream)
        return of("stream", "StreamSink")(stream, timeout=0.05)

    try:
        check_sink(
            of("memory", "MemorySink"),
            read=lambda sink: sink.lines,
            make_clogged=make_clogged,
            make_failing=make_failing,
        )
    finally:
        for end in ends:
            end.close()
