"""Full disks, torn lines, missing directories, file systems without hard links or locks."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest
from support.rolling import content, files, numbers, record

from pylog_struct.errors import SinkUnavailableError
from pylog_struct.record import Record
from pylog_struct.sinks._rolling import files as system
from pylog_struct.sinks.rolling_file import RollingFileSink
from pylog_struct.testing.clock import FakeClock


def make(directory, **options):
    options.setdefault("clock", FakeClock())
    options.setdefault("pattern", directory / "a-%i.log")
    if options["pattern"] is not None and "max_bytes" not in options:
        options["max_bytes"] = 10**9
    return RollingFileSink(directory / "a.log", **options)


class FullDisk:
    """A directory on a disk of a megabyte: a tmpfs, or, where mounting is not allowed, a limit
    that the kernel puts on the size of every file (which fails and tears lines the same way)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)],
            check=False,
            capture_output=True,
        )
        self.mounted = made.returncode == 0
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        if not self.mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, self.before[1]))

    def make_room(self) -> None:
        if self.mounted:
            (self.directory / "ballast").unlink()
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, self.before)

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", str(self.directory)], check=True, capture_output=True)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


@pytest.fixture
def disk(tmp_path):
    full = FullDisk(tmp_path / "disk")
    if full.mounted:
        (full.directory / "ballast").write_bytes(b"x" * 500_000)
    yield full
    full.close()


def attempt(sink, batch):
    """Write; return what is still ours."""
    try:
        sink.write(batch)
    except SinkUnavailableError as error:
        return error.unwritten
    return ()


@pytest.mark.skipif(shutil.which("mount") is None, reason="no mount, no Linux")
def test_a_full_disk_costs_no_record_no_archive_and_heals_by_itself(disk):
    sink = make(disk.directory, max_bytes=300_000 if disk.mounted else 3_000_000, max_files=50)
    accepted, refused = [], 0
    number = 0
    for _ in range(400):
        batch = [record(number + offset, 1_000) for offset in range(7)]
        unwritten = attempt(sink, batch)
        taken = batch[: len(batch) - len(unwritten)]
        assert tuple(batch[len(taken) :]) == unwritten
        refused += bool(unwritten)
        accepted += [json.loads(item.line)["n"] for item in taken]
        number += 7
    assert refused > 10
    archives = list(disk.directory.glob("a-*.log"))
    assert all(path.stat().st_size > 0 for path in archives)
    disk.make_room()
    sink.write([record(number), record(number + 1)])
    accepted += [number, number + 1]
    sink.close(5)
    statistics = sink.statistics()
    assert statistics.balanced
    assert statistics.written == len(accepted)
    assert numbers(disk.directory) == accepted
    assert content(disk.directory / "a.log").endswith(record(number + 1).line + b"\n")


def test_a_device_that_is_always_full(tmp_path):
    sink = RollingFileSink("/dev/full")
    batch = [record(1), record(2)]
    for _ in range(3):
        with pytest.raises(SinkUnavailableError, match="No space left") as caught:
            sink.write(batch)
        assert caught.value.unwritten == tuple(batch)
    sink.close(1)
    assert sink.statistics().received == 0


class ShortWrites:
    """Replaces ``os.write``: the next writes take only so many bytes, or fail."""

    def __init__(self, monkeypatch) -> None:
        self.plan: list[int] = []
        self.real = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, fd: int, data: bytes) -> int:
        if not self.plan:
            return self.real(fd, data)
        most = self.plan.pop(0)
        if most < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.real(fd, data[:most])


