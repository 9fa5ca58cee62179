from __future__ import annotations

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
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.levels import ERROR, INFO
from pylog_struct.sinks import MemorySink, NullSink, RouteSink
from pylog_struct.testing import FailingSink, Fault, check_sink

ALL = (lambda _: True, False)
ALL_FOR_GOOD = (lambda _: True, True)


@pytest.mark.parametrize(
    ("routes", "arguments", "message"),
    [
        ({}, {"key": "k"}, "RouteSink.routes: {} is no route"),
        ([], {}, r"RouteSink.routes: \[\] is no route"),
        (7, {}, "RouteSink.routes: 7 is no route"),
        ("ab", {}, "RouteSink.routes: 'ab' is no route"),
        ({"a": NullSink()}, {}, "RouteSink.key: None is no field"),
        ({"a": NullSink()}, {"key": "a."}, "RouteSink.key: 'a.' is no field"),
        ([(bool, NullSink())], {"key": "k"}, "RouteSink.key: 'k' has no meaning with predicates"),
        ([NullSink()], {}, r"RouteSink.routes\[0\]: .* is no route"),
        ([(1, NullSink())], {}, r"RouteSink.routes\[0\]"),
        ([(bool, 7)], {}, r"RouteSink.routes\[0\]: 7 is no sink"),
        ({"a": 7}, {"key": "k"}, r"RouteSink.routes\['a'\]: 7 is no sink"),
        ({None: NullSink()}, {"key": "k"}, "RouteSink.routes: None is no value"),
        ({1: NullSink(), "1": NullSink()}, {"key": "k"}, "RouteSink.routes: '1' is there twice"),
        ({"a": NullSink()}, {"key": "k", "default": 7}, "RouteSink.default: 7 is no sink"),
    ],
)
def test_refuses_nonsense(routes, arguments, message):
    with pytest.raises(ConfigError, match=message):
        RouteSink(routes, **arguments)


def test_life_cycle():
    check_life_cycle(lambda inner: RouteSink([(bool, inner)]), records(2))


def test_keeps_the_contract():
    check_sink(make_wrapper=lambda inner: RouteSink({"a": NullSink()}, key="k", default=inner))
    check_sink(make_wrapper=lambda inner: RouteSink([(lambda record: True, inner)]))


def test_a_field_decides():
    a, b, rest = MemorySink(), MemorySink(), MemorySink()
    sink = RouteSink({"audit": a, 404: b, True: b}, key="http.kind", default=rest)
    sink.write(
        [
            record("1", **{"http.kind": "audit"}),
            record("2", http={"kind": "404"}),
            record("3", http={"kind": 404}),
            record("4", http={"kind": True}),
            record("5", http={"kind": "other"}),
            record("6", http={"kind": ["audit"]}),
            record("7"),
        ]
    )
    assert names(a.records) == ["1"]
    assert names(b.records) == ["2", "3", "4"]
    assert names(rest.records) == ["5", "6", "7"]
    assert sink.statistics().written == 7


def test_a_literal_dotted_key_wins_and_mixed_nesting_is_found():
    a, b = MemorySink(), MemorySink()
    sink = RouteSink({"a": a, "b": b}, key="x.y.z")
    sink.write([record("1", **{"x.y.z": "a", "x": {"y": {"z": "b"}}})])
    sink.write([record("2", **{"x.y": {"z": "b"}}), record("3", x={"y.z": "b"})])
    sink.write([record("4", **{"x.y": 1, "x": {"y": {"z": "b"}}})])
    sink.write([record("5", **{"x.y": {"other": 1}, "x": {"y": {"z": "b"}}})])
    assert names(a.records) == ["1"]
    assert names(b.records) == ["2", "3", "4", "5"]


def test_a_function_decides():
    errors, rest = MemorySink(), MemorySink()
    sink = RouteSink({True: errors}, key=lambda record: record.level >= ERROR, default=rest)
    sink.write([record("a"), record("b", ERROR)])
    assert names(errors.records) == ["b"]
    assert names(rest.records) == ["a"]


def test_a_function_may_return_any_number():
    big = MemorySink()
    RouteSink({2**70: big}, key=lambda _: 2**70).write(records(1))
    assert names(big.records) == ["0"]


def test_the_first_predicate_that_holds_decides():
    a, b = MemorySink(), MemorySink()
    sink = RouteSink([(lambda r: r.level >= ERROR, a), (lambda r: r.level >= INFO, b)])
    sink.write([record("i"), record("e", ERROR), record("d", 10)])
    assert names(a.records) == ["e"]
    assert names(b.records) == ["i"]
    assert sink.statistics().drops == {("unrouted", "debug"): 1}


