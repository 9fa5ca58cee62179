"""Numbers as the status page shows them."""

from __future__ import annotations

import pytest

from pylog_struct.web._status import units


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"), (9_999, "9,999"), (10_000, "10.0 k"), (123_456, "123 k"), (4_560_000, "4.6 M"),
        (7.2e9, "7.2 G"), (3e21, "3000000 P"),
    ],
)  # fmt: skip
def test_amounts_are_short(number, shown):
    assert plain(units.amount(number)) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(None, "–"), (0, "0"), (0.04, "0.0"), (3.14, "3.1"), (656.4, "656"), (12_345, "12.3 k")],
)
def test_rates_have_a_digit_when_they_are_small(number, shown):
    assert plain(units.rate(number)) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0 B"), (1023, "1,023 B"), (1024, "1.0 KiB"), (200 * 1024, "200 KiB"), (2**31, "2.0 GiB")],
)
def test_sizes_are_binary(number, shown):
    assert plain(units.size(number)).replace(",", "") == shown.replace(",", "")


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (None, "–"), (0.000_05, "50 µs"), (0.002_5, "2.5 ms"), (0.085, "85 ms"), (2.25, "2.2 s"),
        (90, "1 min 30 s"),
    ],
)  # fmt: skip
def test_short_durations_choose_their_unit(number, shown):
    assert plain(units.seconds(number)) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (-3, "0 s"), (59.6, "1 min"), (598, "9 min 58 s"), (3600, "1 h"), (3_605, "1 h"),
        (86_400, "1 d"), (100_000, "1 d 3 h"),
    ],
)  # fmt: skip
def test_long_durations_have_two_units_at_most(number, shown):
    assert plain(units.span(number)) == shown


@pytest.mark.parametrize(("number", "shown"), [(0.2, "now"), (3, "3 s ago"), (125, "2 min ago")])
def test_how_long_ago_has_one_unit(number, shown):
    assert plain(units.ago(number)) == shown
