"""What is deleted, and above all what is not."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest
from support.rolling import files, record

from pylog_struct._janitor import JANITOR
from pylog_struct.sinks._rolling.archives import Archive
from pylog_struct.sinks.rolling_file import RollingFileSink
from pylog_struct.testing.clock import FakeClock

NOW = datetime(2024, 3, 20, 12, 0, tzinfo=UTC)
DAY = 86_400


def make(directory, clock=None, pattern="app-%d{yyyy-MM-dd}{UTC}-%i.log", **options):
    if pattern is not None:
        pattern = directory / pattern
    clock = clock or FakeClock(NOW.timestamp())
    return RollingFileSink(directory / "app.log", pattern=pattern, clock=clock, **options)


def archive(directory, days_ago, index=1, size=10, ending=""):
    path = directory / f"app-{NOW - timedelta(days=days_ago):%Y-%m-%d}-{index}.log{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * (size - 1) + b"\n")
    return path


def settle(sink):
    """Wait for the file work that the last call asked for."""
    assert JANITOR.join(sink, 10)


def write(sink, number=0):
    sink.write([record(number, 20)])
    settle(sink)


def test_the_count_is_of_all_periods_and_both_forms(tmp_path):
    for days in (5, 4, 3, 2):
        archive(tmp_path, days)
    packed = archive(tmp_path, 1, ending=".gz")
    sink = make(tmp_path, pattern="app-%d{yyyy-MM-dd}{UTC}-%i.log.gz", max_files=2)
    write(sink)
    sink.close(5)
    assert packed.exists()
    assert len(files(tmp_path)) == 3
    assert sink.statistics().details["archives_deleted.count"] == 3


def test_newest_means_by_date_then_index_never_by_modification_time(tmp_path):
    paths = [archive(tmp_path, 2, 10), archive(tmp_path, 2, 9), archive(tmp_path, 1, 2)]
    os.utime(paths[1])
    os.utime(paths[2], (0, 0))
    sink = make(tmp_path, max_files=2)
    write(sink)
    sink.close(5)
    assert [path.exists() for path in paths] == [True, False, True]


def test_age_is_that_of_the_period_in_the_name(tmp_path):
    kept = [archive(tmp_path, 6), archive(tmp_path, 0)]
    gone = [archive(tmp_path, 9), archive(tmp_path, 400)]
    for path in kept:
        os.utime(path, (0, 0))  # copied by a backup: says nothing
    sink = make(tmp_path, max_age="7 days")
    write(sink)
    sink.close(5)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)
    assert sink.statistics().details["archives_deleted.age"] == 2


def test_an_archive_is_as_old_as_the_end_of_its_period(tmp_path):
    path = archive(tmp_path, 2)  # of the 18th: ended 36 hours ago
    sink = make(tmp_path, max_age="37 hours")
    write(sink)
    sink.close(5)
    assert path.exists()
    sink = make(tmp_path, max_age="35 hours")
    write(sink)
    sink.close(5)
    assert not path.exists()


def test_the_age_of_default_names(tmp_path):
    old = tmp_path / "app-2024-03-01-00-00-00-1.log"
    new = tmp_path / "app-2024-03-19-00-00-00-1.log"
    for path in (old, new):
        path.write_bytes(b"x\n")
    sink = make(tmp_path, pattern=None, max_age="7 days", utc=True)
    write(sink)
    sink.close(5)
    assert not old.exists()
    assert new.exists()


def test_an_archive_that_took_long_to_fill_is_not_old_at_once(tmp_path):
    clock = FakeClock(NOW.timestamp())
    sink = make(tmp_path, clock, None, max_bytes=50, max_age="7 days", utc=True)
    write(sink, 0)
    clock.advance(30 * DAY)
    write(sink, 1)
    write(sink, 2)  # rolls: the first line is 30 days old, the last one of today
    assert len(files(tmp_path)) == 2
    clock.advance(6 * DAY)
    sink.poll(clock.monotonic())
    settle(sink)
    assert len(files(tmp_path)) == 2
    sink.close(5)
    again = make(tmp_path, clock, None, max_bytes=500, max_age="7 days", utc=True)
    write(again, 3)  # the facts survive a restart
    assert len(files(tmp_path)) == 2
    clock.advance(2 * DAY)
    again.poll(clock.monotonic())
    settle(again)
    again.close(5)
    assert files(tmp_path) == ["app.log"]


def test_names_without_a_date_go_by_modification_time(tmp_path):
    clock = FakeClock(NOW.timestamp())
    for index, days in ((1, 9), (2, 6)):
        path = tmp_path / f"app-{index}.log"
        path.write_bytes(b"x\n")
        os.utime(path, (clock.time() - days * DAY,) * 2)
    sink = make(tmp_path, clock, "app-%i.log", max_bytes=500, max_age="7 days")
    write(sink)
    sink.close(5)
    assert files(tmp_path) == ["app-2.log", "app.log"]


def test_total_size_goes_by_what_is_on_the_disk(tmp_path):
    for days in (4, 3, 2, 1):
        archive(tmp_path, days, size=100)
    sink = make(tmp_path, max_total_bytes=250)
    write(sink)
    sink.close(5)
    assert len(files(tmp_path)) == 3
    assert sink.statistics().details["archives_deleted.total_bytes"] == 2


def test_one_archive_larger_than_the_total_goes_too(tmp_path):
    archive(tmp_path, 2, size=10)
    archive(tmp_path, 1, size=300)
    sink = make(tmp_path, max_total_bytes=250)
    write(sink)
    sink.close(5)
    assert files(tmp_path) == ["app.log"]


def test_decoys_stay_whatever_the_limits_are(tmp_path):
    own = [archive(tmp_path, days) for days in (30, 29)]
    decoys = [
        "app.log.bak",
        "app2.log",
        "app-2020-01-01-1.log.bak",
        "app-2020-01-01-1.log.gz",  # this pattern does not compress
        "app-2020-01-01.log",
        "app-2020-01-01-01.log",
        "app-2020-02-30-1.log",
        "app-old.log",
        "xapp-2020-01-01-1.log",
        "app-other-2020-01-01-1.log",
        ".app-2020-01-01-1.log",
    ]
    for name in decoys:
        (tmp_path / name).write_text("mine")
    (tmp_path / "app.logs").mkdir()
    (tmp_path / "app-2020-01-01-2.log").mkdir()  # the name is right, but it is a directory
    (tmp_path / "app.egg-info").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "app-2020-01-01-1.log").write_text("mine")
    (tmp_path / "app-2020-01-01-3.log").symlink_to(elsewhere / "app-2020-01-01-1.log")
    before = {path for path in tmp_path.rglob("*") if path not in own}
    sink = make(tmp_path, max_files=1, max_age="1 day", max_total_bytes=1)
    write(sink)
    sink.close(5)
    assert not any(path.exists() for path in own)
    assert before <= set(tmp_path.rglob("*"))
    assert (elsewhere / "app-2020-01-01-1.log").read_text() == "mine"
    assert sum(v for k, v in sink.statistics().details.items() if k.startswith("archives")) == 2


def test_a_link_in_place_of_a_date_directory_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "app-01-01-1.log").write_text("mine")
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "2020").symlink_to(elsewhere)
    (logs / "2021").mkdir()
    (logs / "2021" / "app-01-01-1.log").write_text("ours")
    sink = make(logs, pattern="%d{yyyy}/app-%d{MM-dd}-%i.log", max_age="1 day", utc=True)
    write(sink)
    sink.close(5)
    assert (elsewhere / "app-01-01-1.log").exists()
    assert not (logs / "2021").exists()  # emptied, and removed with its last archive
    assert (logs / "2020").is_symlink()


def test_directories_that_hold_something_else_stay(tmp_path):
    for month in ("01", "02"):
        directory = tmp_path / "2021" / month
        directory.mkdir(parents=True)
        (directory / "app-03-1.log").write_text("ours")
    (tmp_path / "2021" / "02" / "notes.txt").write_text("mine")
    sink = make(tmp_path, pattern="%d{yyyy/MM}/app-%d{dd}-%i.log", max_age="1 day", utc=True)
    write(sink)
    sink.close(5)
    assert not (tmp_path / "2021" / "01").exists()
    assert files(tmp_path) == ["2021/02/notes.txt", "app.log"]


def test_retention_works_at_start_and_on_a_timer_without_any_roll_over(tmp_path):
    clock = FakeClock(NOW.timestamp())
    first, second = archive(tmp_path, 9), archive(tmp_path, 7)
    sink = make(
        tmp_path, clock, max_age="7 days", max_files=50, retention_interval="10 min", max_bytes=900
    )
    write(sink)
    assert (first.exists(), second.exists()) == (False, True)
    clock.advance(3 * 3600)
    sink.poll(clock.monotonic())
    settle(sink)
    assert second.exists()
    clock.advance(9 * 3600 + 1)  # past midnight: the 13th ended seven days ago
    write(sink)  # a write does it as well as a poll
    sink.close(5)
    assert not second.exists()


def test_an_archive_that_is_still_written_to_waits(tmp_path):
    clock = FakeClock(NOW.timestamp())
    late = make(tmp_path, clock, max_bytes=40, max_files=1)
    late.write([record(0, 20)])
    roller = make(tmp_path, clock, max_bytes=40, max_files=1)
    for number in range(1, 6):
        roller.write([record(number, 20)])
    settle(roller)
    held = tmp_path / "app-2024-03-20-1.log"
    assert held.exists()  # the late writer has it open
    late.write([record(6, 20)])  # within the 100 ms: lands in the archive, and is not lost
    assert record(6, 20).line in held.read_bytes()
    clock.advance(2)
    late.poll(clock.monotonic())  # now it notices, and lets go
    clock.advance(2)
    roller.poll(clock.monotonic())
    settle(roller)
    assert not held.exists()
    late.close(5)
    roller.close(5)


def test_the_active_file_is_never_touched_even_where_it_has_the_oldest_name(tmp_path):
    clock = FakeClock(NOW.timestamp())
    sink = RollingFileSink(
        pattern=tmp_path / "app-%d{yyyy-MM-dd}{UTC}-%i.log",
        max_files=1,
        max_age="1 day",
        max_total_bytes=1,
        clock=clock,
        retention_interval=60,
    )
    write(sink)
    clock.set_time(clock.time() - 3600)
    clock._monotonic += 100
    sink.poll(clock.monotonic())
    settle(sink)
    assert files(tmp_path) == ["app-2024-03-20-1.log"]
    sink.close(5)


def test_a_dry_run_tells_and_deletes_nothing(tmp_path, capsys):
    paths = [archive(tmp_path, days) for days in (9, 8, 2)]
    events = []
    sink = make(tmp_path, max_age="7 days", dry_run=True, on_event=events.append)
    write(sink)
    sink.close(5)
    assert all(path.exists() for path in paths)
    told = [event for event in events if event.kind == "would_delete"]
    assert [(event.path, event.reason) for event in told] == [
        (str(paths[0]), "age"),
        (str(paths[1]), "age"),
    ]
    assert not any(key.startswith("archives") for key in sink.statistics().details)
    silent = make(tmp_path, max_age="7 days", dry_run=True)
    write(silent)
    silent.close(5)
    assert capsys.readouterr().err.count("would be deleted") == 2


def test_a_file_that_may_not_be_deleted_is_reported_and_stops_nothing(
    tmp_path, monkeypatch, capsys
):
    paths = [archive(tmp_path, days) for days in (9, 8)]
    unlink = os.unlink

    def refuse(path, **keywords):
        if str(path) == str(paths[0]):
            raise PermissionError(1, "not yours", str(path))
        unlink(path, **keywords)

    monkeypatch.setattr(os, "unlink", refuse)
    sink = make(tmp_path, max_age="1 day")
    write(sink)
    sink.close(5)
    assert [path.exists() for path in paths] == [True, False]
    assert "cannot delete" in capsys.readouterr().err


@pytest.mark.parametrize("limits", [{}, {"max_files": 100}])
def test_nothing_is_deleted_without_a_limit_that_asks_for_it(tmp_path, limits):
    for days in range(50):
        archive(tmp_path, days)
    sink = make(tmp_path, **limits)
    write(sink)
    sink.close(5)
    assert len(files(tmp_path)) == 51


def test_a_remembered_name_that_became_something_else_is_no_archive(tmp_path):
    """What a name means is remembered from one look to the next; what it leads to is not."""
    paths = [archive(tmp_path, days) for days in (5, 4, 3)]
    clock = FakeClock(NOW.timestamp())
    sink = make(tmp_path, clock, max_files=3)
    write(sink)
    for path in paths[1:]:
        path.unlink()
    paths[1].mkdir()
    paths[2].symlink_to(paths[0])
    archive(tmp_path, 2)
    archive(tmp_path, 1)
    clock.advance(3700)
    sink.poll(clock.monotonic())
    settle(sink)
    sink.close(5)
    assert all(path.exists() for path in paths)


@pytest.mark.parametrize(
    ("options", "jobs_after"), [({}, 1), ({"max_age": "30 days"}, 2), ({"max_total_bytes": 900}, 2)]
)
def test_the_count_is_enforced_before_the_write_returns(tmp_path, monkeypatch, options, jobs_after):
    for days in (4, 3, 2):
        archive(tmp_path, days)
    jobs = []
    monkeypatch.setattr(JANITOR, "submit", lambda _, job: jobs.append(job))
    sink = make(tmp_path, max_files=2, max_bytes=50, **options)
    sink.write([record(0, 40)])
    assert len(jobs) == 1  # a new process looks at everything
    jobs[0]()
    sink.write([record(1, 40)])
    names = files(tmp_path)
    sink.close(5)
    assert names == ["app-2024-03-18-1.log", "app-2024-03-20-1.log", "app.log"]
    assert len(jobs) == jobs_after  # without other limits nothing is left for the janitor


def test_archives_that_stay_are_not_looked_at_one_by_one(tmp_path, monkeypatch):
    """A roll-over beside many archives asks the system for their names only."""
    for index in range(1, 101):
        archive(tmp_path, 3, index)
    monkeypatch.setattr(JANITOR, "submit", lambda *_: None)
    sink = make(tmp_path, max_files=100, max_bytes=50)
    sink.write([record(0, 40)])
    asked = []
    real = Archive._look

    def look(self):
        asked.append(self.index)
        return real(self)

    monkeypatch.setattr(Archive, "_look", look)
    sink.write([record(1, 40)])
    sink.write([record(2, 40)])
    sink.close(5)
    assert asked == [1, 2]


def test_the_first_archive_of_a_date_is_numbered_after_what_is_there_already(tmp_path):
    """Others' dates, other files and other kinds of things with such names do not count."""
    archive(tmp_path, 0, 7)
    archive(tmp_path, 0, 5, ending=".gz")
    archive(tmp_path, 1, 90)
    (tmp_path / "app-2024-03-20-30.log").mkdir()
    (tmp_path / "app-2024-03-20-31.log.txt").touch()
    (tmp_path / "app-2024-03-20-032.log").touch()
    sink = make(tmp_path, pattern="app-%d{yyyy-MM-dd}{UTC}-%i.log.gz", max_bytes=50)
    sink.write([record(0, 40)])
    sink.write([record(1, 40)])
    sink.close(5)
    assert (tmp_path / "app-2024-03-20-8.log.gz").exists()
