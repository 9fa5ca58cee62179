"""Deleted, moved, truncated, replaced from outside: noticed, re-opened, nothing raised."""

from __future__ import annotations

import gzip
import os
import shutil

import pytest
from support.rolling import content, files, lines, numbers, record

from pylog_struct.errors import SinkUnavailableError
from pylog_struct.sinks.rolling_file import RollingFileSink
from pylog_struct.testing.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def events():
    return []


@pytest.fixture
def sink(tmp_path, clock, events):
    sink = RollingFileSink(tmp_path / "a.log", clock=clock, on_event=events.append)
    sink.write([record(0)])
    yield sink
    sink.close(5)


def reopened(events):
    return [event.reason for event in events if event.kind == "reopened"]


@pytest.mark.parametrize("how", ["write", "poll"])
def test_a_deleted_file_is_made_again_within_a_tenth_of_a_second(
    tmp_path, sink, clock, events, how
):
    (tmp_path / "a.log").unlink()
    clock.advance(0.101)
    if how == "poll":
        sink.poll(clock.monotonic())
        assert (tmp_path / "a.log").exists()
    sink.write([record(1)])
    assert numbers(tmp_path) == [1]
    assert reopened(events) == ["deleted"]


def _descriptors_of(path):
    there = path.stat()
    found = []
    for fd in range(3, 1024):
        try:
            same = os.path.samestat(os.fstat(fd), there)
        except OSError:
            continue
        if same:
            found.append(fd)
    return found


def test_a_descriptor_that_somebody_closed_and_used_for_another_file_is_left_alone(
    tmp_path, sink, clock, events
):
    """A daemon closes what it inherited, and the number goes to its next file."""
    (fd,) = _descriptors_of(tmp_path / "a.log")
    other = os.open(tmp_path / "theirs", os.O_RDWR | os.O_CREAT)
    os.dup2(other, fd)
    try:
        clock.advance(0.101)
        sink.write([record(1)])
        sink.close(5)
        assert (tmp_path / "theirs").read_bytes() == b""
        assert os.path.samestat(os.fstat(fd), os.fstat(other))  # not ours to close
        assert numbers(tmp_path) == [0, 1]
        assert reopened(events) == ["closed"]
    finally:
        os.close(fd)
        os.close(other)


def test_a_descriptor_that_somebody_closed_is_opened_again(tmp_path, sink, clock, events):
    (fd,) = _descriptors_of(tmp_path / "a.log")
    os.close(fd)
    clock.advance(0.101)
    sink.write([record(1)])
    assert numbers(tmp_path) == [0, 1]
    assert reopened(events) == ["closed"]


def test_a_deleted_directory_is_made_again(tmp_path, clock):
    sink = RollingFileSink(tmp_path / "x" / "y" / "a.log", clock=clock)
    sink.write([record(0)])
    shutil.rmtree(tmp_path / "x")
    clock.advance(1)
    sink.write([record(1)])
    sink.close(1)
    assert numbers(tmp_path) == [1]


def test_a_moved_file_is_left_to_its_mover(tmp_path, sink, clock, events):
    """logrotate's ``create``, and ``mv``: up to 100 ms late lines land in the moved file."""
    (tmp_path / "a.log").rename(tmp_path / "a.log.1")
    sink.write([record(1)])
    (tmp_path / "a.log").touch()
    clock.advance(0.2)
    sink.write([record(2)])
    assert content(tmp_path / "a.log.1") == record(0).line + b"\n" + record(1).line + b"\n"
    assert content(tmp_path / "a.log") == record(2).line + b"\n"
    assert reopened(events) == ["moved"]


def test_a_truncated_file_goes_on_from_its_start(tmp_path, clock, events):
    """logrotate's ``copytruncate``: no hole of zero bytes, and the size starts again."""
    sink = RollingFileSink(tmp_path / "a.log", max_bytes=100, clock=clock, on_event=events.append)
    sink.write([record(0, 90)])
    shutil.copy(tmp_path / "a.log", tmp_path / "copy")
    os.truncate(tmp_path / "a.log", 0)
    clock.advance(0.2)
    sink.write([record(1, 90)])
    sink.close(1)
    assert files(tmp_path) == ["a.log", "copy"]
    assert content(tmp_path / "a.log") == record(1, 90).line + b"\n"
    assert reopened(events) == ["truncated"]


def test_a_path_that_turns_into_a_directory_is_a_sink_failure(tmp_path, sink, clock):
    (tmp_path / "a.log").unlink()
    (tmp_path / "a.log").mkdir()
    clock.advance(1)
    assert sink.poll(clock.monotonic()) is not None  # a poll raises nothing
    batch = [record(1)]
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(batch)
    assert caught.value.unwritten == tuple(batch)
    (tmp_path / "a.log").rmdir()
    sink.write(batch)
    assert numbers(tmp_path) == [1]


