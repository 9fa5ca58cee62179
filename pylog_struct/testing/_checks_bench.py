"""The bench that the rules of :func:`pylog_struct.testing.check_sink` work on."""

from __future__ import annotations

import inspect
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import orjson

from pylog_struct.errors import SinkError
from pylog_struct.levels import INFO
from pylog_struct.record import Record
from pylog_struct.testing.faults import CloggedSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pylog_struct.protocols import Sink

__all__ = ["Bench", "Broken", "Subject", "is_subsequence", "open_files", "run"]

_PAUSE: Final = 0.005  # seconds between two looks at a destination


class Broken(AssertionError):  # noqa: N818 - it is a finding, not an error of ours
    """A rule of the contract is broken; the text is one sentence."""


@dataclass(frozen=True)
class Subject:
    """What is tested, and what its maker says about it; see ``check_sink`` for the meaning."""

    make: Callable[[], Any]
    read: Callable[..., Iterable[bytes]] | None = None
    make_wrapper: Callable[[Any], Any] | None = None
    make_failing: Callable[[], Any] | None = None
    make_clogged: Callable[[], Any] | None = None
    keeps: Callable[[Record], bool] = field(default=lambda _: True)
    level: int = INFO
    ordered: bool = True
    thread_safe: bool = False
    isolates: bool = False
    fork: bool = True
    resources: bool = True
    max_line: int = 256 * 1024
    patience: float = 10.0


class Bench:
    """One rule's workplace: makes sinks and records, calls the sink, looks at what arrived.

    Every record carries a token of its own bench, so a destination that is shared by all rules
    (one file, one server) does not confuse them.
    """

    def __init__(self, subject: Subject, rule: str) -> None:
        self.subject = subject
        self.token = f"{rule}-{uuid.uuid4().hex[:12]}"
        self.step = ""
        self.step_since = 0.0
        self._number = 0
        self._made: list[Any] = []
        self._releases: list[Callable[[], None]] = []

    # -- making -----------------------------------------------------------------------------------

    def make(self) -> Any:
        """A fresh sink, closed at the end of the rule."""
        return self.keep(self.call("making a sink", self.subject.make))

    def keep(self, sink: Any) -> Any:
        """Close *sink* at the end of the rule."""
        self._made.append(sink)
        return sink

    def clogged(self) -> CloggedSink:
        """A sink that blocks, but not beyond the end of the rule."""
        sink = CloggedSink()
        self._releases.append(sink.release)
        return sink

    def release(self) -> None:
        """Let go of what blocks here on purpose."""
        for release in self._releases:
            release()

    def records(self, number: int, *, extra: str = "") -> list[Record]:
        """So many new records, all different."""
        made: list[Record] = []
        for _ in range(number):
            self._number += 1
            document = {"event": "check", "check": self.token, "n": self._number}
            if extra:
                document["extra"] = extra
            made.append(Record(self.subject.level, orjson.dumps(document), time.time()))
        return made

    def clean_up(self) -> None:
        """Close what was made; what that raises was for a rule to find."""
        self.release()
        for sink in self._made:
            self.step, self.step_since = "close() in the end", time.monotonic()
            with suppress(Exception):
                sink.close(0.5)
        self.step = ""

    # -- calling ----------------------------------------------------------------------------------

    def call(self, step: str, function: Callable[[], Any]) -> Any:
        """Call *function* under the eyes of the watchdog, which says *step* if it hangs."""
        self.step, self.step_since = step, time.monotonic()
        try:
            return function()
        finally:
            self.step = ""

    def write(self, sink: Sink, batch: Sequence[Record]) -> None:
        """Write, and look at the ledger; foreign exceptions are a finding."""
        try:
            self.call(f"write() of {len(batch)} record(s)", lambda: sink.write(batch))
        except SinkError:
            self.balance(sink, "a write that raised")
            raise
        except Exception as error:
            msg = f"write raised {type(error).__name__} ({error}), which is no SinkError"
            raise Broken(msg) from error
        self.balance(sink, "a write")

    def flush(self, sink: Sink, timeout: float | None = None) -> None:
        """Flush, and look at the ledger; foreign exceptions are a finding."""
        limit = self.subject.patience if timeout is None else timeout
        try:
            self.call(f"flush({limit:g})", lambda: sink.flush(limit))
        except SinkError:
            self.balance(sink, "a flush that raised")
            raise
        except Exception as error:
            msg = f"flush raised {type(error).__name__} ({error}), which is no SinkError"
            raise Broken(msg) from error
        self.balance(sink, "a flush")

    def close(self, sink: Sink, timeout: float | None = None) -> None:
        """Close, and look at the ledger; foreign exceptions are a finding."""
        limit = self.subject.patience if timeout is None else timeout
        try:
            self.call(f"close({limit:g})", lambda: sink.close(limit))
        except SinkError:
            self.balance(sink, "a close that raised")
            raise
        except Exception as error:
            msg = f"close raised {type(error).__name__} ({error}), which is no SinkError"
            raise Broken(msg) from error
        self.balance(sink, "close")

    def refusal(self, sink: Sink, batch: Sequence[Record]) -> SinkError:
        """Write a batch that must be refused in part or whole, and return the error."""
        try:
            self.write(sink, batch)
        except SinkError as error:
            return error
        return self.broken("write returned although nothing could take the records")

    # -- looking ----------------------------------------------------------------------------------

    @staticmethod
    def broken(sentence: str) -> NoReturn:
        """The rule is broken."""
        raise Broken(sentence)

    def expect(self, condition: object, sentence: str) -> None:
        """The rule is broken unless *condition* holds."""
        if not condition:
            self.broken(sentence)

    def statistics(self, sink: Any) -> Any:
        """What the sink's ``statistics()`` returns; None if it has none."""
        statistics = getattr(sink, "statistics", None)
        return statistics() if callable(statistics) else None

    def dropped(self, sink: Any) -> int:
        """Records that the ledgers of the whole tree count as dropped."""
        total, seen, stack = 0, set[int](), [sink]
        while stack:
            part = stack.pop()
            if id(part) not in seen:
                seen.add(id(part))
                now = self.statistics(part)
                total += 0 if now is None else now.dropped
                stack.extend(getattr(part, "children", ()))
        return total

    def balance(self, sink: Any, moment: str) -> None:
        """The ledger identity, for sinks that keep a ledger."""
        now = self.statistics(sink)
        if now is None:
            return
        self.expect(
            now.received == now.written + now.dropped + now.waiting,
            f"the ledger does not balance after {moment}: received {now.received}"
            f" != written {now.written} + dropped {now.dropped} + waiting {now.waiting}",
        )

    @property
    def reads(self) -> bool:
        """Whether what arrived can be looked at."""
        return self.subject.read is not None

    def lines(self, sink: Any) -> list[bytes]:
        """The lines of this bench that arrived so far."""
        read = self.subject.read
        if read is None:
            return []
        found = read(sink) if _takes_one(read) else read()
        token = self.token.encode()
        return [line for line in found if token in line]

    def arrived(self, sink: Any, sent: Sequence[Record], after: str) -> None:
        """Exactly the records of *sent* that the sink keeps have arrived, each once, in order."""
        if not self.reads:
            return
        expected = [record.line for record in sent if self.subject.keeps(record)]
        self.compare(lambda: self.lines(sink), expected, after)

    def compare(self, look: Callable[[], list[bytes]], expected: list[bytes], after: str) -> None:
        """*look* finds exactly *expected*; a destination may need a moment to show the last lines."""
        ends = time.monotonic() + self.subject.patience
        while True:
            found = look()
            if found == expected:
                return
            twice = Counter(found) - Counter(expected)
            missing = Counter(expected) - Counter(found)
            if twice or not missing or time.monotonic() > ends:
                break
            time.sleep(_PAUSE)
        if twice:
            line, number = next(iter(twice.items()))
            known = "too often" if line in expected else "altered or never sent"
            self.broken(
                f"{sum(twice.values())} record(s) arrived {known} after {after}:"
                f" {_short(line)} ({number} more than it should)"
            )
        if missing:
            self.broken(
                f"{sum(missing.values())} of {len(expected)} record(s) did not arrive after {after},"
                f" the first: {_short(next(iter(missing)))}"
            )
        if self.subject.ordered:
            self.broken(f"the records arrived in another order than they were written ({after})")


