"""What other processes may do between any two of our steps, played out in one process."""

from __future__ import annotations

import errno
import os

import pytest
from support.rolling import content, files, numbers, record

from pylog_struct.errors import SinkUnavailableError
from pylog_struct.sinks._rolling import active, archives, rename, state
from pylog_struct.sinks._rolling.files import Ownership
from pylog_struct.sinks._rolling.state import RollLock, RollState
from pylog_struct.sinks.rolling_file import RollingFileSink
from pylog_struct.testing.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


def make(directory, clock, path="a.log", pattern="a-%i.log", **options):
    options.setdefault("max_bytes", 100)
    return RollingFileSink(
        None if path is None else directory / path,
        pattern=directory / pattern,
        clock=clock,
        **options,
    )


def test_a_file_rolled_between_opening_and_locking_is_opened_again(tmp_path, clock, monkeypatch):
    sink = make(tmp_path, clock)
    real = active.open_or_create
    calls = []

    def slow(path, *arguments, **keywords):
        fd = real(path, *arguments, **keywords)
        if path.endswith("a.log") and not calls:
            calls.append(path)
            os.write(fd, b'{"n":0}\n')
            os.rename(path, tmp_path / "a-1.log")  # noqa: PTH104 - as another process would
        return fd

    monkeypatch.setattr(active, "open_or_create", slow)
    sink.write([record(1)])
    sink.close(1)
    assert content(tmp_path / "a.log") == record(1).line + b"\n"
    assert numbers(tmp_path) == [0, 1]


def test_a_file_that_is_replaced_for_ever_is_given_up(tmp_path, clock, monkeypatch):
    sink = make(tmp_path, clock)
    real = active.open_or_create

    def hostile(path, *arguments, **keywords):
        fd = real(path, *arguments, **keywords)
        os.unlink(path)  # noqa: PTH108 - as another process would
        return fd

    monkeypatch.setattr(active, "open_or_create", hostile)
    batch = [record(1)]
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(batch)
    assert caught.value.unwritten == tuple(batch)
    sink.close(1)


@pytest.mark.parametrize("path", ["a.log", None])
def test_whoever_waited_for_the_lock_looks_again(tmp_path, clock, path):
    """Both want to roll; the second finds that it was done, and joins."""
    first, second = make(tmp_path, clock, path), make(tmp_path, clock, path)
    first.write([record(0, 60)])
    second.write([record(1, 30)])
    first.write([record(2, 60)])  # rolls
    second.write([record(3, 30)])  # would roll, and joins
    first.close(1)
    second.close(1)
    assert numbers(tmp_path) == [0, 1, 2, 3]
    rolled = [sink.statistics().details.get("rollovers.size", 0) for sink in (first, second)]
    assert sum(rolled) == len(files(tmp_path)) - 1 == 1


@pytest.mark.parametrize("path", ["a.log", None])
def test_whoever_joins_rolls_again_if_the_new_file_is_full_too(tmp_path, clock, path):
    first, second = make(tmp_path, clock, path), make(tmp_path, clock, path)
    first.write([record(0, 60)])
    second.write([record(1, 30)])
    first.write([record(2, 60)])
    second.write([record(3, 90)])
    first.close(1)
    second.close(1)
    assert numbers(tmp_path) == [0, 1, 2, 3]
    assert max((tmp_path / name).stat().st_size for name in files(tmp_path)) <= 100


def test_a_lock_file_that_was_removed_while_waiting_is_no_lock(tmp_path, monkeypatch):
    lock = RollLock(str(tmp_path / "lock"), Ownership(), parents=False)
    real = state.open_or_create
    calls = []

    def slow(path, *arguments, **keywords):
        fd = real(path, *arguments, **keywords)
        calls.append(path)
        if len(calls) == 1:
            os.unlink(path)  # noqa: PTH108 - as somebody tidy would
        return fd

    monkeypatch.setattr(state, "open_or_create", slow)
    with lock.hold(0.1) as first, lock.hold(0.0) as second:
        assert first is not None
        assert second is None


@pytest.mark.parametrize("path", ["a.log", None])
def test_a_lock_held_by_another_defers(tmp_path, clock, path):
    events = []
    sink = make(tmp_path, clock, path, on_event=events.append)
    sink.write([record(0, 60)])
    (lock,) = tmp_path.glob(".*.lock")
    with RollLock(str(lock), Ownership(), parents=False).hold(1) as held:
        assert held is not None
        sink.write([record(1, 60), record(2, 60)])
    assert [event.kind for event in events] == ["opened", "deferred"]
    clock.advance(2)
    sink.write([record(3, 60)])
    sink.close(1)
    assert len(files(tmp_path)) == 2
    assert numbers(tmp_path) == [0, 1, 2, 3]


@pytest.mark.parametrize("path", ["a.log", None])
def test_opening_works_while_another_holds_the_lock(tmp_path, clock, path):
    first = make(tmp_path, clock, path, max_bytes=1000)
    first.write([record(0)])
    (lock,) = tmp_path.glob(".*.lock")
    with RollLock(str(lock), Ownership(), parents=False).hold(1):
        second = make(tmp_path, clock, path, max_bytes=1000)
        second.write([record(1)])
    first.close(1)
    second.close(1)
    assert len(files(tmp_path)) == 1


def test_truncated_before_the_roll_over_there_is_nothing_to_roll(tmp_path, clock):
    sink = make(tmp_path, clock)
    sink.write([record(0, 90)])
    os.truncate(tmp_path / "a.log", 0)
    sink.write([record(1, 90)])  # believes that it must roll, and sees under the lock that not
    sink.close(1)
    assert files(tmp_path) == ["a.log"]
    assert numbers(tmp_path) == [1]


