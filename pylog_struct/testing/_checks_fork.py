"""The rule about ``os.fork``: parent and child both go on, and nothing is written by both."""

from __future__ import annotations

import os
import select
import signal
import time
import warnings
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylog_struct.record import Record
    from pylog_struct.testing._checks_bench import Bench

__all__ = ["FORK_RULES"]


def survives_a_fork(bench: Bench) -> None:
    """A child can write, flush and close; what the parent had accepted stays the parent's."""
    if not hasattr(os, "fork"):  # pragma: no cover - Windows
        return
    sink = bench.make()
    before, after = bench.records(3), bench.records(3)
    of_child = bench.records(2)
    bench.write(sink, before)  # not flushed: a backlog, if the sink keeps one
    verdict = _in_child(bench, lambda: _child(bench, sink, of_child))
    bench.expect(verdict == "ok", f"in a child of fork: {verdict}")
    bench.write(sink, after)
    bench.flush(sink)
    if not bench.reads:
        return
    parents = {record.line for record in (*before, *after)}
    bench.compare(
        lambda: [line for line in bench.lines(sink) if line in parents],
        [record.line for record in (*before, *after) if bench.subject.keeps(record)],
        "a fork whose child wrote and closed",
    )


def _child(bench: Bench, sink: Any, batch: Sequence[Record]) -> None:
    own = {record.line for record in batch}
    bench.write(sink, batch)
    bench.flush(sink)
    if bench.reads:
        bench.compare(
            lambda: [line for line in bench.lines(sink) if line in own],
            [record.line for record in batch if bench.subject.keeps(record)],
            "the child's flush",
        )
    bench.close(sink)


def _in_child(bench: Bench, function: Callable[[], None]) -> str:
    """Run *function* in a fork; return "ok", or what went wrong in one line."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns about threads and fork: that is what this rule is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        verdict = "ok"
        try:
            function()
        except BaseException as error:
            verdict = f"{type(error).__name__}: {error}"
        finally:
            os.write(writer, verdict.encode("utf-8", "replace")[:4000])
            os._exit(0)
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], 3 * bench.subject.patience)
        if not ready:
            os.kill(pid, signal.SIGKILL)
            return "it hung"
        verdict = os.read(reader, 4096).decode("utf-8", "replace")
        return verdict or "it ended without a word"
    finally:
        os.close(reader)
        _reap(pid)


def _reap(pid: int) -> None:
    while True:
        try:
            done, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # pragma: no cover - somebody else's handler was faster
            return
        if done:
            return
        time.sleep(0.002)


FORK_RULES: Final = (survives_a_fork,)