def test_choosing_that_raises_means_the_default_and_is_reported(capsys):
    rest = MemorySink()
    RouteSink({"a": NullSink()}, key=lambda r: r.fields["k"], default=rest).write(records(1))
    assert names(rest.records) == ["0"]
    assert "sent to the default" in capsys.readouterr().err
    lone = RouteSink([(lambda r: r.fields["k"], NullSink())], name="lone")
    lone.write(records(1))
    assert lone.statistics().drops == {("unrouted", "info"): 1}
    assert "the record is dropped" in capsys.readouterr().err


def test_one_sink_may_serve_several_routes_and_gets_one_part_in_order():
    inner = PickySink()
    sink = RouteSink({"a": inner, "b": inner}, key="k", default=inner)
    assert sink.children == (inner,)
    sink.write([record("1", k="a"), record("2", k="b"), record("3")])
    assert [names(batch) for batch in inner.offered] == [["1", "2", "3"]]


def mixed(*kinds):
    return [record(number, k=kind) for number, kind in enumerate(kinds)]


def test_one_error_names_all_that_no_sink_took_in_the_order_of_the_batch():
    a, b = PickySink([ALL]), PickySink([(lambda i: i == 0, False)])
    sink = RouteSink({"a": a, "b": b}, key="k")
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(mixed("b", "a", "b", "none", "a"))
    assert names(caught.value.unwritten) == ["0", "1", "4"]
    assert caught.value.retryable
    assert sink.statistics().received == 2
    assert sink.statistics().drops == {("unrouted", "info"): 1}
    sink.write(caught.value.unwritten)
    assert names(a.records) == ["1", "4"]
    assert sorted(names(b.records)) == ["0", "2"]


def test_rejections_alone_are_raised_as_such():
    sink = RouteSink({"a": PickySink([ALL_FOR_GOOD]), "b": MemorySink()}, key="k")
    with pytest.raises(SinkRejectedError) as caught:
        sink.write(mixed("a", "b"))
    assert names(caught.value.unwritten) == ["0"]
    assert not caught.value.retryable


def test_rejections_beside_retryable_ones_are_dropped_here(capsys):
    sink = RouteSink({"a": PickySink([ALL_FOR_GOOD]), "b": PickySink([ALL])}, key="k")
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(mixed("a", "b", "a"))
    assert names(caught.value.unwritten) == ["1"]
    assert sink.statistics().drops == {("rejected", "info"): 2}
    assert "2 record(s) dropped (rejected)" in capsys.readouterr().err


def test_the_kind_of_the_error_is_kept():
    slow = FailingSink(fault=Fault(SinkTimeoutError))
    with pytest.raises(SinkTimeoutError):
        RouteSink({"a": slow}, key="k").write(mixed("a"))


def test_a_part_that_fails_does_not_stop_the_other_parts():
    good = MemorySink()
    sink = RouteSink({"a": FailingSink(), "b": good}, key="k")
    with pytest.raises(SinkError):
        sink.write(mixed("a", "b"))
    assert names(good.records) == ["1"]


@pytest.mark.parametrize("call", ["flush", "poll", "close"])
def test_a_sink_that_fails_does_not_keep_the_others_from_their_call(call):
    bad, good = WatchedSink(call), WatchedSink(wait=3.0)
    sink = RouteSink({"a": bad, "b": good}, key="k")
    argument = (0.0,) if call == "poll" else ()
    with pytest.raises(SinkUnavailableError, match=f"{call} failed"):
        getattr(sink, call)(*argument)
    assert good.calls == [call]


@settings(max_examples=200, deadline=None)
@given(
    groups=st.lists(st.lists(st.sampled_from("abcd"), max_size=6), max_size=8),
    plans=st.lists(
        st.lists(st.none() | st.tuples(st.integers(0, 63), st.booleans()), max_size=8),
        min_size=3,
        max_size=3,
    ),
)
def test_exactly_once_on_the_right_route(groups, plans):
    def refusal(entry):
        return None if entry is None else (lambda i: bool(entry[0] >> i % 6 & 1), entry[1])

    inner = {
        kind: PickySink([refusal(entry) for entry in plan], name=kind)
        for kind, plan in zip("abc", plans, strict=True)
    }
    sink = RouteSink(inner, key="k")
    number = 0
    sent = {kind: [] for kind in "abcd"}
    raised = []
    for group in groups:
        batch = [record(number + i, k=kind) for i, kind in enumerate(group)]
        number += len(batch)
        for item in batch:
            sent[item.fields["k"]].append(item)
        raised += write_all(sink, batch)
    for kind, child in inner.items():
        assert sorted(child.records + child.rejected) == sorted(sent[kind])
        if not any(entry and not entry[1] for entry in plans["abc".index(kind)]):
            numbers = [int(name) for name in names(child.records)]
            assert numbers == sorted(numbers)
    drops = sink.statistics().drops
    rejected = sum(len(child.rejected) for child in inner.values())
    assert drops.get(("rejected", "info"), 0) + len(raised) == rejected
    assert drops.get(("unrouted", "info"), 0) == len(sent["d"])
    assert sink.statistics().balanced
