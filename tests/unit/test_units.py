"""Sizes and durations: what people write, and the one error for what they should not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylog_struct.errors import ConfigError
from pylog_struct.units import parse_duration, parse_size

_SIZES = {
    "": 1, "b": 1, "bytes": 1, "kB": 10**3, "k": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_DURATIONS = {
    "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "": 1, "s": 1, "sec": 1, "seconds": 1,
    "min": 60, "minutes": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400, "days": 86400,
    "w": 604800, "weeks": 604800,
}  # fmt: skip


@given(
    number=st.integers(1, 4000),
    unit=st.sampled_from(list(_SIZES)),
    gap=st.sampled_from(["", " ", "  "]),
)
def test_a_size_is_its_number_times_its_unit_in_any_case_and_spacing(number, unit, gap):
    expected = number * _SIZES[unit]
    for text in (unit, unit.upper(), unit.lower()):
        assert parse_size(f" {number}{gap}{text} ", "X.max_bytes") == expected


@given(number=st.integers(1, 2**53))
def test_a_size_without_a_unit_is_bytes(number):
    assert parse_size(number, "x") == number
    assert parse_size(float(number), "x") == number
    assert parse_size(str(number), "x") == number
    assert parse_size(f"{number:_}", "x") == number


@given(
    number=st.integers(0, 10_000),
    unit=st.sampled_from(list(_DURATIONS)),
    gap=st.sampled_from(["", " "]),
)
def test_a_duration_is_its_number_times_its_unit(number, unit, gap):
    assert parse_duration(f"{number}{gap}{unit}", "x") == pytest.approx(number * _DURATIONS[unit])


@given(seconds=st.floats(0, 1e9))
def test_a_duration_as_a_number_is_seconds(seconds):
    assert parse_duration(seconds, "x") == seconds


@given(seconds=st.integers(0, 10**6), places=st.integers(0, 999))
def test_a_duration_may_have_decimals(seconds, places):
    assert parse_duration(f"{seconds}.{places:03d} s", "x") == pytest.approx(
        seconds + places / 1000
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("100 MB", 100_000_000),
        ("64 KiB", 65_536),
        ("1.5 kB", 1_500),
        ("0.1 GB", 100_000_000),
        ("1.1 GB", 1_100_000_000),
    ],
)
def test_sizes_as_in_the_documentation(text, size):
    assert parse_size(text, "x") == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("1 day", 86_400), ("250 ms", 0.25), ("5 Min", 300), ("2 H", 7_200)]
)
def test_durations_as_in_the_documentation(text, seconds):
    assert parse_duration(text, "x") == pytest.approx(seconds)


_NONSENSE = [
    True, False, None, "", " ", "MB", "ten MB", "-1", "- 1 MB", "1e3", "1.2.3 s", "1__0", "_1", "1 parsec", "0x10", b"1",
    [1], math.nan, math.inf, -math.inf, 10**400, -(10**400), "9" * 400, "١ s",
]  # fmt: skip


@pytest.mark.parametrize("value", _NONSENSE, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("parse", [parse_size, parse_duration])
def test_nonsense_is_one_error_that_names_argument_value_and_remedy(parse, value):
    with pytest.raises(ConfigError) as caught:
        parse(value, "QueueSink.limit")
    message = str(caught.value)
    assert message.startswith(f"QueueSink.limit: {value!r} is no ")
    assert "; use " in message
    assert '"' in message.partition("; use ")[2]  # an example


@pytest.mark.parametrize("value", [0, -1, 0.5, "0", "0.5", "1.5 B", "0.3 KiB"])
def test_a_size_is_a_whole_number_of_bytes_and_at_least_one(value):
    with pytest.raises(ConfigError, match="at least 1 byte"):
        parse_size(value, "x")


def test_the_least_size_is_the_callers_choice():
    assert parse_size(0, "x", minimum=0) == 0
    assert parse_size("1 KiB", "x", minimum=1024) == 1024
    with pytest.raises(ConfigError, match="at least 1024 byte"):
        parse_size(1023, "x", minimum=1024)


def test_a_duration_has_a_least_value_that_may_be_excluded():
    assert parse_duration(0, "x") == 0.0
    assert parse_duration("1 s", "x", minimum=1.0) == 1.0
    with pytest.raises(ConfigError, match=r"at least 1 second"):
        parse_duration(0.99, "x", minimum=1.0)
    with pytest.raises(ConfigError, match=r"more than 0 second"):
        parse_duration("0 ms", "x", exclusive=True)
    assert parse_duration("1 us", "x", exclusive=True) == pytest.approx(1e-6)


def test_an_error_of_a_setting_is_a_value_error_too():
    with pytest.raises(ValueError, match="no size"):
        parse_size("?", "x")