def test_a_stranger_takes_every_free_name(tmp_path, clock, monkeypatch):
    sink = make(tmp_path, clock)
    sink.write([record(0, 90)])
    real = rename.move_exclusive

    def beaten(source, target):
        with open(target, "x"):  # noqa: PTH123
            pass
        real(source, target)

    monkeypatch.setattr(rename, "move_exclusive", beaten)
    sink.write([record(1, 90)])  # deferred
    sink.close(1)
    assert content(tmp_path / "a.log").count(b"\n") == 2


def test_a_stranger_takes_one_name(tmp_path, clock, monkeypatch):
    sink = make(tmp_path, clock)
    sink.write([record(0, 90)])
    real = rename.move_exclusive
    taken = []

    def beaten(source, target):
        if not taken:
            taken.append(target)
            with open(target, "x"):  # noqa: PTH123
                pass
        real(source, target)

    monkeypatch.setattr(rename, "move_exclusive", beaten)
    sink.write([record(1, 90)])
    sink.close(1)
    assert (tmp_path / "a-1.log").read_bytes() == b""
    assert content(tmp_path / "a-2.log") == record(0, 90).line + b"\n"


def test_a_date_directory_that_retention_removes_meanwhile_is_made_again(
    tmp_path, clock, monkeypatch
):
    sink = make(tmp_path, clock, pattern="%d{yyyy}/a-%i.log")
    sink.write([record(0, 90)])
    real = rename.make_parents
    calls = []

    def removed(path, ownership):
        real(path, ownership)
        calls.append(path)
        if len(calls) == 1:
            os.rmdir(os.path.dirname(path))  # noqa: PTH106, PTH120

    monkeypatch.setattr(rename, "make_parents", removed)
    sink.write([record(1, 90)])
    sink.close(1)
    assert len(calls) == 2
    assert len(files(tmp_path)) == 2


def test_facts_that_cannot_be_written_are_reported_and_cost_nothing(
    tmp_path, clock, monkeypatch, capsys
):
    real = os.write

    def full(fd, data):
        if b'"version"' in data:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", full)
    for number in range(4):
        sink = make(tmp_path, clock)
        sink.write([record(number, 60)])
        sink.close(1)
    assert numbers(tmp_path) == [0, 1, 2, 3]
    assert len(files(tmp_path)) == 4
    assert "cannot write" in capsys.readouterr().err


def test_the_facts_survive_a_round_trip():
    from datetime import datetime

    when = datetime(2024, 3, 5, 7, 8, 9)
    facts = RollState(7, when, 3, (when, 4))
    for index in range(40):
        facts = facts.rolled(when, index, when)
    data = facts.encode()
    assert len(data) == 1024
    assert data.endswith(b"\n")
    assert RollState.decode(data) == facts
    assert facts.last == (when, 39)


def test_a_direct_file_whose_compressed_twin_appears_is_left_for_the_next(
    tmp_path, clock, monkeypatch
):
    from pylog_struct.sinks._rolling import direct

    sink = make(tmp_path, clock, None, "a-%i.log.gz")
    real = direct.ActiveFile
    made = []

    def slow(path, *arguments, **keywords):
        file = real(path, *arguments, **keywords)
        if not made:
            made.append(path)
            with open(path + ".gz", "x"):  # noqa: PTH123
                pass
        return file

    monkeypatch.setattr(direct, "ActiveFile", slow)
    sink.write([record(0)])
    sink.close(5)
    assert files(tmp_path) == ["a-1.log.gz", "a-2.log"]


def test_direct_files_that_can_never_be_opened_are_a_sink_failure(tmp_path, clock, monkeypatch):
    from pylog_struct.sinks._rolling import direct

    sink = make(tmp_path, clock, None)
    monkeypatch.setattr(direct.DirectPlacement, "_open_file", lambda *_: None)
    batch = [record(0)]
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(batch)
    assert caught.value.unwritten == tuple(batch)
    sink.close(1)


def test_a_direct_file_behind_a_directory_that_is_gone(tmp_path, clock):
    sink = make(tmp_path, clock, None, "x/%d{yyyy}/a-%i.log")
    sink.write([record(0)])
    import shutil

    shutil.rmtree(tmp_path / "x")
    (tmp_path / "x").write_text("in the way")
    clock.advance(1)
    with pytest.raises(SinkUnavailableError):
        sink.write([record(1)])
    (tmp_path / "x").unlink()
    sink.write([record(2)])
    sink.close(1)
    assert numbers(tmp_path) == [2]


def test_a_next_file_that_is_made_while_the_archives_are_listed_is_none(
    tmp_path, clock, monkeypatch
):
    """The facts name it before it exists; counted as an archive, it would cost one of the newest."""
    sink = make(tmp_path, clock, path=None, max_files=3)
    for number in range(4):  # three archives and the active file
        sink.write([record(number, 60)])
    expected = ["a-1.log", "a-2.log", "a-3.log", "a-4.log"]
    assert files(tmp_path) == expected
    real = os.stat

    def before_it_existed(path, *arguments, **keywords):
        if str(path).endswith("a-4.log"):
            raise FileNotFoundError(errno.ENOENT, "not yet", path)
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(archives.os, "stat", before_it_existed)
    pattern, path = sink._plan.pattern, str(tmp_path / "a-4.log")
    assert archives.beyond_newest(pattern, path, 3) == []
    assert [one.index for one in archives.list_archives(pattern, path)] == [1, 2, 3]
    monkeypatch.undo()
    assert [one.index for one in archives.list_archives(pattern, None)] == [1, 2, 3, 4]
    sink.close(5)
    assert files(tmp_path) == expected
