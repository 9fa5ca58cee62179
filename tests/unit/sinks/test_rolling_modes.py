"""Mode and owner of every file, from the first instant, whatever the umask."""

from __future__ import annotations

import os
import stat

import pytest
from support.rolling import record

from pylog_struct.sinks.rolling_file import RollingFileSink

needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away"
)


@pytest.fixture(params=[0o077, 0o000, 0o022], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def roll_a_few(directory, **options):
    sink = RollingFileSink(
        directory / "logs" / "a.log",
        pattern=directory / "logs" / "%d{yyyy}" / "a-%d{MM-dd}-%i.log.gz",
        max_bytes=100,
        compress_delay=0,
        **options,
    )
    for number in range(6):
        sink.write([record(number, 60)])
    sink.close(10)
    return [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize("wanted", [0o640, 0o600, 0o664])
def test_every_file_has_the_mode_asked_for(tmp_path, umask, wanted):
    paths = roll_a_few(tmp_path, mode=wanted)
    assert sorted(path.suffix for path in paths) == [".gz"] * 5 + [".lock", ".log"]
    assert {mode(path) for path in paths} == {wanted}


def test_no_file_may_more_at_any_moment(tmp_path, umask, monkeypatch):
    """Looks at every new file between open(2) and the fchmod that follows."""
    seen = []
    real = os.fchmod

    def spy(fd, wanted):
        seen.append(stat.S_IMODE(os.fstat(fd).st_mode))
        real(fd, wanted)

    monkeypatch.setattr(os, "fchmod", spy)
    roll_a_few(tmp_path, mode=0o640)
    assert len(seen) >= 12  # active files, compressed ones, the lock
    assert all(found & ~0o640 == 0 for found in seen)


def test_directories_can_be_entered_by_those_who_may_read_the_files(tmp_path, umask):
    roll_a_few(tmp_path, mode=0o640)
    assert mode(tmp_path / "logs") == 0o750
    assert {mode(path) for path in (tmp_path / "logs").iterdir() if path.is_dir()} == {0o750}


def test_a_file_that_was_there_before_keeps_its_mode_and_its_archives_do_too(tmp_path):
    (tmp_path / "a.log").write_bytes(b"{}\n")
    (tmp_path / "a.log").chmod(0o604)
    sink = RollingFileSink(tmp_path / "a.log", pattern=tmp_path / "a-%i.log", max_bytes=20)
    sink.write([record(1, 20)])
    sink.close(1)
    assert (mode(tmp_path / "a-1.log"), mode(tmp_path / "a.log")) == (0o604, 0o640)


@needs_root
def test_owner_and_group_are_set_on_every_file(tmp_path):
    paths = roll_a_few(tmp_path, owner=12_345, group=23_456)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in paths} == {(12_345, 23_456)}


@needs_root
def test_a_compressed_file_belongs_to_the_owner_of_what_it_was_made_of(tmp_path):
    (tmp_path / "a-1.log").write_bytes(b"{}\n")
    os.chown(tmp_path / "a-1.log", 12_345, 23_456)
    sink = RollingFileSink(tmp_path / "a.log", pattern=tmp_path / "a-%i.log.gz", max_bytes=20)
    sink.write([record(1, 20)])
    sink.close(10)
    status = (tmp_path / "a-1.log.gz").stat()
    assert (status.st_uid, status.st_gid) == (12_345, 23_456)


def test_owner_and_group_may_be_names(tmp_path):
    import grp
    import pwd

    user = pwd.getpwuid(os.geteuid())
    group = grp.getgrgid(os.getegid())
    paths = roll_a_few(tmp_path, owner=user.pw_name, group=group.gr_name)
    assert {path.stat().st_uid for path in paths} == {user.pw_uid}


def test_an_owner_that_cannot_be_set_is_reported_and_costs_nothing(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    paths = roll_a_few(tmp_path, owner=12_345)
    assert len(paths) == 7
    assert "cannot set the owner" in capsys.readouterr().err


def test_a_mode_that_cannot_be_set_leaves_no_descriptor_behind(tmp_path, monkeypatch):
    from pylog_struct.errors import SinkUnavailableError

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    sink = RollingFileSink(tmp_path / "a.log")
    with pytest.raises(SinkUnavailableError):
        sink.write([record(1)])
    sink.close(1)
