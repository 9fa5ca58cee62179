"""Rules that hold for every sink; each is a function of a :class:`Bench` with one sentence."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from pylog_struct.errors import SinkClosedError, SinkError
from pylog_struct.protocols import Sink
from pylog_struct.record import Record
from pylog_struct.testing._checks_bench import Bench, is_subsequence, open_files
from pylog_struct.testing._checks_watch import io_in_constructors

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CLOGGED_RULES", "FAILING_RULES", "RULES", "THREAD_RULES"]

_BIG_BATCH: Final = 1_000
_SHORT: Final = 0.2  # seconds that a clogged sink is given


def has_three_methods(bench: Bench) -> None:
    """A sink has write, flush and close."""
    bench.expect(isinstance(bench.make(), Sink), "the object has not all of write, flush, close")


def constructor_does_no_io(bench: Bench) -> None:
    """The constructor opens, connects and starts nothing."""
    bench.make()  # once unobserved: what it imports is cached afterwards
    with io_in_constructors() as found:
        bench.make()
    bench.expect(not found, f"the constructor did I/O or started a thread: {', '.join(found[:5])}")


def delivers_each_record_once(bench: Bench) -> None:
    """After flush, every accepted record has arrived: once, unaltered, in order."""
    sink = bench.make()
    sent: list[Record] = []
    for size in (1, 3, 1, 5):
        batch = bench.records(size)
        bench.write(sink, batch)
        sent += batch
    bench.flush(sink)
    bench.arrived(sink, sent, "flush")
    more = bench.records(2)
    bench.write(sink, tuple(more))  # any sequence will do
    bench.flush(sink)
    bench.arrived(sink, sent + more, "a second flush")
    bench.close(sink)
    bench.arrived(sink, sent + more, "close")


def empty_batch_is_nothing(bench: Bench) -> None:
    """An empty batch is accepted and nothing arrives."""
    sink = bench.make()
    bench.write(sink, [])
    batch = bench.records(1)
    bench.write(sink, batch)
    bench.write(sink, ())
    bench.flush(sink)
    bench.arrived(sink, batch, "writing empty batches")


def leaves_the_batch_alone(bench: Bench) -> None:
    """The batch is the caller's: not changed, and not needed after write returned."""
    sink = bench.make()
    batch = bench.records(4)
    copy = list(batch)
    bench.write(sink, batch)
    bench.expect(
        len(batch) == len(copy) and is_subsequence(batch, copy), "write changed the caller's list"
    )
    batch.clear()
    batch.extend(bench.records(1))  # must never arrive
    bench.flush(sink)
    bench.arrived(sink, copy, "the caller reused its list")


def takes_the_same_record_twice(bench: Bench) -> None:
    """A record that is in a batch several times arrives as many times."""
    sink = bench.make()
    one, other = bench.records(2)
    batch = [one, other, one, one]
    bench.write(sink, batch)
    bench.flush(sink)
    bench.arrived(sink, batch, "a batch with the same record three times")


def takes_odd_lines(bench: Bench) -> None:
    """Long, non-ASCII, escaped and non-JSON lines arrive byte for byte."""
    sink = bench.make()
    document = {"check": bench.token, "text": 'grün 日本語 \U0001f600 \u2028 \x00 \r\n \\ "'}
    level = bench.subject.level
    batch = [
        Record(level, orjson.dumps(document)),
        Record(level, b"no json at all, " + bench.token.encode()),
        *bench.records(1, extra="x" * max(bench.subject.max_line - 200, 1)),
        *bench.records(1),
    ]
    bench.write(sink, batch)
    bench.flush(sink)
    bench.arrived(sink, batch, "writing odd lines")


def takes_a_big_batch(bench: Bench) -> None:
    """A batch may be large; a part that is not taken now is in unwritten."""
    sink = bench.make()
    batch = bench.records(_BIG_BATCH)
    bench.write(sink, batch)
    bench.flush(sink)
    bench.arrived(sink, batch, f"a batch of {_BIG_BATCH}")


def close_drains(bench: Bench) -> None:
    """Closing passes on what was accepted, without a flush before it."""
    sink = bench.make()
    batch = bench.records(3)
    bench.write(sink, batch)
    bench.close(sink)
    bench.arrived(sink, batch, "close without flush")
    now = bench.statistics(sink)
    if now is not None:
        bench.expect(now.waiting == 0, f"{now.waiting} record(s) still wait after close")
        bench.expect(
            now.received >= len(batch),
            f"the ledger says {now.received} received, {len(batch)} were accepted",
        )


def close_is_idempotent(bench: Bench) -> None:
    """A second and third close do nothing and raise nothing; None is a timeout, too."""
    sink = bench.make()
    batch = bench.records(2)
    bench.write(sink, batch)
    bench.call("close(None)", lambda: sink.close(None))
    for again in range(2, 4):
        try:
            bench.call("close() again", sink.close)
        except Exception as error:
            bench.broken(f"close number {again} raised {type(error).__name__}: {error}")
    bench.arrived(sink, batch, "closing three times")


def close_without_a_write(bench: Bench) -> None:
    """A sink that was never written to can be flushed and closed."""
    sink = bench.make()
    bench.flush(sink)
    bench.close(sink)


def write_after_close_is_refused(bench: Bench) -> None:
    """After close, write raises SinkClosedError with the whole batch in unwritten."""
    for used in (False, True):
        sink = bench.make()
        if used:
            bench.write(sink, bench.records(1))
        bench.close(sink)
        batch = bench.records(3)
        error = bench.refusal(sink, batch)
        bench.expect(
            isinstance(error, SinkClosedError),
            f"write after close raised {type(error).__name__} instead of SinkClosedError",
        )
        bench.expect(
            len(error.unwritten) == len(batch) and is_subsequence(error.unwritten, batch),
            "the SinkClosedError does not name the whole batch as unwritten, in order",
        )