@pytest.mark.parametrize("taken", range(1, 46))
def test_a_short_write_is_accounted_to_the_byte(tmp_path, monkeypatch, taken):
    sink = make(tmp_path)
    sink.write([record(0, 15)])
    short = ShortWrites(monkeypatch)
    short.plan = [taken, -1, -1]
    batch = [record(n, 15) for n in (1, 2, 3)]
    if taken == 45:
        sink.write(batch)
        unwritten = ()
    elif taken == 44:  # all but the last newline: whole, and ended by the next write
        short.plan = [taken]
        sink.write(batch)
        unwritten = ()
    else:
        with pytest.raises(SinkUnavailableError) as caught:
            sink.write(batch)
        unwritten = caught.value.unwritten
    short.plan.clear()
    whole = (taken + 1) // 15
    assert len(unwritten) == 3 - whole
    sink.write([*unwritten, record(4, 15)])
    sink.close(1)
    assert numbers(tmp_path) == [0, 1, 2, 3, 4]
    assert b"\n\n" not in content(tmp_path / "a.log")


def test_a_disk_that_takes_only_parts_is_given_up_after_two_tries(tmp_path, monkeypatch):
    sink = make(tmp_path)
    short = ShortWrites(monkeypatch)
    short.plan = [3, 1, 3, 1, 3, 1]
    with pytest.raises(SinkUnavailableError, match="parts of a line"):
        sink.write([record(1)])
    short.plan.clear()
    sink.write([record(2)])
    sink.close(1)
    assert numbers(tmp_path) == [2]


def test_a_line_that_a_dead_process_left_unfinished_is_ended_first(tmp_path):
    (tmp_path / "a.log").write_bytes(b'{"n":0}\n{"n":1,"rest of it nev')
    sink = make(tmp_path)
    sink.write([record(2), record(3)])
    sink.close(1)
    assert content(tmp_path / "a.log").splitlines() == [
        b'{"n":0}',
        b'{"n":1,"rest of it nev',
        b'{"n":2}',
        b'{"n":3}',
    ]


def test_among_other_writers_a_line_behind_a_torn_one_is_written_again(tmp_path):
    ours, theirs = make(tmp_path), make(tmp_path)
    theirs.write([record(0)])
    ours.write([record(1)])
    with (tmp_path / "a.log").open("ab") as dying:  # killed inside write(2)
        dying.write(b'{"n":2,"te')
    ours.write([record(3), record(4)])
    theirs.write([record(5)])
    ours.close(1)
    theirs.close(1)
    assert numbers(tmp_path) == [0, 1, 3, 4, 5]
    assert content(tmp_path / "a.log").count(b"\n") == 6


def test_a_file_opened_among_others_behind_a_torn_line(tmp_path):
    theirs = make(tmp_path)
    theirs.write([record(0)])
    with (tmp_path / "a.log").open("ab") as dying:
        dying.write(b'{"n":2,"te')
    ours = make(tmp_path)
    ours.write([record(3), record(4)])
    ours.close(1)
    theirs.close(1)
    assert numbers(tmp_path) == [0, 3, 4]


def test_a_torn_line_and_a_full_disk_at_once_repeat_rather_than_lose(tmp_path, monkeypatch):
    ours, theirs = make(tmp_path), make(tmp_path)
    theirs.write([record(0)])
    ours.write([record(1)])
    with (tmp_path / "a.log").open("ab") as dying:
        dying.write(b'{"n":2,"te')
    short = ShortWrites(monkeypatch)
    short.plan = [9, -1]
    batch = [record(3), record(4)]
    with pytest.raises(SinkUnavailableError) as caught:
        ours.write(batch)
    assert caught.value.unwritten == tuple(batch)
    short.plan.clear()
    ours.write(batch)
    ours.close(1)
    theirs.close(1)
    assert set(numbers(tmp_path)) == {0, 1, 3, 4}


def test_a_directory_that_cannot_be_made_is_a_sink_failure_and_heals(tmp_path):
    (tmp_path / "logs").write_text("a file is in the way")
    sink = make(tmp_path / "logs")
    batch = [record(1)]
    for _ in range(2):
        with pytest.raises(SinkUnavailableError) as caught:
            sink.write(batch)
        assert caught.value.unwritten == tuple(batch)
    assert sink.poll(0.0) is None
    (tmp_path / "logs").unlink()
    sink.write(batch)
    sink.close(1)
    assert numbers(tmp_path / "logs") == [1]
    assert sink.statistics().errors == {"SinkUnavailableError": 2}


