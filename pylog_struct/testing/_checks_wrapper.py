"""Rules for wrappers: the inner sink misbehaves, and nothing may be lost, doubled or left open."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from pylog_struct.errors import SinkClosedError, SinkError, SinkRejectedError, SinkTimeoutError
from pylog_struct.testing._checks_bench import Bench, is_subsequence
from pylog_struct.testing.faults import FailingSink, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylog_struct.record import Record

__all__ = ["ISOLATION_RULES", "WRAPPER_RULES", "Inner", "fault_rules"]

_TRIES: Final = 50
_SHORT: Final = 0.2


class Inner(FailingSink):
    """The inner sink of a check: fails by plan, and remembers how it was treated."""

    def __init__(self, fail: Any = False) -> None:
        super().__init__(fail=fail)
        self.flushes: list[float | None] = []
        self.closes: list[float | None] = []
        self.writes = 0  # also those that are refused because it is closed

    def write(self, batch: Sequence[Record], /) -> None:
        self.writes += 1
        super().write(batch)

    def flush(self, timeout: float | None = None) -> None:
        self.flushes.append(timeout)
        super().flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        self.closes.append(timeout)
        super().close(timeout)


def _wrap(bench: Bench, inner: Any) -> Any:
    make = bench.subject.make_wrapper
    assert make is not None  # noqa: S101 - these rules run only for wrappers
    return bench.keep(bench.call("making a sink", lambda: make(inner)))


def leaves_the_inner_sink_alone_at_first(bench: Bench) -> None:
    """The constructor calls nothing of the inner sink."""
    inner = Inner()
    _wrap(bench, inner)
    bench.expect(
        not (inner.writes or inner.flushes or inner.closes), "the constructor called the inner sink"
    )


def closes_the_inner_sink_once(bench: Bench) -> None:
    """Closing closes the inner sink, once, also when that sink fails in everything."""
    for broken in (False, True):
        inner = Inner()
        sink = _wrap(bench, inner)
        bench.write(sink, bench.records(2))
        if broken:
            inner.fail, inner.fail_flush, inner.fail_close = True, True, True
        for _ in range(2):
            try:
                bench.close(sink, 1.0)
            except SinkError:
                continue
        how = "an inner sink that fails" if broken else "its inner sink"
        bench.expect(inner.closes, f"close did not close {how}")
        bench.expect(len(inner.closes) == 1, f"close closed {how} {len(inner.closes)} times")
        writes = inner.writes
        batch = bench.records(1)
        error = bench.refusal(sink, batch)
        bench.expect(
            isinstance(error, SinkClosedError),
            f"write after close raised {type(error).__name__} instead of SinkClosedError",
        )
        bench.expect(inner.writes == writes, "a write after close reached the inner sink")


def flush_tells_the_truth(bench: Bench) -> None:
    """When the inner sink cannot flush, flush raises."""
    inner = Inner()
    sink = _wrap(bench, inner)
    batch = bench.records(2)
    bench.write(sink, batch)
    inner.fail_flush = True
    try:
        bench.flush(sink, 1.0)
    except SinkError:
        pass
    else:
        bench.broken("flush returned although the inner sink could not flush")
    inner.fail_flush = False
    _flush_at_last(bench, sink)
    _delivered(bench, sink, inner, batch, Counter(), "a flush that failed and one that worked")


def passes_timeouts_on(bench: Bench) -> None:
    """The inner sink gets no more time than was given."""
    inner = Inner()
    sink = _wrap(bench, inner)
    bench.write(sink, bench.records(2))
    bench.flush(sink, 5.0)
    bench.close(sink, 5.0)
    for what, given in (("flush", inner.flushes), ("close", inner.closes)):
        bench.expect(given, f"{what} did not reach the inner sink")
        bench.expect(
            all(timeout is not None and 0 <= timeout <= 5.0 for timeout in given),
            f"{what}(5.0) gave the inner sink {given!r} seconds",
        )


def a_clogged_inner_sink_costs_nothing(bench: Bench) -> None:
    """An inner sink that blocks and is released has every record, once."""
    inner = bench.clogged()
    sink = _wrap(bench, inner)
    batch = bench.records(3)
    errors: list[Exception] = []

    def work() -> None:
        try:
            sink.write(batch)
            sink.flush(bench.subject.patience)
        except Exception as error:
            errors.append(error)

    # Most wrappers block with their inner sink: so somebody else has to be the one who waits.
    writer = threading.Thread(target=work, name=f"check_sink-{bench.token}-writer", daemon=True)
    writer.start()
    inner.entered.wait(_SHORT)
    inner.release()
    bench.call("write() and flush() after the inner sink was released", writer.join)
    left: Sequence[Record] = ()
    for error in errors:
        bench.expect(isinstance(error, SinkError), f"raised {error!r}, which is no SinkError")
        left = error.unwritten if isinstance(error, SinkError) else ()
    refused = _insist(bench, sink, left) if left else Counter()
    _flush_at_last(bench, sink)
    _delivered(bench, sink, inner, batch, refused, "the inner sink was clogged and released")


def isolates_from_a_clogged_inner_sink(bench: Bench) -> None:
    """While the inner sink blocks, write takes records, and flush and close keep their timeouts."""
    inner = bench.clogged()
    sink = _wrap(bench, inner)
    try:
        bench.write(sink, bench.records(3))
        bench.expect(
            inner.entered.wait(bench.subject.patience), "the inner sink was never written to"
        )
        bench.write(sink, bench.records(2))
        try:
            bench.flush(sink, _SHORT)
        except SinkError:
            pass
        else:
            bench.broken("flush returned although the inner sink has taken nothing")
        try:
            bench.close(sink, _SHORT)
        except SinkError as error:
            left = bench.statistics(sink)
            bench.expect(
                error.unwritten or left is None or left.dropped,
                "close raised and names no record that it could not pass on",
            )
        bench.expect(
            isinstance(bench.refusal(sink, bench.records(1)), SinkClosedError),
            "write after close did not raise SinkClosedError",
        )
    finally:
        inner.release()


def _insist(bench: Bench, sink: Any, batch: Sequence[Record]) -> Counter[bytes]:
    """Write *batch* as a good caller does; return the lines that were refused for good."""
    rest = batch
    for _ in range(_TRIES):
        try:
            bench.write(sink, rest)
        except SinkClosedError as error:
            bench.broken(f"write raised SinkClosedError ({error}) on a sink that is open")
        except SinkError as error:
            bench.expect(
                is_subsequence(error.unwritten, rest),
                "unwritten is no part of the batch in its order (the same objects)",
            )
            if not error.retryable:
                return Counter(record.line for record in error.unwritten)
            rest = error.unwritten
        else:
            return Counter()
        if not rest:
            return Counter()
    return bench.broken(f"still refuses {len(rest)} record(s) though the inner sink works again")


def _flush_at_last(bench: Bench, sink: Any) -> None:
    """Flush until it works: the inner sink does again, but a wrapper may back off first."""
    ends = time.monotonic() + bench.subject.patience
    while True:
        try:
            bench.flush(sink)
        except SinkError as error:
            if time.monotonic() > ends:
                bench.broken(f"flush still raises ({error}) though the inner sink works again")
            time.sleep(0.005)
        else:
            return


def _delivered(
    bench: Bench,
    sink: Any,
    inner: Any,
    sent: Sequence[Record],
    refused: Counter[bytes],
    after: str,
) -> None:
    """Each record is in the inner sink, or was refused, or is counted as dropped; never two."""
    token = bench.token.encode()
    found = [line for line in inner.lines if token in line]
    expected = [record.line for record in sent if bench.subject.keeps(record)]
    twice = Counter(found) - Counter(expected)
    bench.expect(not twice, f"{sum(twice.values())} record(s) were sent twice after {after}")
    both = Counter(found) & refused
    bench.expect(
        not both, f"{sum(both.values())} record(s) were refused and yet delivered after {after}"
    )
    missing = Counter(expected) - Counter(found) - refused
    now = bench.statistics(sink)
    dropped = bench.dropped(sink) - (len(sent) - len(expected))
    bench.expect(
        sum(missing.values()) <= max(dropped, 0),
        f"{sum(missing.values())} record(s) were lost after {after}"
        f" ({dropped} of them counted as dropped)",
    )
    if bench.subject.ordered:
        bench.expect(
            _same_order(found, expected),
            f"the records reached the inner sink in another order after {after}",
        )
    if now is not None:
        bench.expect(now.waiting == 0, f"{now.waiting} record(s) still wait after {after}")


def _same_order(found: Sequence[bytes], expected: Sequence[bytes]) -> bool:
    """Whether *found* is *expected* with some left out."""
    left = iter(expected)
    return all(any(line == other for other in left) for line in found)


_PLANS: Final[dict[str, tuple[Fault | None, ...]]] = {
    "down_then_up": (Fault(), Fault()),
    "half_of_a_batch": (Fault(accept=2), None, Fault(accept=1)),
    "one_record_at_a_time": tuple(Fault(accept=1) for _ in range(6)),
    "times_out": (Fault(SinkTimeoutError, accept=1),),
    "rejects_some": (Fault(SinkRejectedError, accept=2), None, Fault(SinkRejectedError, accept=1)),
    "rejects_all": (Fault(SinkRejectedError),),
    "fails_with_nothing_unwritten": (Fault(accept=1_000),),
}


def fault_rules() -> list[tuple[str, Callable[[Bench], None]]]:
    """One rule for each way in which an inner sink fails and recovers."""

    def rule(plan: tuple[Fault | None, ...]) -> Callable[[Bench], None]:
        def check(bench: Bench) -> None:
            inner = Inner(plan)
            sink = _wrap(bench, inner)
            sent: list[Record] = []
            refused: Counter[bytes] = Counter()
            for size in (5, 1, 4):
                batch = bench.records(size)
                sent += batch
                refused += _insist(bench, sink, batch)
            _flush_at_last(bench, sink)
            _delivered(bench, sink, inner, sent, refused, "the inner sink failed and recovered")
            try:
                bench.close(sink)
            except SinkError as error:
                bench.broken(f"close raised {error!r} though the inner sink works again")
            bench.expect(inner.closes, "close did not close the inner sink")

        return check

    return [(f"inner_sink_{name}", rule(plan)) for name, plan in _PLANS.items()]


WRAPPER_RULES: Final[tuple[Callable[[Bench], None], ...]] = (
    leaves_the_inner_sink_alone_at_first,
    closes_the_inner_sink_once,
    flush_tells_the_truth,
    passes_timeouts_on,
    a_clogged_inner_sink_costs_nothing,
)
ISOLATION_RULES: Final = (isolates_from_a_clogged_inner_sink,)
