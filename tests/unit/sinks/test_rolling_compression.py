"""Compression off the write path, and what a crash leaves behind."""

from __future__ import annotations

import gzip
import os
import threading

import pytest
from support.rolling import content, files, numbers, record

from pylog_struct._janitor import JANITOR
from pylog_struct.sinks._rolling import compression
from pylog_struct.sinks.rolling_file import RollingFileSink
from pylog_struct.testing.clock import FakeClock

zstandard = pytest.importorskip("zstandard")


class Crash(BaseException):
    """Ends the work where it stands, as a kill would: nothing may tidy up after it."""


def make(directory, ending=".gz", **options):
    options.setdefault("clock", FakeClock())
    options.setdefault("max_bytes", 100)
    return RollingFileSink(directory / "a.log", pattern=f"{directory}/a-%i.log{ending}", **options)


def settle(sink):
    assert JANITOR.join(sink, 10)


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("level", [None, 1])
def test_every_format_holds_what_was_written(tmp_path, ending, level):
    sink = make(tmp_path, ending, compression_level=level)
    for number in range(10):
        sink.write([record(number, 50)])
    sink.close(10)
    names = files(tmp_path)
    assert names == [*(f"a-{index}.log{ending}" for index in range(1, 5)), "a.log"]
    if ending == ".zst":
        data = (tmp_path / "a-1.log.zst").read_bytes()
        plain = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    else:
        plain = content(tmp_path / f"a-1.log{ending}")
    assert plain == record(0, 50).line + b"\n" + record(1, 50).line + b"\n"
    assert not list(tmp_path.glob(".*.tmp"))


def test_the_compressed_file_keeps_time_mode_and_index(tmp_path):
    sink = make(tmp_path, mode=0o604)
    sink.write([record(0, 50)])
    os.utime(tmp_path / "a.log", (1_600_000_000, 1_600_000_000))
    sink.write([record(n, 100) for n in range(1, 3)])
    sink.close(10)
    status = (tmp_path / "a-1.log.gz").stat()
    assert status.st_mtime == 1_600_000_000
    assert status.st_mode & 0o777 == 0o604
    assert files(tmp_path) == ["a-1.log.gz", "a-2.log.gz", "a.log"]


def test_writing_goes_on_while_an_archive_is_compressed(tmp_path, monkeypatch):
    entered, release = threading.Event(), threading.Event()
    real = compression.Codec.writer

    def slow(self, raw, modified):
        entered.set()
        assert release.wait(30)
        return real(self, raw, modified)

    monkeypatch.setattr(compression.Codec, "writer", slow)
    sink = make(tmp_path)
    try:
        sink.write([record(0, 100)])
        sink.write([record(1, 100)])
        assert entered.wait(10)
        for number in range(2, 20):  # would hang if a roll-over waited for the one before
            sink.write([record(number, 100)])
        assert len(files(tmp_path)) == 20
    finally:
        release.set()
    sink.close(10)
    assert len([name for name in files(tmp_path) if name.endswith(".gz")]) == 19
    assert numbers(tmp_path) == list(range(20))


def test_close_waits_no_longer_than_its_timeout(tmp_path, monkeypatch):
    release = threading.Event()
    real = compression.Codec.writer

    def slow(self, raw, modified):
        release.wait(30)
        return real(self, raw, modified)

    monkeypatch.setattr(compression.Codec, "writer", slow)
    sink = make(tmp_path)
    sink.write([record(0, 100), record(1, 100)])
    sink.close(0.05)
    assert not release.is_set()
    release.set()
    settle(sink)
    assert files(tmp_path) == ["a-1.log.gz", "a.log"]


def crash_at(monkeypatch, module, function, position=1):
    """Make the *position*-th call of a system call end the work, and let nothing clean up."""
    real = getattr(module, function)
    calls = []

    def fail(*arguments, **keywords):
        calls.append(arguments)
        if len(calls) == position:
            for name in ("unlink", "replace", "link", "rename"):
                monkeypatch.setattr(os, name, dead)
            raise Crash
        return real(*arguments, **keywords)

    def dead(*_, **__):
        raise OSError("this process is dead")

    monkeypatch.setattr(module, function, fail)