def test_missing_directories_are_not_made_if_that_was_not_wanted(tmp_path):
    sink = make(tmp_path / "logs", create_parents=False)
    with pytest.raises(SinkUnavailableError):
        sink.write([record(1)])
    sink.close(1)
    assert not (tmp_path / "logs").exists()


def failing(code, calls=10**9):
    left = [calls]

    def fail(*_, **__):
        left[0] -= 1
        raise OSError(code, os.strerror(code))

    return fail


def test_a_roll_over_that_fails_is_deferred_and_tried_again_with_back_off(tmp_path, monkeypatch):
    clock = FakeClock()
    events = []
    sink = make(tmp_path, max_bytes=50, clock=clock, on_event=events.append)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", failing(errno.ENOSPC))
        for number in range(30):
            sink.write([record(number, 20)])
            clock.advance(0.5)
        assert files(tmp_path) == ["a.log"]
    deferred = [event.at for event in events if event.kind == "deferred"]
    assert [later - earlier for earlier, later in itertools.pairwise(deferred)] == [
        1,
        2,
        4,
    ]
    assert sink.statistics().details["rollovers_deferred"] == 4
    clock.advance(60)
    sink.write([record(30, 20)])
    sink.close(1)
    assert files(tmp_path) == ["a-1.log", "a.log"]
    assert numbers(tmp_path) == list(range(31))