def close_releases_everything(bench: Bench) -> None:
    """No thread and no file descriptor is left after close."""
    if not bench.subject.resources:
        return
    sink = bench.make()
    threads, files = set(threading.enumerate()), open_files()
    bench.write(sink, bench.records(3))
    bench.flush(sink)
    bench.close(sink)
    ends = time.monotonic() + bench.subject.patience
    while True:
        left = [
            *(
                f"thread {thread.name}"
                for thread in set(threading.enumerate()) - threads
                if not thread.name.startswith(("pylog-janitor", "check_sink-"))
            ),
            *(f"file descriptor {name}" for name in open_files() - files),
        ]
        if not left or time.monotonic() > ends:
            break
        time.sleep(0.005)
    bench.expect(not left, f"left behind after close: {', '.join(sorted(left)[:5])}")


def poll_answers(bench: Bench) -> None:
    """poll, if there is one, returns None or seconds, and loses nothing."""
    sink = bench.make()
    poll: Callable[[float], Any] | None = getattr(sink, "poll", None)
    if not callable(poll):
        return
    batch = bench.records(3)
    bench.write(sink, batch)
    now = time.monotonic()
    for later in (0.0, 0.001, 3600.0):
        answer = bench.call("poll()", partial(poll, now + later))
        bench.expect(
            answer is None or (isinstance(answer, int | float) and answer >= 0),
            f"poll returned {answer!r}; it answers None or seconds from 0 up",
        )
    bench.flush(sink)
    bench.arrived(sink, batch, "poll")


def failing_says_what_is_unwritten(bench: Bench) -> None:
    """A destination that is down is a retryable SinkError that names the whole batch."""
    make = bench.subject.make_failing
    if make is None:
        return
    sink = bench.keep(make())
    for _ in range(2):
        batch = bench.records(4)
        error = bench.refusal(sink, batch)
        bench.expect(error.retryable, f"{type(error).__name__} is not retryable; the sink is down")
        bench.expect(
            len(error.unwritten) == len(batch) and is_subsequence(error.unwritten, batch),
            f"unwritten has {len(error.unwritten)} record(s) of a batch of {len(batch)}"
            " of which nothing can have arrived, or has them in another order",
        )
    now = bench.statistics(sink)
    if now is not None:
        bench.expect(
            now.received == 0, f"the ledger says {now.received} received; all were refused"
        )
    bench.call("close() of a sink that is down", lambda: _close_quietly(sink, bench))
    bench.expect(
        isinstance(bench.refusal(sink, bench.records(1)), SinkClosedError),
        "a sink that was down does not raise SinkClosedError after close",
    )


def clogged_keeps_its_timeouts(bench: Bench) -> None:
    """When the destination takes nothing, write, flush and close come back, and flush does not lie."""
    make = bench.subject.make_clogged
    if make is None:
        return
    made = make()
    sink, release = made if isinstance(made, tuple) else (made, lambda: None)
    bench.keep(sink)
    try:
        refused = False
        for _ in range(200):
            batch = bench.records(50, extra="x" * 900)
            try:
                bench.write(sink, batch)
            except SinkError as error:
                bench.expect(
                    is_subsequence(error.unwritten, batch),
                    "unwritten is no part of the batch in its order",
                )
                refused = True
                break
        try:
            bench.flush(sink, _SHORT)
        except SinkError:
            pass
        else:
            # All that was accepted would have to be gone, from a destination that takes nothing.
            bench.expect(refused, "flush returned although the destination takes nothing")
        _close_quietly(sink, bench, _SHORT)
        bench.expect(
            isinstance(bench.refusal(sink, bench.records(1)), SinkClosedError),
            "a clogged sink does not raise SinkClosedError after close",
        )
    finally:
        release()


def threads_may_write_at_once(bench: Bench) -> None:
    """A thread-safe sink takes every record of several writers, once."""
    sink = bench.make()
    batches = [[bench.records(2) for _ in range(25)] for _ in range(4)]
    errors: list[Exception] = []

    def work(mine: list[list[Record]]) -> None:
        try:
            for batch in mine:
                sink.write(batch)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(mine,), daemon=True) for mine in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        bench.call("write() from four threads", thread.join)
    bench.expect(not errors, f"a concurrent write raised {errors[:1]!r}")
    bench.flush(sink)
    sent = sorted(
        record.line
        for mine in batches
        for batch in mine
        for record in batch
        if bench.subject.keeps(record)
    )
    if bench.reads:
        bench.compare(lambda: sorted(bench.lines(sink)), sent, "four threads wrote")


def _close_quietly(sink: Sink, bench: Bench, timeout: float | None = None) -> None:
    """Close a sink that may well have to say that it could not drain."""
    try:
        bench.close(sink, timeout)
    except SinkError:
        return


RULES: Final[tuple[Callable[[Bench], None], ...]] = (
    has_three_methods,
    constructor_does_no_io,
    delivers_each_record_once,
    empty_batch_is_nothing,
    leaves_the_batch_alone,
    takes_the_same_record_twice,
    takes_odd_lines,
    takes_a_big_batch,
    close_drains,
    close_is_idempotent,
    close_without_a_write,
    write_after_close_is_refused,
    close_releases_everything,
    poll_answers,
)
FAILING_RULES: Final = (failing_says_what_is_unwritten,)
CLOGGED_RULES: Final = (clogged_keeps_its_timeouts,)
THREAD_RULES: Final = (threads_may_write_at_once,)
