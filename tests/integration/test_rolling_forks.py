"""Forks, threads beside forks, and what may not grow."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import psutil
import pytest
from support.rolling import content, files, numbers, record

from pylog_struct._janitor import JANITOR
from pylog_struct.sinks.rolling_file import RollingFileSink

if sys.platform == "win32":
    pytest.skip("no fork on Windows", allow_module_level=True)

# Python 3.12 warns of forks beside threads (the janitor's, here); surviving them is the point.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def in_child(work) -> int:
    """Run *work* in a forked child; return its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_parent_and_child_go_on_with_one_file(tmp_path):
    sink = RollingFileSink(tmp_path / "a.log", max_bytes=400)
    sink.write([record(0, 60)])

    def child():
        assert sink.statistics().received == 0  # the past is the parent's
        for number in range(100, 130):
            sink.write([record(number, 60)])
        sink.close(5)

    assert in_child(child) == 0
    for number in range(1, 30):
        sink.write([record(number, 60)])
    sink.close(5)
    assert numbers(tmp_path) == [*range(30), *range(100, 130)]
    assert max((tmp_path / name).stat().st_size for name in files(tmp_path)) <= 460
    assert sink.statistics().written == 30


def test_a_child_that_does_nothing_keeps_no_archive_locked(tmp_path):
    """An inherited descriptor shares its lock with the parent; it is closed in the child."""
    sink = RollingFileSink(tmp_path / "a.log", pattern=tmp_path / "a-%i.log.gz", max_bytes=100)
    sink.write([record(0, 60)])
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        sink.write([record(1, 60)])
        assert JANITOR.join(sink, 10)
        assert files(tmp_path) == ["a-1.log.gz", "a.log"]
    finally:
        os.write(done[1], b"x")
        os.waitpid(pid, 0)
        for descriptor in (*ready, *done):
            os.close(descriptor)
        sink.close(5)


def test_a_child_has_no_descriptor_of_its_parents_files(tmp_path):
    sink = RollingFileSink(tmp_path / "a.log")
    sink.write([record(0)])

    def child():
        here = {str(path.resolve()) for path in Path("/proc/self/fd").iterdir()}
        assert str(tmp_path / "a.log") not in here

    assert in_child(child) == 0
    sink.close(5)


def test_a_childs_exit_does_not_unlock_the_parents_file(tmp_path):
    sink = RollingFileSink(tmp_path / "a.log", pattern=tmp_path / "a-%i.log", max_bytes=1000)
    sink.write([record(0, 60)])
    assert in_child(lambda: sink.close(1)) == 0

    def newcomer():
        other = RollingFileSink(
            tmp_path / "a.log", pattern=tmp_path / "a-%i.log", max_bytes=1000, on_start=True
        )
        other.write([record(1, 60)])
        other.close(1)

    assert in_child(newcomer) == 0  # would roll if it believed itself alone
    sink.close(1)
    assert files(tmp_path) == ["a.log"]


def test_forks_beside_a_writing_thread_and_a_busy_janitor(tmp_path):
    sink = RollingFileSink(tmp_path / "a.log", pattern=tmp_path / "a-%i.log.gz", max_bytes="20 kB")
    stop = threading.Event()
    written = [0]

    def write():
        while not stop.is_set():
            sink.write([record(written[0], 100)])
            written[0] += 1
            stop.wait(0.0001)  # lets the forking thread run

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for child in range(10):
            start = 1_000_000 + child * 100

            def work(start=start):
                for number in range(start, start + 60):
                    sink.write([record(number, 100)])
                sink.close(10)

            assert in_child(work) == 0
    finally:
        stop.set()
        thread.join()
    sink.close(10)
    expected = [
        *range(written[0]),
        *(1_000_000 + child * 100 + n for child in range(10) for n in range(60)),
    ]
    assert numbers(tmp_path) == expected


def test_memory_and_descriptors_do_not_grow(tmp_path):
    process = psutil.Process()
    sink = RollingFileSink(
        tmp_path / "a.log", pattern=tmp_path / "a-%i.log.gz", max_bytes="2 kB", max_files=5
    )

    def roll(times: int) -> tuple[int, int]:
        for number in range(times):
            sink.write([record(number, 1500)])
        assert JANITOR.join(sink, 30)
        return process.num_fds(), process.memory_info().rss

    roll(300)
    descriptors, memory = roll(100)
    later, more = roll(600)
    sink.close(10)
    assert later <= descriptors
    assert more - memory < 4_000_000
    assert len(files(tmp_path)) == 6


def test_direct_files_shared_by_processes(tmp_path):
    def make():
        return RollingFileSink(
            pattern=tmp_path / "a-%d{yyyy-MM-dd-HH-mm-ss}-%i.log.gz", max_bytes="4 kB", utc=True
        )

    children = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                sink = make()
                for number in range(child * 10_000, child * 10_000 + 1_000):
                    sink.write([record(number, 100)])
                sink.close(10)
                os._exit(0)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 4
    assert numbers(tmp_path) == [child * 10_000 + n for child in range(4) for n in range(1_000)]
    sizes = [len(content(tmp_path / name)) for name in files(tmp_path)]
    assert max(sizes) < 20_000
