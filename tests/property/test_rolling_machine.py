"""A rolling file against a model: a list of lines, whatever happens to the file, clock and process.

The rules write, let time pass, set the clock, kill and restart writers, kill one in the middle of a
roll-over, remove the facts, and let the janitor work.  After every step: no line is lost or
repeated, no archive's content changes, no name is given twice, retention keeps the newest.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from support.rolling import content, record

from pylog_struct._janitor import JANITOR
from pylog_struct.sinks._rolling import rename
from pylog_struct.sinks._rolling.pattern import parse_pattern
from pylog_struct.sinks.rolling_file import RollingFileSink
from pylog_struct.testing.clock import FakeClock

PATTERNS = [
    "a-%d{yyyy-MM-dd-HH-mm}{UTC}-%i.log",
    "a-%d{yyyy-MM-dd-HH}{Europe/Berlin}-%03i.log.gz",
    "%d{yyyy-MM-dd}{UTC}/a-%d{HH}{UTC}-%i.log",
    "a-%i.log.gz",
]


class Killed(BaseException):
    """The process ends here; nothing of it runs any more."""


class RollingFile(RuleBasedStateMachine):
    direct = False

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="rolling-"))
        self.clock = FakeClock(1_729_983_000.0)  # half an hour before the clocks go back in Berlin
        self.expected: list[int] = []
        self.seen: dict[str, bytes] = {}
        self.sinks: list[RollingFileSink | None] = [None, None]
        self.killed = 0
        self.names_may_return = False  # of archives that are gone
        self.set_back = 0

    @initialize(
        pattern=st.sampled_from(PATTERNS),
        max_bytes=st.sampled_from([60, 200]),
        max_files=st.sampled_from([None, 3]),
    )
    def configure(self, pattern, max_bytes, max_files):
        self.pattern = parse_pattern(str(self.directory / pattern), "pattern")
        self.max_files = max_files
        self.options = {
            "pattern": str(self.directory / pattern),
            "max_bytes": max_bytes,
            "max_files": max_files,
            "clock": self.clock,
        }

    def teardown(self):
        try:
            if hasattr(self, "pattern"):
                self.a_last_run_leaves_everything_in_order()
        finally:
            for sink in self.sinks:
                if sink is not None:
                    sink.close(10)
            shutil.rmtree(self.directory)

    def a_last_run_leaves_everything_in_order(self):
        for which in (0, 1):
            self.restart(which)
        self.write(0, 1, 20)
        self.restart(0)
        self.no_line_is_lost_or_repeated()
        archives = self.archives()
        if self.max_files is not None:
            assert len(archives) <= self.max_files + self.direct
        if self.pattern.ending:
            plain = [
                path
                for _, path in archives
                if path.suffix != self.pattern.ending and path.stat().st_size
            ]
            assert len(plain) == self.direct  # the active file of the direct kind
        assert not list(self.directory.rglob(".*.tmp"))

    def sink(self, which: int) -> RollingFileSink:
        sink = self.sinks[which]
        if sink is None:
            path = None if self.direct else self.directory / "a.log"
            sink = self.sinks[which] = RollingFileSink(path, **self.options)
        return sink

    def settle(self):
        for sink in self.sinks:
            if sink is not None:
                assert JANITOR.join(sink, 20)

    @rule(which=st.integers(0, 1), count=st.integers(1, 9), size=st.sampled_from([20, 59, 90]))
    def write(self, which, count, size):
        first = len(self.expected)
        batch = [record(number, size) for number in range(first, first + count)]
        self.sink(which).write(batch)
        self.expected += range(first, first + count)
        self.settle()

    @rule(seconds=st.sampled_from([0.05, 0.2, 30, 60, 600, 3_600, 90_000]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([1, 60, 3_600, 7_200]))
    def the_clock_is_set_back(self, seconds):
        self.clock.set_time(self.clock.time() - seconds)
        self.set_back += seconds
        if self.set_back > 80_000:  # a day: believed, and dates come back
            self.names_may_return = True
            self.forget_what_may_go()

    def forget_what_may_go(self):
        if self.max_files is not None:
            self.seen = {}

    @rule(which=st.integers(0, 1))
    def poll(self, which):
        if self.sinks[which] is not None:
            self.sinks[which].poll(self.clock.monotonic())
            self.settle()

    @rule(which=st.integers(0, 1))
    def restart(self, which):
        if self.sinks[which] is not None:
            self.sinks[which].close(10)
            self.sinks[which] = None

    @rule()
    def the_facts_are_lost(self):
        """The period then comes from the file's time, and only names on the disk are known."""
        for lock in self.directory.glob(".*.lock"):
            lock.unlink()
        for path in self.active():
            os.utime(path, (self.clock.time(), self.clock.time()))
        self.names_may_return = True
        self.forget_what_may_go()

    @precondition(lambda self: not self.direct)
    @rule(which=st.integers(0, 1), step=st.sampled_from(["before", "between", "after"]))
    def killed_in_a_roll_over(self, which, step):
        """Whatever the batch had brought into the files by then stays; nothing else of it counts."""
        before = len(self.on_disk())
        first = len(self.expected)
        batch = [record(number, 59) for number in range(first, first + 6)]
        sink = self.sink(which)
        real_move, real_link = rename.move_exclusive, os.link

        def move(source, target):
            if step == "between":
                real_link(source, target)
            elif step == "after":
                real_move(source, target)
            raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rename, "move_exclusive", move)
            try:
                sink.write(batch)
            except Killed:
                self.killed += 1
                sink.close(10)  # the system closes what a dead process had open
                self.sinks[which] = None
        self.settle()
        if self.max_files is None:
            here = len(self.on_disk()) - before
            self.expected += range(first, first + here)
        else:
            held = self.on_disk()
            self.expected += [number for number in range(first, first + 6) if number in held]
            # A number that was neither written nor kept is simply given to nobody.
            self.expected += [-1] * (first + 6 - len(self.expected))

    def archives(self) -> list[tuple[tuple, Path]]:
        found = []
        for entry, date, index, _ in self.pattern.walk():
            found.append(((date, index), Path(entry.path)))
        return sorted(found)

    def active(self) -> list[Path]:
        path = self.directory / "a.log"
        return [path] if path.exists() else []

    def on_disk(self) -> list[int]:
        numbers = []
        inodes = set()
        for path in [*(path for _, path in self.archives()), *self.active()]:
            if path.stat().st_ino in inodes:
                continue  # both names of a roll-over that has not been finished
            inodes.add(path.stat().st_ino)
            numbers += [
                int(line.split(b":")[1].split(b",")[0].rstrip(b"}"))
                for line in content(path).splitlines()
            ]
        return numbers

    @invariant()
    def no_line_is_lost_or_repeated(self):
        if not hasattr(self, "pattern"):
            return
        found = sorted(self.on_disk())
        assert len(found) == len(set(found))
        expected = [number for number in self.expected if number >= 0]
        if self.max_files is None:
            assert found == expected
        else:
            assert set(found) <= set(expected)

    @invariant()
    def no_archive_changes_and_no_name_is_given_twice(self):
        if not hasattr(self, "pattern") or self.direct:
            return
        now = {str(path).removesuffix(".gz"): content(path) for _, path in self.archives()}
        for name, data in now.items():
            # A writer that has not noticed the roll-over yet may still add lines at the end.
            assert data.startswith(self.seen.get(name, b""))
        if self.names_may_return and self.max_files is not None:
            now = {}  # an archive can go and its name return within one step
        self.seen = now if self.names_may_return else self.seen | now

    @invariant()
    def retention_keeps_the_newest(self):
        if not hasattr(self, "pattern") or self.max_files is None:
            return
        # Each writer may still hold one archive open, and a killed one has left its work undone.
        most = self.max_files + len(self.sinks) + self.direct + self.killed
        assert len(self.archives()) <= most


class DirectRollingFile(RollingFile):
    """The same without renames."""

    direct = True

    def active(self):
        return []


budget = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestRollingFile = RollingFile.TestCase
TestRollingFile.settings = budget
TestDirectRollingFile = DirectRollingFile.TestCase
TestDirectRollingFile.settings = budget
