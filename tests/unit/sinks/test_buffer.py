from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.wrappers import (
    PickySink,
    WatchedSink,
    check_life_cycle,
    names,
    record,
    records,
    write_all,
)

from pylog_struct.errors import (
    ConfigError,
    SinkError,
    SinkRejectedError,
    SinkUnavailableError,
)
from pylog_struct.levels import DEBUG, ERROR, INFO, WARNING
from pylog_struct.record import Record
from pylog_struct.sinks import BufferSink, MemorySink
from pylog_struct.testing import FailingSink, check_sink

ALL = (lambda _: True, False)


def error(text="boom", **fields):
    return record(text, ERROR, **fields)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sink": None}, "BufferSink.sink: None is no sink"),
        ({"capacity": 0}, "BufferSink.capacity: 0 is no number of records"),
        ({"max_keys": -1}, "BufferSink.max_keys: -1 is no number of keys"),
        ({"max_bytes": "lots"}, "BufferSink.max_bytes: 'lots' is no size"),
        ({"flush_level": "loud"}, "BufferSink.flush_level: 'loud' is no level"),
        ({"pass_level": "loud"}, "BufferSink.pass_level: 'loud' is no level"),
        ({"pass_level": "ERROR"}, "BufferSink.pass_level: 'ERROR' is not below flush_level"),
        ({"key": ""}, "BufferSink.key: '' is no field"),
        ({"key": "a..b"}, "BufferSink.key"),
        ({"key": 3}, "BufferSink.key: 3"),
        ({"flush_on_close": "no"}, "BufferSink.flush_on_close: 'no' is neither True nor False"),
    ],
)
def test_refuses_nonsense(arguments, message):
    with pytest.raises(ConfigError, match=message):
        BufferSink(**{"sink": MemorySink(), **arguments})


def test_life_cycle():
    check_life_cycle(BufferSink, records(2))


def test_keeps_the_contract():
    check_sink(make_wrapper=lambda inner: BufferSink(inner, flush_level="NOTSET"))
    check_sink(make_wrapper=lambda inner: BufferSink(inner, pass_level=INFO))


def test_details_are_written_only_when_something_goes_wrong():
    inner = PickySink()
    sink = BufferSink(inner)
    sink.write(records(3))
    sink.write([record("warned", WARNING)])
    assert inner.offered == []
    assert sink.statistics().waiting == 4
    sink.write([error()])
    assert [names(batch) for batch in inner.offered] == [["0", "1", "2", "warned", "boom"]]
    sink.write([error("again")])
    assert names(inner.records)[5:] == ["again"]
    assert sink.statistics().written == 6
    assert sink.statistics().details["buffer.triggers"] == 2


def test_the_oldest_makes_room():
    inner = MemorySink()
    sink = BufferSink(inner, capacity=2)
    sink.write([*records(5), error()])
    assert names(inner.records) == ["3", "4", "boom"]
    assert sink.statistics().drops == {("evicted", "info"): 3}


def test_bytes_are_bounded_and_what_can_never_fit_is_told(capsys):
    inner = MemorySink()
    sink = BufferSink(inner, max_bytes=10)
    sink.write([Record(INFO, b"aaaa"), Record(INFO, b"bbbb"), Record(INFO, b"cccc")])
    sink.write([Record(INFO, b"x" * 11), Record(ERROR, b"y" * 100)])
    assert [line[:1] for line in inner.lines] == [b"b", b"c", b"y"]
    assert sink.statistics().drops == {("evicted", "info"): 1, ("oversize", "info"): 1}
    assert "(oversize)" in capsys.readouterr().err


def test_a_trigger_releases_only_its_own_request():
    inner = MemorySink()
    sink = BufferSink(inner, key="trace.id")
    a, b = {"trace": {"id": "a"}}, {"trace.id": "b"}
    sink.write([record("a1", **a), record("b1", **b), record("start"), record("a2", **a)])
    sink.write([error("a!", **a)])
    assert names(inner.records) == ["a1", "a2", "a!"]
    sink.write([error("b!", **b)])
    assert names(inner.records)[3:] == ["b1", "b!"]
    sink.write([error("nobody's")])
    assert names(inner.records)[5:] == ["start", "nobody's"]


def test_keys_are_compared_as_text_and_objects_are_no_keys():
    inner = MemorySink()
    sink = BufferSink(inner, key="n")
    sink.write([record("a", n=7), record("b", n=[1]), record("c", n=None), record("d", n=2**63)])
    sink.write([error("7!", n="7")])
    assert names(inner.records) == ["a", "7!"]
    sink.write([error("none")])
    assert names(inner.records)[2:] == ["b", "c", "none"]