def test_a_directory_in_place_of_a_parent(tmp_path, clock):
    sink = RollingFileSink(tmp_path / "x" / "a.log", clock=clock)
    sink.write([record(0)])
    shutil.rmtree(tmp_path / "x")
    (tmp_path / "x").write_text("a file")
    clock.advance(1)
    with pytest.raises(SinkUnavailableError):
        sink.write([record(1)])
    sink.close(1)


def test_the_system_is_asked_ten_times_a_second_and_not_more(tmp_path, sink, clock, monkeypatch):
    looks = []
    real = os.stat

    def count(path, **keywords):
        if str(path).endswith("a.log"):
            looks.append(path)
        return real(path, **keywords)

    monkeypatch.setattr(os, "stat", count)
    monkeypatch.setattr(os, "open", None)  # and no lock is opened at all
    for _ in range(1000):
        clock.advance(0.001)
        sink.write([record(1)])
    assert 8 <= len(looks) <= 10


def test_a_hard_link_of_somebody_else_is_none_of_our_business(tmp_path, clock):
    sink = RollingFileSink(
        tmp_path / "a.log", pattern=tmp_path / "a-%i.log.gz", max_bytes=100, clock=clock
    )
    sink.write([record(0, 60)])
    os.link(tmp_path / "a.log", tmp_path / "backup")
    for number in range(1, 4):
        clock.advance(0.2)
        sink.write([record(number, 60)])
    sink.close(5)
    assert [name for name in files(tmp_path) if name.endswith(".gz")] == [
        "a-1.log.gz",
        "a-2.log.gz",
        "a-3.log.gz",
    ]
    assert content(tmp_path / "backup") == record(0, 60).line + b"\n"


@pytest.mark.parametrize("finder", ["restart", "neighbour by a look", "neighbour by a roll-over"])
def test_a_roll_over_that_died_between_its_two_steps_is_finished(tmp_path, clock, finder):
    def make():
        return RollingFileSink(
            tmp_path / "a.log", pattern=tmp_path / "a-%i.log.gz", max_bytes=100, clock=clock
        )

    first = make()
    first.write([record(0, 60)])
    if finder == "restart":
        first.close(5)
        first = make()
    os.link(tmp_path / "a.log", tmp_path / "a-1.log")  # and then the process was killed
    if finder == "neighbour by a look":
        clock.advance(0.2)
    first.write([record(1, 60)])
    first.close(5)
    assert files(tmp_path) == ["a-1.log.gz", "a.log"]
    assert (tmp_path / "a.log").stat().st_nlink == 1
    assert numbers(tmp_path) == [0, 1]


class TailingReader:
    """Follows a file as shippers do: reads what is new, and on a roll-over reads the old file to
    its end before it goes on with the new one."""

    def __init__(self, path):
        self.path = path
        self.file = None
        self.lines = []

    def read(self):
        while True:
            if self.file is None:
                try:
                    self.file = self.path.open("rb")
                except FileNotFoundError:
                    return
            self.lines += self.file.read().splitlines()
            try:
                same = os.path.samestat(self.path.stat(), os.fstat(self.file.fileno()))
            except FileNotFoundError:
                same = False
            if same:
                return
            self.lines += self.file.read().splitlines()
            self.file.close()
            self.file = None

    def close(self):
        if self.file is not None:
            self.file.close()


def test_a_shipper_that_tails_the_file_sees_every_line_once(tmp_path, clock):
    sink = RollingFileSink(
        tmp_path / "a.log",
        pattern=tmp_path / "a-%d{yyyy-MM-dd-HH-mm}{UTC}-%i.log.gz",
        max_bytes=500,
        clock=clock,
    )
    reader = TailingReader(tmp_path / "a.log")
    for number in range(300):
        sink.write([record(number, 60)])
        clock.advance(1)
        if number % 3 == 0:
            reader.read()
    sink.close(10)
    reader.read()
    reader.close()
    assert reader.lines == [record(number, 60).line for number in range(300)]
    assert sorted(lines(tmp_path)) == sorted(reader.lines)


def test_an_archive_gets_its_final_name_at_once_and_keeps_it(tmp_path, clock, monkeypatch):
    moves = []
    for name in ("link", "rename", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda a, b, real=real, **k: (moves.append((a, b)), real(a, b, **k))
        )
    sink = RollingFileSink(tmp_path / "a.log", max_bytes=50, max_files=2, clock=clock)
    for number in range(6):
        sink.write([record(number, 40)])
    sink.close(5)
    assert [source for source, _ in moves] == [str(tmp_path / "a.log")] * 5
    assert len({target for _, target in moves}) == 5


def test_a_compressed_archive_can_be_read_by_others(tmp_path, clock):
    sink = RollingFileSink(
        tmp_path / "a.log", pattern=tmp_path / "a-%i.gz", max_bytes=50, clock=clock
    )
    sink.write([record(0, 40), record(1, 40)])
    sink.close(5)
    with gzip.open(tmp_path / "a-1.gz") as file:
        assert file.read() == record(0, 40).line + b"\n"
