from __future__ import annotations

import pytest
from support.wrappers import PickySink, WatchedSink, check_life_cycle, names, record, records

from pylog_struct.errors import ConfigError, SinkRejectedError, SinkUnavailableError
from pylog_struct.levels import DEBUG, ERROR, INFO, WARNING
from pylog_struct.sinks import FilterSink, MemorySink
from pylog_struct.testing import FailingSink, check_sink


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing to filter by"),
        ({"predicate": "x"}, "FilterSink.predicate: 'x' is not callable"),
        ({"min_level": "loud"}, "FilterSink.min_level: 'loud' is no level"),
        ({"max_level": -1}, "FilterSink.max_level: -1 is no level"),
        ({"min_level": "ERROR", "max_level": "INFO"}, "FilterSink.max_level: 'INFO' is below"),
        ({"sink": MemorySink, "min_level": 1}, "FilterSink.sink: .* is no sink"),
    ],
)
def test_refuses_nonsense(arguments, message):
    with pytest.raises(ConfigError, match=message):
        FilterSink(**{"sink": MemorySink(), **arguments})


def test_life_cycle():
    check_life_cycle(lambda inner: FilterSink(inner, min_level=0), records(2))


def test_keeps_the_contract():
    check_sink(make_wrapper=lambda inner: FilterSink(inner, min_level=0))
    check_sink(
        make_wrapper=lambda inner: FilterSink(inner, lambda record: len(record.line) % 2 == 0),
        keeps=lambda record: len(record.line) % 2 == 0,
    )


def test_bounds_are_inclusive():
    inner = MemorySink()
    sink = FilterSink(inner, min_level="INFO", max_level="WARNING")
    sink.write([record(level, level) for level in (DEBUG, INFO, WARNING, 31, ERROR)])
    assert names(inner.records) == [str(INFO), str(WARNING)]
    statistics = sink.statistics()
    assert statistics.drops == {
        ("filtered", "debug"): 1,
        ("filtered", "warning"): 1,
        ("filtered", "error"): 1,
    }
    assert (statistics.received, statistics.written) == (5, 2)


def test_a_predicate_sees_the_record():
    inner = MemorySink()
    sink = FilterSink(inner, lambda record: record.fields.get("path") != "/health")
    sink.write([record("a", path="/health"), record("b", path="/buy")])
    assert names(inner.records) == ["b"]


def test_a_predicate_that_raises_keeps_the_record_and_is_reported(capsys):
    inner = MemorySink()
    sink = FilterSink(inner, lambda record: record.fields["path"])
    sink.write([record("a"), record("b", path="")])
    assert names(inner.records) == ["a"]
    assert "the predicate failed" in capsys.readouterr().err


def test_a_batch_without_anything_wanted_is_not_passed_on():
    inner = PickySink()
    FilterSink(inner, min_level="ERROR").write(records(3))
    assert inner.offered == []


def test_what_the_inner_sink_refuses_is_raised_and_the_rest_is_accounted_for():
    sink = FilterSink(PickySink([(lambda i: i == 1, False)]), min_level=INFO)
    batch = [record("d", DEBUG), *records(3)]
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(batch)
    assert names(caught.value.unwritten) == ["1"]
    statistics = sink.statistics()
    assert (statistics.received, statistics.written, statistics.dropped) == (3, 2, 1)
    sink.write(caught.value.unwritten)
    assert sink.statistics().received == 4


def test_a_rejection_passes_through():
    sink = FilterSink(PickySink([(lambda _: True, True)]), min_level=INFO)
    with pytest.raises(SinkRejectedError):
        sink.write(records(1))
    assert sink.statistics().received == 0


def test_timed_work_and_flush_reach_the_inner_sink():
    inner = WatchedSink(wait=2.5)
    sink = FilterSink(inner, min_level=INFO)
    assert sink.poll(0.0) == 2.5
    sink.flush(1.0)
    assert inner.calls == ["poll", "flush"]
    with pytest.raises(SinkUnavailableError):
        FilterSink(FailingSink(fail_flush=True), min_level=INFO).flush()
