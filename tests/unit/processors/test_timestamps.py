"""RFC 3339 in UTC, of fixed width, that do not go back."""

from __future__ import annotations

import datetime as dt
import pickle
import re
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylog_struct.clock import SYSTEM_CLOCK
from pylog_struct.processors.timestamps import TimestampSource, format_timestamp
from pylog_struct.testing.clock import FakeClock

SECOND = 1_000_000_000
FIRST = -62_135_596_800 * SECOND
LAST = 253_402_300_799 * SECOND + SECOND - 1
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class TestFormat:
    @pytest.mark.parametrize(
        ("ns", "text"),
        [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1, "1970-01-01T00:00:00.000000Z"),
            (999, "1970-01-01T00:00:00.000000Z"),
            (1_000, "1970-01-01T00:00:00.000001Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (1_709_210_096_123_456_789, "2024-02-29T12:34:56.123456Z"),
            (FIRST, "0001-01-01T00:00:00.000000Z"),
            (LAST, "9999-12-31T23:59:59.999999Z"),
            (FIRST - 1, "0001-01-01T00:00:00.000000Z"),
            (LAST + 1, "9999-12-31T23:59:59.999999Z"),
            (-(10**40), "0001-01-01T00:00:00.000000Z"),
            (10**40, "9999-12-31T23:59:59.999999Z"),
        ],
    )
    def test_examples(self, ns, text):
        assert format_timestamp(ns) == text

    @pytest.mark.parametrize(("digits", "text"), [(3, "123Z"), (6, "123456Z"), (9, "123456789Z")])
    def test_digits_are_cut(self, digits, text):
        assert format_timestamp(1_709_210_096_123_456_789, digits) == "2024-02-29T12:34:56." + text

    @given(st.integers(FIRST, LAST))
    def test_agrees_with_datetime_and_has_one_width(self, ns):
        text = format_timestamp(ns)

        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
        assert dt.datetime.fromisoformat(text) == EPOCH + dt.timedelta(microseconds=ns // 1000)

    @given(st.lists(st.integers(FIRST - SECOND, LAST + SECOND), min_size=2))
    def test_texts_sort_like_moments(self, moments):
        moments.sort()
        texts = [format_timestamp(ns, 9) for ns in moments]

        assert texts == sorted(texts)

    def test_threads_do_not_mix_up_seconds(self):
        wrong = []

        def check(second):
            text = format_timestamp(second * SECOND)
            wrong.extend(1 for _ in range(2000) if format_timestamp(second * SECOND) != text)

        threads = [threading.Thread(target=check, args=(n * 1000,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert wrong == []


class TestSource:
    def test_is_the_time_of_the_clock(self):
        clock = FakeClock(time=1_709_210_096.123456)

        assert TimestampSource(clock)() == 1_709_210_096_123_456_000

    def test_is_the_systems_time_in_nanoseconds(self):
        before = time.time_ns()
        now = TimestampSource()()

        assert before <= now <= time.time_ns()

    def test_a_small_step_back_is_held_until_the_clock_caught_up(self):
        clock = FakeClock(time=1000.0)
        source = TimestampSource(clock)
        readings = []
        for moment in (1000.0, 999.5, 999.001, 999.9, 1000.1):
            clock.set_time(moment)
            readings.append(source() / SECOND)

        assert readings == [1000.0, 1000.0, 1000.0, 1000.0, 1000.1]

    @pytest.mark.parametrize("moment", [999.0, 900.0, -5.0, 2000.0])
    def test_a_larger_step_is_followed(self, moment):
        clock = FakeClock(time=1000.0)
        source = TimestampSource(clock)
        source()
        clock.set_time(moment)

        assert source() == moment * SECOND

    def test_the_readings_of_another_thread_do_not_go_back_either(self):
        clock = FakeClock(time=1000.0)
        source = TimestampSource(clock)
        source()
        clock.set_time(999.5)
        seen = []
        thread = threading.Thread(target=lambda: seen.append(source()))
        thread.start()
        thread.join()

        assert seen == [1000 * SECOND]

    def test_can_be_pickled(self):
        assert pickle.loads(pickle.dumps(TimestampSource(FakeClock(time=5.0))))() == 5 * SECOND
        restored = pickle.loads(pickle.dumps(TimestampSource(SYSTEM_CLOCK)))
        assert abs(restored() - time.time_ns()) < 60 * SECOND