def is_subsequence(part: Iterable[object], whole: Iterable[object]) -> bool:
    """Whether *part* is *whole* with some left out: the same objects, in the same order."""
    left = iter(whole)
    return all(any(item is other for other in left) for item in part)


def run(rule: Callable[[Bench], None], bench: Bench) -> str | None:
    """Run *rule* on a thread of its own; return what is broken, or None.

    A thread, because a sink that hangs must not hang the suite: it is left behind then.
    """
    findings: list[str] = []

    def work() -> None:
        try:
            rule(bench)
        except Broken as broken:
            findings.append(str(broken))
        except Exception as error:
            findings.append(f"{type(error).__name__}: {error} (in {bench.step or 'the rule'})")
        finally:
            bench.clean_up()

    thread = threading.Thread(target=work, name=f"check_sink-{bench.token}", daemon=True)
    thread.start()
    while True:
        thread.join(0.05)
        if not thread.is_alive():
            return findings[0] if findings else None
        step, since = bench.step, bench.step_since
        if step and time.monotonic() - since > 2 * bench.subject.patience:
            bench.release()
            return findings[0] if findings else f"{step} did not return within its time"


def _takes_one(read: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(read).parameters.values()
    except ValueError:  # some builtins have no signature
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(parameter.kind in kinds for parameter in parameters)


def _short(line: bytes) -> str:
    return line[:200].decode("utf-8", "replace")


def open_files() -> set[str]:
    """The file descriptors of this process, with what they point at; empty where that is unknown."""
    found: set[str] = set()
    for folder in (Path("/proc/self/fd"), Path("/dev/fd")):
        with suppress(OSError):
            for entry in folder.iterdir():
                with suppress(OSError):  # the descriptor of the listing itself is gone by now
                    found.add(f"{entry.name} ({entry.readlink()})")
        if found:
            break
    return found
