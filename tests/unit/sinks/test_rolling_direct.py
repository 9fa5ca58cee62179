"""A pattern without a path: every file has its final name from its first line."""

from __future__ import annotations

import os

import pytest
from support.rolling import content, files, numbers, record

from pylog_struct._janitor import JANITOR
from pylog_struct.errors import SinkUnavailableError
from pylog_struct.sinks.rolling_file import RollingFileSink
from pylog_struct.testing.clock import FakeClock

HOUR = 3600


def make(directory, clock, pattern="a-%d{yyyy-MM-dd-HH}-%i.log", **options):
    return RollingFileSink(pattern=directory / pattern, utc=True, clock=clock, **options)


@pytest.fixture
def clock():
    return FakeClock(1_700_000_000)  # 2023-11-14 22:13:20 UTC


def test_nothing_is_ever_renamed(tmp_path, clock, monkeypatch):
    for name in ("link", "rename", "replace"):
        monkeypatch.setattr(os, name, None)
    sink = make(tmp_path, clock, max_bytes=50)
    for number in range(3):
        sink.write([record(number, 40)])
    clock.advance(HOUR)
    for number in range(3, 5):
        sink.write([record(number, 40)])
    sink.close(5)
    assert files(tmp_path) == [
        "a-2023-11-14-22-1.log",
        "a-2023-11-14-22-2.log",
        "a-2023-11-14-22-3.log",
        "a-2023-11-14-23-1.log",
        "a-2023-11-14-23-2.log",
    ]
    assert numbers(tmp_path) == list(range(5))
    details = sink.statistics().details
    assert (details["rollovers.size"], details["rollovers.time"]) == (3, 1)


def test_without_an_index_the_period_is_the_file(tmp_path, clock):
    for number in range(4):
        sink = make(tmp_path, clock, "a-%d{yyyy-MM-dd-HH}.log")
        sink.write([record(number)])
        sink.close(5)
        clock.advance(HOUR / 2)
    assert files(tmp_path) == ["a-2023-11-14-22.log", "a-2023-11-14-23.log"]
    assert numbers(tmp_path) == [0, 1, 2, 3]


@pytest.mark.parametrize("facts", ["kept", "lost"])
def test_a_restart_goes_on_with_the_newest_file_of_the_period(tmp_path, clock, facts):
    for start in range(3):
        sink = make(tmp_path, clock, max_bytes=100)
        sink.write([record(start * 2, 40), record(start * 2 + 1, 40)])
        sink.close(5)
        if facts == "lost":
            for lock in tmp_path.glob(".*.lock"):
                lock.unlink()
    assert files(tmp_path) == [f"a-2023-11-14-22-{index}.log" for index in (1, 2, 3)]
    assert numbers(tmp_path) == list(range(6))


def test_a_file_that_was_compressed_meanwhile_is_not_gone_on_with(tmp_path, clock):
    first = make(tmp_path, clock, "a-%d{yyyy-MM-dd-HH}-%i.log.gz", max_bytes=100)
    first.write([record(0, 40)])
    first.close(5)
    (tmp_path / "a-2023-11-14-22-1.log").rename(tmp_path / "a-2023-11-14-22-1.log.gz")
    second = make(tmp_path, clock, "a-%d{yyyy-MM-dd-HH}-%i.log.gz", max_bytes=100)
    second.write([record(1, 40)])
    second.close(5)
    assert files(tmp_path) == ["a-2023-11-14-22-1.log.gz", "a-2023-11-14-22-2.log"]


def test_archives_are_compressed_and_the_active_file_is_not(tmp_path, clock):
    sink = make(tmp_path, clock, "a-%d{yyyy-MM-dd-HH}-%i.log.gz", max_bytes=100, max_files=3)
    for number in range(12):
        sink.write([record(number, 60)])
    JANITOR.join(sink, 10)
    sink.close(5)
    assert files(tmp_path) == [
        *(f"a-2023-11-14-22-{index}.log.gz" for index in (10, 11)),
        "a-2023-11-14-22-12.log",
        "a-2023-11-14-22-9.log.gz",
    ]


