"""Roll-over by time: intervals, times of day, clock changes, restarts, catch-up."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from support.rolling import content, files, numbers, record

from pylog_struct.sinks.rolling_file import RollingFileSink
from pylog_struct.testing.clock import FakeClock


def clock_at(text: str, zone: str = "UTC") -> FakeClock:
    return FakeClock(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


def make(directory, clock, pattern="a-%d{yyyy-MM-dd-HH}{UTC}.log", **options):
    if pattern is not None:
        pattern = directory / pattern
    return RollingFileSink(directory / "a.log", pattern=pattern, clock=clock, **options)


def test_an_archive_is_named_for_the_period_that_it_holds(tmp_path):
    clock = clock_at("2024-03-05 07:59:59")
    sink = make(tmp_path, clock)
    sink.write([record(1)])
    clock.advance(0.9)
    sink.write([record(2)])
    clock.advance(0.1)
    sink.write([record(3)])
    sink.close(1)
    assert files(tmp_path) == ["a-2024-03-05-07.log", "a.log"]
    assert len(content(tmp_path / "a-2024-03-05-07.log").splitlines()) == 2


def test_an_idle_file_rolls_at_its_boundary_when_polled(tmp_path):
    clock = clock_at("2024-03-05 07:30:00")
    sink = make(tmp_path, clock)
    sink.write([record(1)])
    wait = sink.poll(clock.monotonic())
    assert 0 < wait <= 1
    clock.advance(29 * 60)
    sink.poll(clock.monotonic())
    assert files(tmp_path) == ["a.log"]
    clock.advance(60)
    sink.poll(clock.monotonic())
    assert files(tmp_path) == ["a-2024-03-05-07.log", "a.log"]
    assert sink.poll(clock.monotonic()) > 0
    sink.close(1)


def test_missed_periods_make_one_archive_and_no_empty_ones(tmp_path):
    clock = clock_at("2024-03-05 07:30:00")
    sink = make(tmp_path, clock)
    sink.write([record(1)])
    clock.advance(5 * 3600)
    sink.poll(clock.monotonic())
    clock.advance(5 * 3600)
    sink.poll(clock.monotonic())
    sink.write([record(2)])
    clock.advance(5 * 3600)
    sink.write([record(3)])
    sink.close(1)
    assert files(tmp_path) == ["a-2024-03-05-07.log", "a-2024-03-05-17.log", "a.log"]


def test_a_restart_remembers_the_period_of_the_file(tmp_path):
    clock = clock_at("2024-03-05 07:30:00")
    first = make(tmp_path, clock)
    first.write([record(1)])
    first.close(1)
    os.utime(tmp_path / "a.log")  # somebody touched it: the modification time says nothing
    clock.advance(3 * 3600)
    second = make(tmp_path, clock)
    second.write([record(2)])
    second.close(1)
    assert files(tmp_path) == ["a-2024-03-05-07.log", "a.log"]


@pytest.mark.parametrize(
    "damage", [None, b"", b"{", b"\0" * 1024, b'{"version":9}', b"[]", b"null"]
)
def test_without_facts_the_modification_time_tells_the_period(tmp_path, damage):
    clock = clock_at("2024-03-05 12:30:00")
    (tmp_path / "a.log").write_bytes(b'{"n":0}\n')
    os.utime(tmp_path / "a.log", (clock.time() - 7200, clock.time() - 7200))
    if damage is not None:
        (tmp_path / ".a.log.lock").write_bytes(damage)
    sink = make(tmp_path, clock)
    sink.write([record(1)])
    sink.close(1)
    assert files(tmp_path) == ["a-2024-03-05-10.log", "a.log"]
    assert (tmp_path / ".a.log.lock").stat().st_size == 1024


def test_restarts_and_a_clock_that_is_set_back_replace_no_archive(tmp_path):
    """Size and hour together, three restarts within the hour, the clock two hours back."""
    clock = clock_at("2024-03-05 07:05:00")
    pattern = "a-%d{yyyy-MM-dd-HH}{UTC}-%i.log"
    seen: dict[str, bytes] = {}
    number = 0

    def check():
        for name in files(tmp_path):
            if name != "a.log":
                data = content(tmp_path / name)
                assert seen.setdefault(name, data) == data

    for start in range(4):
        sink = make(tmp_path, clock, pattern, max_bytes=200)
        for _ in range(10):
            sink.write([record(number, 50)])
            number += 1
            clock.advance(60)
            check()
        if start == 2:
            clock.set_time(clock.time() - 2 * 3600)
        for _ in range(10):
            sink.write([record(number, 50)])
            number += 1
            check()
        sink.close(1)
    clock.advance(4 * 3600)
    sink = make(tmp_path, clock, pattern, max_bytes=200)
    sink.write([record(number, 50)])
    sink.close(1)
    check()
    assert numbers(tmp_path) == list(range(number + 1))
    # Names never went back either: in their order, the archives hold the lines in order.
    held = [
        int(line.split(b":")[1].split(b",")[0])
        for name in sorted(seen, key=lambda name: (name[:15], int(name[16:-4])))
        for line in content(tmp_path / name).splitlines()
    ]
    assert held == list(range(number))


def test_a_clock_that_was_days_ahead_is_believed_when_it_is_set_right(tmp_path):
    clock = clock_at("2031-03-05 07:05:00")
    sink = make(tmp_path, clock)
    sink.write([record(1)])
    clock.set_time(clock_at("2024-03-05 07:05:00").time())
    clock._monotonic += 1
    sink.write([record(2)])
    clock.advance(3600)
    sink.write([record(3)])
    sink.close(1)
    assert files(tmp_path) == ["a-2024-03-05-07.log", "a-2031-03-05-07.log", "a.log"]


def test_without_an_index_a_taken_name_gets_a_suffix(tmp_path):
    (tmp_path / "a-2024-03-05-07.log").write_text("mine\n")
    clock = clock_at("2024-03-05 07:05:00")
    sink = make(tmp_path, clock, max_files=1)
    sink.write([record(1)])
    clock.advance(3600)
    sink.write([record(2)])
    sink.close(1)
    assert files(tmp_path) == ["a-2024-03-05-07.log.1", "a.log"]  # and retention knows their order


ZONES = [
    # zone, a moment before the change, hours to pass, whether hours are repeated
    ("America/Sao_Paulo", "2018-11-03 20:30", 8),  # midnight is skipped
    ("America/Sao_Paulo", "2018-02-17 20:30", 8),  # 23:00 to midnight is repeated
    ("Europe/Berlin", "2024-03-30 23:30", 8),
    ("Europe/Berlin", "2024-10-26 23:30", 8),
    ("Asia/Tehran", "2022-03-21 20:30", 8),
    ("Asia/Tehran", "2022-09-21 20:30", 8),
]


@pytest.mark.parametrize(("zone", "start", "hours"), ZONES)
@pytest.mark.parametrize("unit", ["yyyy-MM-dd", "yyyy-MM-dd-HH", "yyyy-MM-dd-HH-mm"])
def test_clock_changes_lose_repeat_and_overwrite_nothing(tmp_path, zone, start, hours, unit):
    clock = clock_at(start, zone)
    sink = make(tmp_path, clock, f"a-%d{{{unit}}}{{{zone}}}.log")
    expected: dict[str, list[int]] = {}
    latest = ""
    for number in range(hours * 6):
        shown = datetime.fromtimestamp(clock.time(), ZoneInfo(zone))
        form = {"yyyy-MM-dd": "%Y-%m-%d", "yyyy-MM-dd-HH": "%Y-%m-%d-%H"}.get(
            unit, "%Y-%m-%d-%H-%M"
        )
        latest = max(latest, shown.strftime(form))  # a repeated hour stays where it began
        expected.setdefault(f"a-{latest}.log", []).append(number)
        sink.write([record(number)])
        clock.advance(600)
    sink.close(1)
    expected["a.log"] = expected.pop(f"a-{latest}.log")
    assert files(tmp_path) == sorted(expected)
    for name, held in expected.items():
        assert [int(line[5:-1]) for line in content(tmp_path / name).splitlines()] == held


def test_utc_knows_no_clock_change(tmp_path):
    clock = clock_at("2024-10-26 20:30", "Europe/Berlin")
    sink = make(tmp_path, clock, "a-%d{yyyy-MM-dd-HH}.log", utc=True)
    for number in range(10):
        sink.write([record(number)])
        clock.advance(3600)
    sink.close(1)
    assert len(files(tmp_path)) == 10


def test_interval_and_default_names(tmp_path):
    clock = clock_at("2024-03-05 07:20:11")
    sink = make(tmp_path, clock, None, interval="15 minutes", utc=True)
    for number in range(4):
        sink.write([record(number)])
        clock.advance(600)
    sink.close(1)
    assert files(tmp_path) == [
        "a-2024-03-05-07-15-00-1.log",
        "a-2024-03-05-07-30-00-1.log",
        "a.log",
    ]


def test_default_names_tell_when_a_file_was_begun_and_are_no_trigger(tmp_path):
    clock = clock_at("2024-03-05 07:20:11")
    sink = make(tmp_path, clock, None, max_bytes=100, utc=True)
    for number in range(7):
        sink.write([record(number, 50)])
        clock.advance(10)
    sink.close(1)
    assert files(tmp_path) == [
        "a-2024-03-05-07-20-11-1.log",
        "a-2024-03-05-07-20-31-1.log",
        "a-2024-03-05-07-20-51-1.log",
        "a.log",
    ]


def test_at_a_time_of_day_and_on_a_weekday(tmp_path):
    clock = clock_at("2024-03-04 02:59:00")  # a Monday
    daily = make(tmp_path / "d", clock, "a-%d{yyyy-MM-dd}{UTC}.log", at="03:00")
    weekly = make(tmp_path / "w", clock, "a-%d{YYYY-'W'ww}{UTC}.log", at="monday 03:00")
    for number in range(10):
        for sink in (daily, weekly):
            sink.write([record(number)])
        clock.advance(86_400 if number else 60)
    for sink in (daily, weekly):
        sink.close(1)
    assert files(tmp_path / "d")[:3] == ["a-2024-03-03.log", "a-2024-03-04.log", "a-2024-03-05.log"]
    assert files(tmp_path / "w") == ["a-2024-W09.log", "a-2024-W10.log", "a.log"]


def test_roll_at_start_up_once_and_only_what_is_worth_it(tmp_path):
    clock = clock_at("2024-03-05 07:20:11")
    pattern = "a-%i.log"
    for size in (20, 200, 200):
        sink = make(tmp_path, clock, pattern, on_start="100 B")
        sink.write([record(1, size)])
        sink.write([record(2, 20)])
        sink.close(1)
    assert files(tmp_path) == ["a-1.log", "a.log"]
    assert content(tmp_path / "a-1.log").count(b"\n") == 4
    assert sink.statistics().details["rollovers.start"] == 1


def test_a_second_process_does_not_roll_what_the_first_is_writing(tmp_path):
    clock = clock_at("2024-03-05 07:20:11")
    first = make(tmp_path, clock, "a-%i.log", on_start=True)
    first.write([record(1)])
    second = make(tmp_path, clock, "a-%i.log", on_start=True)
    second.write([record(2)])
    first.close(1)
    second.close(1)
    assert files(tmp_path) == ["a.log"]


def test_two_sinks_agree_about_a_roll_over_by_time(tmp_path):
    clock = clock_at("2024-03-05 07:30:00")
    sinks = [make(tmp_path, clock) for _ in range(3)]
    for hour in range(5):
        for number, sink in enumerate(sinks):
            sink.write([record(hour * 10 + number)])
        clock.advance(3600)
    for sink in sinks:
        sink.close(1)
    assert len(files(tmp_path)) == 5
    for name in files(tmp_path):
        assert content(tmp_path / name).count(b"\n") == 3
    assert sum(sink.statistics().details.get("rollovers.time", 0) for sink in sinks) == 4


def test_the_repeated_hour_can_begin_a_file(tmp_path):
    """Started inside the second showing of an hour: nothing is rolled before the next hour."""
    moment = datetime(2024, 10, 27, 1, 10, tzinfo=UTC)  # 02:10 for the second time in Berlin
    clock = FakeClock(moment.timestamp())
    sink = make(tmp_path, clock, "a-%d{yyyy-MM-dd-HH-mm}{Europe/Berlin}.log")
    for number in range(6):
        sink.write([record(number)])
        clock.advance(30)
    sink.close(1)
    assert files(tmp_path) == ["a-2024-10-27-02-10.log", "a-2024-10-27-02-11.log", "a.log"]