def test_the_key_not_seen_for_longest_is_forgotten_and_the_keyless_never_are():
    inner = MemorySink()
    sink = BufferSink(inner, key="k", max_keys=2)
    sink.write([record("none"), record("a", k="a"), record("b", k="b"), record("a2", k="a")])
    sink.write([record("c", k="c")])
    assert sink.statistics().drops == {("not_triggered", "info"): 1}
    assert sink.statistics().details["buffer.keys"] == 2
    sink.write([error("a!", k="a"), error("b!", k="b"), error("x")])
    assert names(inner.records) == ["a", "a2", "a!", "b!", "none", "x"]


def test_passed_levels_are_written_at_once_and_release_nothing():
    inner = MemorySink()
    sink = BufferSink(inner, pass_level="INFO")
    sink.write([record("d1", DEBUG), record("i1"), record("i2"), record("d2", DEBUG)])
    assert names(inner.records) == ["i1", "i2"]
    sink.write([error()])
    assert names(inner.records)[2:] == ["d1", "d2", "boom"]


def test_close_drops_what_was_not_triggered():
    inner = WatchedSink()
    sink = BufferSink(inner, key="k")
    sink.write([record("a", k="a"), record("b")])
    sink.close()
    assert inner.records == []
    assert sink.statistics().drops == {("not_triggered", "info"): 2}
    assert sink.statistics().details["buffer.keys"] == 0


def test_close_writes_what_is_held_if_asked_to():
    inner = WatchedSink()
    sink = BufferSink(inner, key="k", flush_on_close=True)
    sink.write([record("a", k="a"), record("b")])
    sink.close()
    assert names(inner.records) == ["a", "b"]
    assert sink.statistics().dropped == 0


def test_close_tells_what_it_could_not_write():
    sink = BufferSink(FailingSink(), flush_on_close=True)
    sink.write(records(2))
    with pytest.raises(SinkUnavailableError) as caught:
        sink.close()
    assert names(caught.value.unwritten) == ["0", "1"]
    assert sink.statistics().drops == {("shutdown", "info"): 2}


def test_flush_releases_nothing_but_flushes_the_inner_sink():
    inner = WatchedSink()
    sink = BufferSink(inner)
    sink.write(records(2))
    sink.flush()
    assert inner.calls == ["flush"]
    assert inner.records == []


def test_when_the_inner_sink_fails_the_held_stay_and_the_trigger_is_the_callers():
    inner = FailingSink()
    sink = BufferSink(inner)
    sink.write(records(2))
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write([error(), record("after")])
    assert names(caught.value.unwritten) == ["boom", "after"]
    assert sink.statistics().waiting == 2
    sink.write([record("between")])
    inner.fail = False
    sink.write(caught.value.unwritten)
    assert names(inner.records) == ["0", "1", "between", "boom"]


def test_a_release_that_got_stuck_goes_out_with_poll_and_is_bounded_meanwhile():
    inner = FailingSink()
    sink = BufferSink(inner, capacity=3)
    for number in range(20):
        sink.write(records(5, first=number * 5))
        with pytest.raises(SinkUnavailableError):
            sink.write([error()])
    assert sink.statistics().waiting == 6
    with pytest.raises(SinkUnavailableError) as caught:
        sink.poll(0.0)
    assert caught.value.unwritten == ()
    inner.fail = False
    assert sink.poll(0.0) is not None
    assert names(inner.records) == ["2", "3", "4"]
    sink.flush()
    assert sink.statistics().waiting == 3


def test_flush_does_not_lie_about_a_release_that_got_stuck():
    inner = FailingSink()
    sink = BufferSink(inner)
    sink.write(records(1))
    sink.release()
    with pytest.raises(SinkUnavailableError):
        sink.flush()
    inner.fail = False
    sink.flush()
    assert names(inner.records) == ["0"]


def test_part_of_a_release_may_get_through():
    inner = PickySink([(lambda i: i == 0, False)])
    sink = BufferSink(inner)
    sink.write([*records(2), error()])
    assert names(inner.records) == ["1", "boom"]
    assert sink.statistics().waiting == 1
    sink.poll(0.0)
    assert names(inner.records) == ["1", "boom", "0"]


def test_rejected_ones_are_counted_here_or_raised(capsys):
    inner = PickySink([(lambda i: i in {0, 2}, True)])
    sink = BufferSink(inner)
    sink.write(records(2))
    with pytest.raises(SinkRejectedError) as caught:
        sink.write([error(), record("after")])
    assert names(caught.value.unwritten) == ["boom"]
    assert names(inner.records) == ["1"]
    assert sink.statistics().drops == {("rejected", "info"): 1}
    assert sink.statistics().waiting == 1
    assert "(rejected)" in capsys.readouterr().err


