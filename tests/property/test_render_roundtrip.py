"""Rendering against hypothesis: JSON-native data comes back unchanged, anything at all comes back."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import json
import uuid

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.payloads import PAYLOADS, strict_loads

from pylog_struct.processors.console import ConsoleRenderer
from pylog_struct.processors.exceptions import describe_exception
from pylog_struct.processors.interpolation import interpolate
from pylog_struct.processors.json_renderer import render_json
from pylog_struct.processors.sanitise import sanitise

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

texts = st.text(st.characters(codec="utf-8"))
json_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
json_values = st.recursive(
    json_scalars,
    lambda inside: st.lists(inside) | st.dictionaries(texts, inside),
    max_leaves=30,
)


class Shade(enum.Enum):
    DARK = "dark"
    LIGHT = 2


any_text = st.text()  # lone surrogates too
# By name: hypothesis itself hashes, compares and prints what it draws, and would fall first.
BY_NAME = {payload.name: payload for payload in PAYLOADS if not payload.expensive}


class Planted(str):
    """The name of a payload, to be put into its place when the test runs."""

    __slots__ = ()


def built(value):
    if type(value) is Planted:
        return BY_NAME[value].make()
    if type(value) is dict:
        return {key: built(item) for key, item in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(built(item) for item in value)
    return value


keys = st.one_of(
    any_text, st.integers(), st.none(), st.booleans(), st.floats(), st.uuids(), st.binary(),
    st.tuples(st.integers()), st.sampled_from(Shade), st.datetimes(),
)  # fmt: skip
moments = st.timezones() | st.none()
odd_scalars = st.one_of(
    json_scalars, any_text, st.integers(), st.floats(), st.decimals(), st.fractions(),
    st.complex_numbers(), st.binary(), st.binary().map(bytearray), st.binary().map(memoryview),
    st.uuids(), st.dates(), st.times(timezones=moments), st.datetimes(timezones=moments),
    st.timedeltas(), st.sampled_from(Shade), st.sampled_from([int, dict, Shade, len, json.dumps]),
    st.sampled_from(sorted(BY_NAME)).map(Planted),
)  # fmt: skip
anything = st.recursive(
    odd_scalars,
    lambda inside: st.one_of(
        st.lists(inside),
        st.dictionaries(keys, inside),
        st.lists(inside).map(tuple),
        st.lists(inside).map(iter),
        st.sets(st.integers() | any_text),
    ),
    max_leaves=20,
)


@RELAXED
@given(st.dictionaries(texts, json_values))
def test_json_native_data_comes_back_unchanged(event):
    assert strict_loads(render_json(event)) == event


@RELAXED
@given(st.dictionaries(texts, json_values), json_values)
def test_json_native_data_comes_back_unchanged_beside_something_odd(event, value):
    """The sanitiser and the quick path agree."""
    event["value"] = value
    document = strict_loads(render_json({**event, "odd": object()}))
    document.pop("odd")
    event.pop("odd", None)

    assert document == event


@RELAXED
@given(json_values)
def test_sanitising_json_native_data_changes_nothing(value):
    assert sanitise(value) == value


@RELAXED
@given(anything)
def test_anything_becomes_one_strict_line(value):
    line = render_json({"event": "x", "value": built(value), "last": 1})

    assert b"\n" not in line
    document = strict_loads(line)
    assert list(document) == ["event", "value", "last"]


@RELAXED
@given(st.dictionaries(keys, st.integers()))
def test_no_key_is_ever_lost(event):
    document = strict_loads(render_json({"value": event}))

    assert len(document["value"]) == len(event)
    assert sorted(document["value"].values(), key=str) == sorted(
        (value if -(2**63) <= value < 2**64 else str(value) for value in event.values()), key=str
    )


@RELAXED
@given(st.dictionaries(any_text, anything))
def test_anything_in_the_console_is_one_line_without_controls(event):
    event = {k: built(value) for k, value in event.items() if k not in {"exception", "stack"}}
    text = ConsoleRenderer()(None, "info", event).decode("utf-8")

    assert not [c for c in text if ord(c) < 32 or 0x7F <= ord(c) < 0xA0]


@RELAXED
@given(any_text, st.lists(odd_scalars, max_size=3).map(tuple))
def test_no_message_and_no_argument_makes_a_call_fail(event, args):
    text, error = interpolate(event, built(args))

    assert type(text) is str
    assert error is None or text == event


@RELAXED
@given(anything, any_text)
def test_any_exception_is_described(value, note):
    error = ValueError(built(value))
    error.add_note(note)
    error.__cause__ = KeyError(built(value))
    document = strict_loads(
        render_json({"event": "x", "exception": describe_exception(error)}, strict=True)
    )

    assert document["exception"]["cause"]["type"] == "KeyError"


@given(st.integers())
def test_integers_follow_one_rule(value):
    shown = sanitise(value)

    assert shown == (value if -(2**63) <= value < 2**64 else str(value))


@given(st.datetimes(timezones=st.timezones()))
def test_aware_datetimes_keep_the_moment(value):
    shown = sanitise(value)

    if shown.endswith("Z") and value.utcoffset() is not None:
        assert dt.datetime.fromisoformat(shown) == value.astimezone(dt.UTC)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_decimals_are_exact(value):
    assert decimal.Decimal(sanitise(value)) == value


@given(st.fractions())
def test_fractions_are_exact(value):
    assert fractions.Fraction(sanitise(value)) == value


@given(st.uuids())
def test_uuids_are_exact(value):
    assert uuid.UUID(json.loads(render_json({"value": value}))["value"]) == value


@given(any_text)
def test_text_is_kept_but_for_lone_surrogates(value):
    assert sanitise(value) == value.encode("utf-8", "backslashreplace").decode()
