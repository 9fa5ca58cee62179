"""Severity levels: what is accepted, and the five labels."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylog_struct import levels
from pylog_struct.errors import ConfigError
from pylog_struct.levels import level_label, parse_level

_NAMES = {
    "notset": 0, "debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "exception": 40,
    "fatal": 50, "critical": 50,
}  # fmt: skip


@pytest.mark.parametrize(("name", "number"), _NAMES.items())
def test_a_name_counts_in_any_case_and_with_spaces_around(name, number):
    assert (
        parse_level(name)
        == parse_level(name.upper())
        == parse_level(f" {name.title()}\n")
        == number
    )


def test_the_numbers_are_those_of_the_stdlib():
    for name in ("NOTSET", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        assert getattr(levels, name) == getattr(logging, name)


@given(st.integers(0, 10_000))
def test_a_number_counts_as_it_is_and_as_text(number):
    assert parse_level(number) == parse_level(str(number)) == number


def test_names_added_to_the_stdlib_count():
    before = logging.getLevelName(7)
    logging.addLevelName(7, "TRACE")
    try:
        assert parse_level("trace") == 7
    finally:
        logging._levelToName.pop(7, None)
        logging._nameToLevel.pop("TRACE", None)
    assert logging.getLevelName(7) == before


@pytest.mark.parametrize(
    "value",
    [-1, True, False, 1.5, None, "", "loud", "-5", "1.5", b"info", "9" * 5_000, ["info"]],
    ids=lambda value: repr(value)[:12],
)
def test_nonsense_is_one_error_that_names_argument_value_and_remedy(value):
    with pytest.raises(ConfigError) as caught:
        parse_level(value, "configure.level")
    message = str(caught.value)
    assert message.startswith(f"configure.level: {value!r} is no level; use ")
    assert "warning" in message


@given(st.integers(-(10**30), 10**30))
def test_a_label_is_the_standard_level_at_or_below(level):
    label = level_label(level)
    assert label in {"debug", "info", "warning", "error", "critical"}
    assert label == "debug" or parse_level(label) <= level
    higher = [number for number in (20, 30, 40, 50) if number > parse_level(label)]
    assert all(level < number for number in higher)
