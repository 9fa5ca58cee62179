"""W3C Trace Context level 1, read as the recommendation has it."""

from __future__ import annotations

import sys
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylog_struct.web._request.trace_context import (
    Trace,
    parse_traceparent,
    parse_tracestate,
    telemetry_ids,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("ff", True)]
)
def test_a_header_of_version_00(flags, sampled):
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}") == Trace(TRACE, SPAN, sampled=sampled)


def test_white_space_around_it_is_allowed():
    assert parse_traceparent(f" \t00-{TRACE}-{SPAN}-01\t ") is not None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01x",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"0G-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-0\n",
        f"00-{TRACE}-{SPAN}-zz",
        f"01-{TRACE}-{SPAN}-01.more",
        f"01-{TRACE}-{SPAN}-01" + "-" + "x" * 1_000_000,
    ],
)
def test_what_is_not_as_specified_is_ignored(value):
    assert parse_traceparent(value) is None


@pytest.mark.parametrize("rest", ["", "-", "-what-the-future-will-be-like"])
def test_a_later_version_is_read_as_far_as_it_is_known(rest):
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01{rest}") == Trace(TRACE, SPAN, sampled=True)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_no_text_makes_it_raise(text):
    found = parse_traceparent(text)
    assert found is None or (len(found.trace_id) == 32 and len(found.span_id) == 16)
    parse_tracestate([text])


def test_the_members_of_tracestate_in_order():
    assert parse_tracestate(
        ["rojo=00f067aa0ba902b7,  congo=t61rcWkgMzE", "fw529a3039@dt=FfAb"]
    ) == (
        ("rojo", "00f067aa0ba902b7"),
        ("congo", "t61rcWkgMzE"),
        ("fw529a3039@dt", "FfAb"),
    )
    assert parse_tracestate([" , ,a=1,"]) == (("a", "1"),)
    assert parse_tracestate([",".join(f"a{number}=1" for number in range(32))]) != ()


@pytest.mark.parametrize(
    "value",
    [
        "a",
        "A=1",
        "a=1,a=2",
        "a=",
        "a=x=y",
        "a=x\x7f",
        "a@=1",
        "a@b@c=1",
        f"{'a' * 257}=1",
        f"a={'x' * 257}",
        f"{'a' * 242}@v=1",
        f"a@{'v' * 15}=1",
        ",".join(f"a{number}=1" for number in range(33)),
        ",".join(f"a{number}={'x' * 250}" for number in range(40)),
    ],
)
def test_a_tracestate_that_breaks_a_rule_is_dropped_as_a_whole(value):
    assert parse_tracestate([value]) == ()


def test_without_opentelemetry_there_is_no_span(monkeypatch):
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    assert telemetry_ids() is None


def test_without_a_span_of_opentelemetrys_there_is_none_either():
    pytest.importorskip("opentelemetry.trace")
    assert telemetry_ids() is None


def test_the_current_span_of_opentelemetry():
    trace = pytest.importorskip("opentelemetry.trace")
    context = trace.SpanContext(
        int(TRACE, 16), int(SPAN, 16), is_remote=False, trace_flags=trace.TraceFlags(1)
    )
    with trace.use_span(trace.NonRecordingSpan(context)):
        assert telemetry_ids() == Trace(TRACE, SPAN, sampled=True)


def test_an_opentelemetry_that_is_another_is_reported_and_passed_over(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", types.ModuleType("opentelemetry.trace"))
    assert telemetry_ids() is None
    assert "OpenTelemetry's current span cannot be read" in capsys.readouterr().err
