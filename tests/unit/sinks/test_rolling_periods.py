"""The calendar: starts, ends, zones with clock changes, and the text forms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylog_struct.errors import ConfigError
from pylog_struct.sinks._rolling.periods import At, Every, WallClock, parse_at, parse_interval


@pytest.mark.parametrize(
    ("text", "now", "start", "end"),
    [
        ("second", "2024-03-05 07:08:09", "2024-03-05 07:08:09", "2024-03-05 07:08:10"),
        (90, "2024-03-05 07:08:09", "2024-03-05 07:07:30", "2024-03-05 07:09:00"),
        ("15 minutes", "2024-03-05 07:08:09", "2024-03-05 07:00:00", "2024-03-05 07:15:00"),
        ("hourly", "2024-03-05 07:08:09", "2024-03-05 07:00:00", "2024-03-05 08:00:00"),
        ("6 hours", "2024-03-05 07:08:09", "2024-03-05 06:00:00", "2024-03-05 12:00:00"),
        ("7 h", "2024-03-05 22:00:00", "2024-03-05 21:00:00", "2024-03-06 00:00:00"),
        ("day", "2024-03-05 07:08:09", "2024-03-05 00:00:00", "2024-03-06 00:00:00"),
        ("48 hours", "2024-03-05 07:08:09", "2024-03-04 00:00:00", "2024-03-06 00:00:00"),
        ("1 week", "2024-03-05 07:08:09", "2024-03-04 00:00:00", "2024-03-11 00:00:00"),
        ("month", "2024-03-05 07:08:09", "2024-03-01 00:00:00", "2024-04-01 00:00:00"),
        ("3 months", "2024-12-05 07:08:09", "2024-10-01 00:00:00", "2025-01-01 00:00:00"),
        ("yearly", "2024-03-05 07:08:09", "2024-01-01 00:00:00", "2025-01-01 00:00:00"),
    ],
)
def test_intervals_are_aligned_to_the_calendar(text, now, start, end):
    every = parse_interval(text, "x")
    begin = every.start(datetime.fromisoformat(now))
    assert (str(begin), str(every.end(begin))) == (start, end)


@pytest.mark.parametrize(
    ("text", "now", "start", "end"),
    [
        ("03:00", "2024-03-05 07:08:09", "2024-03-05 03:00:00", "2024-03-06 03:00:00"),
        ("23:30:15", "2024-03-05 07:08:09", "2024-03-04 23:30:15", "2024-03-05 23:30:15"),
        ("monday", "2024-03-05 07:08:09", "2024-03-04 00:00:00", "2024-03-11 00:00:00"),
        ("Tue 08:00", "2024-03-05 07:08:09", "2024-02-27 08:00:00", "2024-03-05 08:00:00"),
        ("friday at 18:00", "2024-03-05 07:08:09", "2024-03-01 18:00:00", "2024-03-08 18:00:00"),
    ],
)
def test_times_of_day_and_weekdays(text, now, start, end):
    at = parse_at(text, "x")
    begin = at.start(datetime.fromisoformat(now))
    assert (str(begin), str(at.end(begin))) == (start, end)


@pytest.mark.parametrize(
    "value", [0, -5, 1.5, True, "", "soon", "0 days", "36 hours", "1.5 h", None]
)
def test_wrong_intervals_are_refused(value):
    with pytest.raises(ConfigError, match=r"^S\.interval: "):
        parse_interval(value, "S.interval")


@pytest.mark.parametrize(
    "value", ["", "24:00", "12:60", "noon", "someday", "1 2", 5, "mo", "03:00 monday"]
)
def test_wrong_times_are_refused(value):
    with pytest.raises(ConfigError, match=r"^S\.at: "):
        parse_at(value, "S.at")


SCHEDULES = st.one_of(
    st.builds(
        Every,
        st.integers(1, 40),
        st.sampled_from(["day", "week", "month", "year"]),
    ),
    st.builds(
        Every, st.sampled_from([1, 2, 5, 7, 15, 30, 45, 600]), st.sampled_from(["second", "minute"])
    ),
    st.builds(Every, st.integers(1, 23), st.just("hour")),
    st.builds(
        At,
        st.times().map(lambda moment: moment.replace(microsecond=0)),
        st.none() | st.integers(0, 6),
    ),
)


@given(SCHEDULES, st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)))
def test_periods_cover_time_without_gap_or_overlap(schedule, moment):
    moment = moment.replace(microsecond=0)
    start = schedule.start(moment)
    end = schedule.end(start)
    assert start <= moment < end
    assert schedule.start(start) == start
    assert schedule.start(end) == end
    assert schedule.start(end - timedelta(seconds=1)) == start


@pytest.mark.parametrize(
    "zone", ["America/Sao_Paulo", "Europe/Berlin", "Asia/Tehran", "Australia/Lord_Howe"]
)
@given(moment=st.integers(1_400_000_000, 1_600_000_000))
def test_an_instant_is_the_first_at_which_the_clock_shows_the_time(zone, moment):
    clock = WallClock(ZoneInfo(zone))
    shown = clock.wall(moment)
    first = clock.instant(shown)
    assert first <= moment
    assert clock.wall(first) >= shown
    assert clock.wall(first - 1) < shown


def test_a_time_that_the_clock_skips_is_the_moment_of_the_change():
    berlin = WallClock(ZoneInfo("Europe/Berlin"))
    change = datetime(2024, 3, 31, 1, 0, tzinfo=UTC).timestamp()
    for minute in (0, 15, 59):
        assert berlin.instant(datetime(2024, 3, 31, 2, minute)) == change


def test_a_time_that_the_clock_shows_twice_is_the_first_showing():
    berlin = WallClock(ZoneInfo("Europe/Berlin"))
    for minute in (0, 15, 59):
        first = datetime(2024, 10, 27, 0, minute, tzinfo=UTC).timestamp()
        assert berlin.instant(datetime(2024, 10, 27, 2, minute)) == first


def test_local_time_is_the_machines(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert WallClock().wall(0) == datetime(1970, 1, 1, 5, 30)
        assert WallClock().instant(datetime(1970, 1, 1, 5, 30)) == 0
    finally:
        monkeypatch.undo()
        time.tzset()