def test_an_unlink_that_fails_leaves_one_name_and_loses_nothing(tmp_path, monkeypatch):
    sink = make(tmp_path, max_bytes=50)
    real = os.unlink

    def refuse(path, **keywords):
        if str(path).endswith("a.log"):
            raise PermissionError(errno.EPERM, "refused")
        real(path, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        for number in range(5):
            sink.write([record(number, 20)])
    sink.close(1)
    assert files(tmp_path) == ["a.log"]
    assert numbers(tmp_path) == list(range(5))


def test_without_hard_links_nothing_is_replaced_either(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    (tmp_path / "a-2.log").write_text("mine")
    sink = make(tmp_path, max_bytes=50)
    for number in range(5):
        sink.write([record(number, 40)])
    sink.close(1)
    assert files(tmp_path) == [*(f"a-{index}.log" for index in range(2, 7)), "a.log"]
    assert (tmp_path / "a-2.log").read_text() == "mine"
    monkeypatch.setattr(os, "replace", failing(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        system.move_exclusive(str(tmp_path / "a.log"), str(tmp_path / "b.log"))
    assert not (tmp_path / "b.log").exists()


def test_archives_on_another_file_system_are_copied_whole(tmp_path, monkeypatch):
    real = os.link

    def cross(source, target, **keywords):
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target, **keywords)

    monkeypatch.setattr(os, "link", cross)
    clock = FakeClock()
    sink = make(tmp_path, pattern=tmp_path / "far" / "a-%i.log", max_bytes=50, clock=clock)
    for number in range(4):
        sink.write([record(number, 40)])
    assert files(tmp_path) == ["a.log", "far/a-1.log", "far/a-2.log", "far/a-3.log"]
    # Beside another writer there is no moment at which a copy is whole: later.
    other = make(tmp_path, pattern=tmp_path / "far" / "a-%i.log", max_bytes=500, clock=clock)
    other.write([record(4, 40)])
    sink.write([record(5, 40)])
    assert len(files(tmp_path / "far")) == 3
    other.close(1)
    clock.advance(100)
    sink.write([record(6, 40)])
    assert len(files(tmp_path / "far")) == 4
    clock.advance(1)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", failing(errno.ENOSPC))
        sink.write([record(7, 40)])
    sink.close(1)
    assert numbers(tmp_path) == list(range(8))
    assert not list((tmp_path / "far").glob(".*"))


def test_a_file_system_without_locks_is_reported_and_written_to(tmp_path, monkeypatch, capsys):
    def nolock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", nolock)
    sink = make(tmp_path, max_bytes=50)
    for number in range(5):
        sink.write([record(number, 20)])
    sink.close(1)
    assert numbers(tmp_path) == list(range(5))
    assert files(tmp_path) == ["a.log"]
    assert "cannot lock" in capsys.readouterr().err


def test_a_lock_directory_that_cannot_be_used_defers_and_loses_nothing(tmp_path, capsys):
    (tmp_path / "locks").write_text("in the way")
    sink = make(tmp_path, max_bytes=50, lock_dir=tmp_path / "locks")
    for number in range(5):
        sink.write([record(number, 20)])
    sink.close(1)
    assert numbers(tmp_path) == list(range(5))
    assert "deferred" in capsys.readouterr().err


def test_the_lock_file_can_live_elsewhere_and_be_removed(tmp_path):
    clock = FakeClock()
    sink = make(tmp_path / "logs", max_bytes=50, lock_dir=tmp_path / "locks", clock=clock)
    for number in range(6):
        sink.write([record(number, 40)])
        for lock in (tmp_path / "locks").iterdir():
            lock.unlink()
    sink.close(1)
    assert numbers(tmp_path / "logs") == list(range(6))
    assert len(files(tmp_path / "logs")) == 6
    assert not list((tmp_path / "logs").glob(".*"))


def test_the_archive_is_made_even_if_the_next_file_cannot_be(tmp_path, monkeypatch):
    sink = make(tmp_path, max_bytes=50)
    sink.write([record(0, 40)])
    real = os.open

    def refuse(path, *arguments, **keywords):
        if str(path).endswith("a.log"):
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, *arguments, **keywords)

    batch = [record(1, 40)]
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(SinkUnavailableError) as caught:
            sink.write(batch)
        assert caught.value.unwritten == tuple(batch)
    sink.write(batch)
    sink.close(1)
    assert files(tmp_path) == ["a-1.log", "a.log"]
    assert numbers(tmp_path) == [0, 1]
    assert sink.statistics().details["rollovers.size"] == 1


def test_fsync_makes_every_batch_durable_and_tells_when_it_does_not(tmp_path, monkeypatch):
    synced = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(fd), real(fd)))
    sink = make(tmp_path, fsync=True, max_bytes=100)
    for number in range(4):
        sink.write([record(number, 40)])
    assert len(synced) == 4
    monkeypatch.setattr(os, "fdatasync", failing(errno.EIO))
    with pytest.raises(SinkUnavailableError, match="fsync") as caught:
        sink.write([record(4, 40)])
    assert caught.value.unwritten == ()  # it is in the file; sending it again would repeat it
    sink.close(1)
    assert numbers(tmp_path) == list(range(5))
    assert sink.statistics().written == 5
    device = RollingFileSink("/dev/null", fsync=True)
    device.write([Record(20, b"x")])
    device.close(1)


def test_an_archive_directory_that_cannot_be_read_is_reported(tmp_path, monkeypatch, capsys):
    real = os.scandir

    def refuse(path):
        if str(path) == str(tmp_path):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    clock = FakeClock()
    sink = make(tmp_path, max_bytes=50, max_files=3, clock=clock)
    for number in range(3):
        sink.write([record(number, 20)])
    sink.poll(clock.monotonic())
    sink.close(5)
    assert numbers_in(tmp_path) == [0, 1, 2]
    assert "cannot look after the archives" in capsys.readouterr().err


def numbers_in(directory: Path) -> list[int]:
    """Like ``numbers``, without listing the directory."""
    names = [directory / "a.log", *(directory / f"a-{index}.log" for index in range(1, 9))]
    return sorted(
        json.loads(line)["n"]
        for path in names
        if path.exists()
        for line in path.read_bytes().splitlines()
    )