def test_middleware_releases_or_discards_a_request_from_any_thread():
    inner = MemorySink()
    sink = BufferSink(inner, key="k")
    sink.write([record("a", k="a"), record("b", k=2), record("none")])

    def middleware():
        sink.release("a")
        sink.discard(2)
        sink.release("unknown")

    thread = threading.Thread(target=middleware)
    thread.start()
    thread.join()
    assert inner.records == []
    sink.poll(0.0)
    assert names(inner.records) == ["a"]
    assert sink.statistics().drops == {("not_triggered", "info"): 1}
    sink.release()
    sink.write([record("next", k="b")])
    sink.poll(0.0)
    assert names(inner.records) == ["a", "none"]


def test_poll_comes_back_as_long_as_somebody_may_ask_for_something():
    sink = BufferSink(WatchedSink(wait=7.0))
    assert sink.poll(0.0) == 7.0
    sink.write(records(1))
    assert sink.poll(0.0) == 1.0


def test_releases_asked_for_while_the_inner_sink_fails_are_bounded_and_come_later():
    inner = FailingSink()
    sink = BufferSink(inner, key="k", capacity=1)
    sink.write([record("a", k="a"), record("b", k="b")])
    sink.release("a")
    sink.release("b")
    with pytest.raises(SinkError):
        sink.poll(0.0)
    inner.fail = False
    sink.poll(0.0)
    sink.poll(0.0)
    assert names(inner.records) == ["a", "b"]


def test_a_release_asked_for_a_request_that_was_forgotten_meanwhile_is_none():
    inner = FailingSink()
    sink = BufferSink(inner, key="k", capacity=1, max_keys=2)
    sink.write([record("a", k="a"), record("b", k="b")])
    sink.release("a")
    sink.release("b")
    with pytest.raises(SinkError):
        sink.poll(0.0)
    sink.write([record("c", k="c"), record("d", k="d")])
    inner.fail = False
    sink.poll(0.0)
    sink.poll(0.0)
    assert names(inner.records) == ["a"]
    assert sink.statistics().drops == {("not_triggered", "info"): 1}


def test_a_child_process_starts_with_nothing_held():
    inner = MemorySink()
    sink = BufferSink(inner)
    sink.write(records(2))
    child = os.fork()
    if child == 0:
        sink.write([error()])
        os._exit(0 if names(inner.records) == ["boom"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    sink.write([error()])
    assert names(inner.records) == ["0", "1", "boom"]


steps = st.lists(
    st.tuples(st.sampled_from(["hold", "trigger"]), st.sampled_from([None, "a", "b", "c"])),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(
    steps=steps,
    fails=st.lists(st.booleans(), max_size=20),
    capacity=st.integers(1, 4),
    max_keys=st.integers(1, 3),
    chunk=st.integers(1, 5),
)
def test_agrees_with_a_simple_model(steps, fails, capacity, max_keys, chunk):
    """Triggers are retried until they are through, so failures must not show in a key's output."""
    inner = PickySink([ALL if fail else None for fail in fails])
    sink = BufferSink(inner, key="k", capacity=capacity, max_keys=max_keys)
    expected: list[str] = []
    rings: dict[str | None, list[str]] = {None: []}
    batch = []
    for number, (kind, key) in enumerate(steps):
        fields = {} if key is None else {"k": key}
        batch.append(record(number, ERROR if kind == "trigger" else INFO, **fields))
        ring = rings.pop(key, [])
        if kind == "trigger":
            expected += [*ring, str(number)]
            if key is None:
                rings[None] = []
            continue
        rings[key] = [*ring, str(number)][-capacity:]
        keys = [other for other in rings if other is not None]
        if len(keys) > max_keys:
            del rings[keys[0]]
    for start in range(0, len(batch), chunk):
        assert write_all(sink, batch[start : start + chunk]) == []
        assert sink.statistics().balanced
    keys_of = {str(number): key for number, (_, key) in enumerate(steps)}
    for key in (None, "a", "b", "c"):
        written = [name for name in names(inner.records) if keys_of[name] == key]
        assert written == [name for name in expected if keys_of[name] == key]
    if not any(fails):
        assert names(inner.records) == expected
    assert sink.statistics().waiting == sum(map(len, rings.values()))
    sink.close()
    assert sink.statistics().waiting == 0
    assert {reason for reason, _ in sink.statistics().drops} <= {"evicted", "not_triggered"}