CRASHES = [
    ("open temporary", lambda patch: crash_at(patch, os, "fdopen")),
    ("half-way", lambda patch: crash_at(patch, os, "pread", 2)),
    ("before the sync", lambda patch: crash_at(patch, os, "fsync", 1)),
    ("before the name", lambda patch: crash_at(patch, os, "link")),
    ("before the temporary name is gone", lambda patch: crash_at(patch, os, "unlink", 1)),
    ("before the plain file is gone", lambda patch: crash_at(patch, os, "unlink", 2)),
]


@pytest.mark.parametrize(("moment", "crash"), CRASHES, ids=[moment for moment, _ in CRASHES])
def test_a_crash_leaves_the_whole_plain_or_the_whole_packed_file(tmp_path, moment, crash):
    data = b"".join(record(number, 1000).line + b"\n" for number in range(600))
    (tmp_path / "a-1.log").write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        crash(patch)
        with pytest.raises(Crash):
            compression.compress(
                str(tmp_path / "a-1.log"),
                compression.Codec(".gz", 6),
                compression.Ownership(),
                lambda: None,
            )
    plain, packed = tmp_path / "a-1.log", tmp_path / "a-1.log.gz"
    assert plain.exists() or packed.exists()
    if plain.exists():
        assert plain.read_bytes() == data
    if packed.exists():
        assert content(packed) == data
    sink = make(
        tmp_path, max_files=1
    )  # a later run finishes the work, and counts it as one archive
    sink.write([record(0, 50)])
    sink.close(10)
    assert files(tmp_path) == ["a-1.log.gz", "a.log"]
    assert content(packed) == data
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_both_forms_of_one_archive_become_one(tmp_path, ending):
    codec = compression.Codec(ending, 1)
    data = b"".join(record(number, 1000).line + b"\n" for number in range(400))
    for name in ("a-1.log", "a-2.log"):
        (tmp_path / name).write_bytes(data)
    with (tmp_path / f"a-1.log{ending}").open("wb") as raw, codec.writer(raw, 0) as stream:
        stream.write(data)
    whole = (tmp_path / f"a-1.log{ending}").read_bytes()
    (tmp_path / f"a-2.log{ending}").write_bytes(whole[: len(whole) // 2])
    sink = make(tmp_path, ending)
    sink.write([record(0, 50)])
    sink.close(10)
    # The damaged one is nobody's to replace: the plain file stays beside it.
    assert files(tmp_path) == [f"a-1.log{ending}", "a-2.log", f"a-2.log{ending}", "a.log"]


@pytest.mark.parametrize("trick", ["gone before the lock", "replaced before the lock", "empty"])
def test_what_changes_under_the_hands_is_left_alone(tmp_path, monkeypatch, trick):
    source = tmp_path / "a-1.log"
    source.write_bytes(b"" if trick == "empty" else b"x\n")
    real = compression.OpenFile.lock

    def lock(self, **keywords):
        if trick == "gone before the lock":
            source.unlink()
        elif trick == "replaced before the lock":
            source.rename(tmp_path / "away")
            source.write_bytes(b"other\n")
        return real(self, **keywords)

    monkeypatch.setattr(compression.OpenFile, "lock", lock)
    outcome = compression.compress(
        str(source), compression.Codec(".gz", 6), compression.Ownership(), lambda: None
    )
    assert outcome is compression.Outcome.GONE
    assert not (tmp_path / "a-1.log.gz").exists()
    missing = compression.compress(
        str(tmp_path / "b"), compression.Codec(".gz", 6), compression.Ownership(), lambda: None
    )
    assert missing is compression.Outcome.GONE


def test_unfinished_files_of_others_stay(tmp_path):
    for name in (".a-1.log.gz.tmp", ".b-1.log.gz.tmp", "a-1.log.gz.tmp", ".a-01.txt.gz.tmp"):
        (tmp_path / name).write_bytes(b"x")
    sink = make(tmp_path)
    sink.write([record(0, 50)])
    sink.close(10)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".a-01.txt.gz.tmp", ".a.log.lock", ".b-1.log.gz.tmp", "a-1.log.gz.tmp", "a.log"]


def test_an_unfinished_file_that_another_process_is_filling_stays(tmp_path):
    source = tmp_path / "a-1.log"
    source.write_bytes(b"{}\n")
    (tmp_path / ".a-1.log.gz.tmp").write_bytes(b"half")
    busy = compression.OpenFile(os.open(source, os.O_RDONLY), str(source))
    assert busy.lock(exclusive=True)
    sink = make(tmp_path)
    sink.write([record(0, 50)])
    settle(sink)
    assert (tmp_path / ".a-1.log.gz.tmp").read_bytes() == b"half"
    busy.close()
    sink.close(5)


def test_a_packed_file_that_is_something_else_stays_and_so_does_the_plain_one(tmp_path, capsys):
    (tmp_path / "a-1.log").write_bytes(b"plain\n")
    with gzip.open(tmp_path / "a-1.log.gz", "wb") as file:
        file.write(b"other\n")
    (tmp_path / "a-2.log").write_bytes(b"plain\n")
    (tmp_path / "a-2.log.gz").write_bytes(gzip.compress(b"plain\n" * 9)[:-9])
    sink = make(tmp_path)
    sink.write([record(0, 50)])
    settle(sink)
    sink.close(10)
    assert files(tmp_path) == ["a-1.log", "a-1.log.gz", "a-2.log", "a-2.log.gz", "a.log"]
    assert content(tmp_path / "a-1.log.gz") == b"other\n"
    assert "both stay" in capsys.readouterr().err


def test_an_archive_stays_plain_for_the_delay(tmp_path):
    import time

    clock = FakeClock(time.time())
    sink = make(tmp_path, clock=clock, compress_delay="1 min")
    sink.write([record(0, 100), record(1, 100)])
    settle(sink)
    assert files(tmp_path) == ["a-1.log", "a.log"]
    wait = sink.poll(clock.monotonic())
    assert wait <= 1
    clock.advance(30)
    sink.poll(clock.monotonic())
    settle(sink)
    assert files(tmp_path) == ["a-1.log", "a.log"]
    clock.advance(31)
    sink.poll(clock.monotonic())
    settle(sink)
    assert files(tmp_path) == ["a-1.log.gz", "a.log"]
    sink.close(5)


def test_an_archive_that_a_late_writer_has_open_is_compressed_when_it_lets_go(tmp_path):
    clock = FakeClock()
    late, roller = make(tmp_path, clock=clock), make(tmp_path, clock=clock)
    late.write([record(0, 50)])
    roller.write([record(1, 50)])
    roller.write([record(2, 50)])
    settle(roller)
    assert files(tmp_path) == ["a-1.log", "a.log"]
    late.write([record(3, 50)])
    clock.advance(2)
    late.poll(clock.monotonic())
    clock.advance(2)
    roller.poll(clock.monotonic())
    settle(roller)
    assert files(tmp_path) == ["a-1.log.gz", "a.log"]
    assert numbers(tmp_path) == [0, 1, 2, 3]
    late.close(5)
    roller.close(5)


def test_a_failing_compression_keeps_the_plain_file_and_is_tried_again(
    tmp_path, monkeypatch, capsys
):
    clock = FakeClock()
    with pytest.MonkeyPatch.context() as patch:

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        patch.setattr(compression, "create", full)
        sink = make(tmp_path, clock=clock)
        sink.write([record(0, 100), record(1, 100)])
        settle(sink)
    assert files(tmp_path) == ["a-1.log", "a.log"]
    assert "cannot compress" in capsys.readouterr().err
    clock.advance(31)
    sink.poll(clock.monotonic())
    settle(sink)
    assert files(tmp_path) == ["a-1.log.gz", "a.log"]
    sink.close(5)