def test_several_writers_converge_on_one_file(tmp_path, clock):
    sinks = [make(tmp_path, clock, max_bytes=200) for _ in range(3)]
    for number in range(30):
        sinks[number % 3].write([record(number, 60)])
        clock.advance(0.06)
    clock.advance(HOUR)
    for number in range(30, 36):
        sinks[number % 3].write([record(number, 60)])
    for sink in sinks:
        sink.close(5)
    assert numbers(tmp_path) == list(range(36))
    sizes = [(tmp_path / name).stat().st_size for name in files(tmp_path)]
    assert len(sizes) <= 14
    assert sum(sink.statistics().details.get("rollovers.time", 0) for sink in sinks) == 1


def test_a_deleted_file_is_made_again(tmp_path, clock):
    sink = make(tmp_path, clock)
    sink.write([record(0)])
    (tmp_path / "a-2023-11-14-22-1.log").unlink()
    clock.advance(0.2)
    sink.write([record(1)])
    sink.close(5)
    assert numbers(tmp_path) == [1]


def test_a_replaced_or_truncated_file_is_noticed(tmp_path, clock):
    events = []
    sink = make(tmp_path, clock, on_event=events.append)
    path = tmp_path / "a-2023-11-14-22-1.log"
    sink.write([record(0)])
    path.rename(tmp_path / "away")
    path.touch()
    clock.advance(0.2)
    sink.write([record(1)])
    os.truncate(path, 0)
    clock.advance(0.2)
    sink.write([record(2)])
    sink.close(5)
    assert [event.reason for event in events if event.kind == "reopened"] == ["moved", "truncated"]
    assert content(path) == record(2).line + b"\n"


def test_a_clock_set_back_starts_no_older_file(tmp_path, clock):
    sink = make(tmp_path, clock, max_bytes=50)
    sink.write([record(0, 40)])
    clock.set_time(clock.time() - 2 * HOUR)
    sink.write([record(1, 40)])
    sink.close(5)
    assert files(tmp_path) == ["a-2023-11-14-22-1.log", "a-2023-11-14-22-2.log"]


def test_an_empty_file_is_no_archive(tmp_path, clock, monkeypatch):
    sink = make(tmp_path, clock)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(SinkUnavailableError):
            sink.write([record(0)])
    clock.advance(HOUR)
    sink.write([record(0)])
    sink.close(5)
    assert files(tmp_path) == ["a-2023-11-14-23-1.log"]
    assert "rollovers.time" not in sink.statistics().details


def test_a_start_can_begin_a_new_file(tmp_path, clock):
    for number in range(3):
        sink = make(tmp_path, clock, on_start=True)
        sink.write([record(number)])
        sink.close(5)
    assert len(files(tmp_path)) == 3


def test_an_interval_shorter_than_the_name_counts_on(tmp_path, clock):
    sink = make(tmp_path, clock, "a-%d{yyyy-MM-dd}-%i.log", interval="15 minutes")
    for number in range(5):
        sink.write([record(number)])
        clock.advance(15 * 60)
    sink.close(5)
    assert len(files(tmp_path)) == 5


def test_the_next_file_cannot_be_opened_deferred(tmp_path, clock, monkeypatch):
    events = []
    sink = make(tmp_path, clock, max_bytes=50, on_event=events.append)
    sink.write([record(0, 40)])
    real = os.open

    def refuse(path, *arguments, **keywords):
        if str(path).endswith("-2.log"):
            raise OSError(24, "Too many open files")
        return real(path, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        sink.write([record(1, 40)])
    clock.advance(5)
    sink.write([record(2, 40)])
    sink.close(5)
    assert [event.kind for event in events if event.kind in {"deferred", "rolled"}] == [
        "deferred",
        "rolled",
    ]
    assert numbers(tmp_path) == [0, 1, 2]
    assert len(files(tmp_path)) == 2
