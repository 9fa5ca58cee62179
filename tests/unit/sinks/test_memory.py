from __future__ import annotations

import os

import pytest
from support.wrappers import names, records

from pylog_struct.errors import ConfigError, SinkClosedError
from pylog_struct.record import Record
from pylog_struct.sinks import MemorySink, NullSink
from pylog_struct.testing import check_sink


def test_keeps_the_contract():
    check_sink(MemorySink, read=lambda sink: sink.lines)
    check_sink(NullSink)


@pytest.mark.parametrize("capacity", [0, -1, 1.5, "10", True, 10**30])
def test_refuses_nonsense(capacity):
    with pytest.raises(ConfigError, match=r"MemorySink\.capacity: "):
        MemorySink(capacity=capacity)


def test_keeps_what_it_is_given_in_three_forms():
    sink = MemorySink()
    sink.write([Record(20, b'{"event":"a"}'), Record(20, b"plain")])
    assert sink.lines == [b'{"event":"a"}', b"plain"]
    assert sink.events == [{"event": "a"}, {"event": "plain"}]
    assert [record.level for record in sink.records] == [20, 20]
    assert sink.statistics().bytes_written == 18


def test_gives_copies_away():
    sink = MemorySink()
    sink.write(records(1))
    sink.records.clear()
    assert len(sink.records) == 1


def test_a_capacity_keeps_the_newest_and_all_count_as_written():
    sink = MemorySink(capacity=2)
    sink.write(records(5))
    assert names(sink.records) == ["3", "4"]
    assert sink.statistics().written == 5


def test_clear_forgets_the_records_and_not_the_ledger():
    sink = MemorySink()
    sink.write(records(2))
    sink.clear()
    assert sink.records == []
    assert sink.statistics().written == 2


def test_what_was_kept_can_be_read_after_close():
    sink = MemorySink()
    sink.write(records(1))
    sink.close()
    sink.close()
    assert names(sink.records) == ["0"]
    with pytest.raises(SinkClosedError):
        sink.write(records(1))


def test_a_child_process_starts_empty():
    sink = MemorySink()
    sink.write(records(1))
    child = os.fork()
    if child == 0:
        os._exit(0 if sink.records == [] and sink.statistics().received == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(sink.records) == 1


def test_null_wraps_nothing():
    with pytest.raises(TypeError, match="children"):
        NullSink(children=())


def test_null_counts_and_forgets():
    sink = NullSink(name="zero")
    sink.write(records(3))
    assert sink.statistics().written == 3
    assert sink.statistics().name == "zero"
    assert sink.poll(0.0) is None
