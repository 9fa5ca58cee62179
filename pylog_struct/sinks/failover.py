"""Ordered alternatives: when one sink fails, the next takes exactly what was not delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pylog_struct import diagnostics
from pylog_struct._frozen import frozen
from pylog_struct.clock import SYSTEM_CLOCK, Clock
from pylog_struct.errors import (
    ConfigError,
    SinkError,
    SinkRejectedError,
)
from pylog_struct.levels import INFO, WARNING
from pylog_struct.sinks._failover.alternative import Alternative, Outcome
from pylog_struct.sinks._failover.verdict import (
    adopt_all,
    all_failed,
    in_order,
    raise_first,
    reason,
)
from pylog_struct.sinks.base import BaseSink, Deadline
from pylog_struct.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylog_struct.ledger import SinkStatistics
    from pylog_struct.protocols import Sink
    from pylog_struct.record import Record

__all__ = ["FailoverSink", "SwitchEvent"]


@frozen
class SwitchEvent:
    """One change of the active alternative, as ``on_switch`` gets it.

    Attributes:
        sink: Name of the failover sink.
        source: Name of the alternative that was active.
        target: Name of the one that is active now.
        reason: Why, in one line.
        recovered: Whether *target* is preferred to *source*: things got better.
        at: When, Unix time in seconds.
        in_flight: Records of the current batch that were handed on to *target*.
    """

    sink: str
    source: str
    target: str
    reason: str
    recovered: bool
    at: float
    in_flight: int


class FailoverSink(BaseSink):
    """Writes to the first of several sinks that works, and goes back when a better one does.

    Accepted means: accepted by one of the alternatives.  When the active one fails (a retryable
    error, a closed sink, an exception that nobody translated, a call that hangs), exactly
    ``error.unwritten`` is handed on to the next in order; after the last, the more preferred ones
    are asked again.  A rejection (``retryable`` False) is an answer, not a failure: nothing
    switches, the other records count as written, and the rejected ones are raised.

    Fail-back: once in *retry_interval* the first record of a batch goes to a more preferred
    alternative, the most preferred first.  If that works *probes* times in a row, it is active
    again; if it fails, the record goes where the rest of the batch goes, and the interval starts
    anew.  Nothing is opened before the first write, so a primary that is down at start is an
    ordinary switch.

    Every switch counts ``failover.switches``, puts a ``sink.switch`` notice into the stream ahead
    of the records that are handed on, and calls *on_switch* when the batch is done.

    Duplicates: a hung call cannot be recalled.  If it succeeds after its records were handed on,
    they exist twice, and ``failover.late`` counts them; so does a sink of somebody else's that
    raises without saying what it took.  In all other cases each record is in one place.

    Args:
        sinks: The alternatives, most preferred first.  Put batching and queues outside, around
            this sink: an error does not cross a queue.
        retry_interval: Time between two probes of one alternative, in seconds or as text, more
            than 0.
        probes: Successful probes in a row before failing back, 1 or more.
        timeout: Time that a call to an alternative may take before it counts as hung, in seconds
            or as text, more than 0.  None, the default, waits as long as the sink does, and needs
            no thread.  With a timeout every alternative but the last is called on a daemon thread
            of its own: Python has no other way to leave a call that blocks.
        on_switch: Called with a :class:`SwitchEvent`, in the writing thread, with nothing locked;
            it may log.  What it raises is reported on stderr and goes no further.
        name: The sink's name in metrics and statistics.
        clock: For probes and for the time of an event.

    Raises:
        ConfigError: no alternatives, one that is no sink, one that occurs twice, at any depth, or
            a number that is out of range.

    Threads: one caller at a time.  Blocks: as long as the alternatives do; with *timeout*, that
    long for each that hangs (once) plus as long as the last one does.
    Fork: the child goes on with the alternative that was active, with new threads.
    Metrics: ``failover.switches``, ``failover.all_failed``, ``failover.active.<name>`` (0 or 1),
    ``failover.late``.
    Source: own design, see ``docs/explanation/failover.md``; the count of successful probes is
    syslog-ng's ``successful-probes-required``.
    """

    type_name = "failover"

    def __init__(
        self,
        sinks: Sequence[Sink],
        *,
        retry_interval: float | str = 30.0,
        probes: int = 1,
        timeout: float | str | None = None,
        on_switch: Callable[[SwitchEvent], Any] | None = None,
        name: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(name=name, children=adopt_all(sinks))
        self._interval = parse_duration(
            retry_interval, "FailoverSink.retry_interval", exclusive=True
        )
        if not isinstance(probes, int) or isinstance(probes, bool) or probes < 1:
            msg = f"FailoverSink.probes: {probes!r} is no number of probes; use 1 or more"
            raise ConfigError(msg)
        if timeout is not None:
            timeout = parse_duration(timeout, "FailoverSink.timeout", exclusive=True)
        if on_switch is not None and not callable(on_switch):
            msg = (
                f"FailoverSink.on_switch: {on_switch!r} cannot be called;"
                " use a function of one SwitchEvent (or None)"
            )
            raise ConfigError(msg)
        self._probes = probes
        self._on_switch = on_switch
        self._clock = clock
        last = len(self.children) - 1
        self._alternatives = [
            # There is nobody to hand on to after the last one: leaving it would help nobody.
            Alternative(child, None if position == last else timeout, self.ledger)
            for position, child in enumerate(self.children)
        ]
        self._active = 0
        self._events: list[SwitchEvent] = []
        self._announcing = False
        self._published: dict[str, float] = {}
        self._names: list[str] = []
        self._publish()

    @property
    def active(self) -> BaseSink:
        """The alternative that gets the next batch."""
        return self._alternatives[self._active].sink

    # -- the contract -----------------------------------------------------------------------------

    def write(self, batch: Sequence[Record], /) -> None:
        """Write to the active alternative, or to the next that works.

        Raises:
            SinkUnavailableError: all alternatives failed; ``unwritten`` can be tried again.
            SinkTimeoutError: the same, and all because they hung or ran out of time.
            SinkRejectedError: an alternative refused ``unwritten`` for good.
            SinkClosedError: after ``close``.
        """
        try:
            super().write(batch)
        finally:
            self._announce()

    def poll(self, now: float, /) -> float | None:
        """Forward to every alternative that does not hang.  A probe needs a record: see ``write``.

        Raises:
            SinkError: what the first alternative that failed raised, after all were called.
        """
        waits: list[float] = []
        errors: list[Exception] = []
        for alternative in self._alternatives:
            try:
                wait = alternative.poll(now)
            except Exception as error:
                errors.append(error)
            else:
                if wait is not None:
                    waits.append(wait)
        self._announce()
        raise_first(errors)
        return min(waits, default=None)

    def statistics(self) -> SinkStatistics:
        """Return this sink's side of the ledger at one instant.  Thread-safe."""
        self._publish()
        return super().statistics()

    def _flush(self, timeout: float | None) -> None:
        # Not the active one alone: one that failed since may still hold what it accepted before.
        self._of_all(Alternative.flush, timeout)

    def _close(self, timeout: float | None) -> None:
        self._of_all(Alternative.close, timeout)

    def _of_all(
        self, method: Callable[[Alternative, float | None], None], timeout: float | None
    ) -> None:
        deadline = Deadline(timeout)
        errors: list[Exception] = []
        for alternative in self._alternatives:
            try:
                method(alternative, deadline.remaining())
            except Exception as error:
                errors.append(error)
        raise_first(errors)

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self._events = []  # the parent announces what happened to the parent
        self._announcing = False
        for alternative in self._alternatives:
            alternative.after_fork_in_child()
        self._published = {}
        self._publish()

    # -- choosing ---------------------------------------------------------------------------------

    def _write(self, batch: Sequence[Record]) -> None:
        if self._names != [child.name for child in self.children]:
            self._publish()
        rest: Sequence[Record] = batch
        answers: list[Outcome] = []
        errors: dict[int, SinkError] = {}
        notice: Record | None = None
        if self._active:
            rest, notice = self._probe(batch, answers, errors)
        for position in self._order():
            if position in errors:
                continue
            if not rest and notice is None:
                break
            source = self._active
            event = None
            if position != source:
                event = self._event(position, reason(errors), len(rest))
                notice = self._notice(event, WARNING)
            outcome, taken = self._offer(position, rest, notice)
            if event is not None and taken:
                self._switch(position, event)
            notice = None
            answers.append(outcome)
            rest = outcome.unwritten
            if outcome.failure is None:
                break
            errors[position] = outcome.failure
            self._failed(position)
        rejected = [record for outcome in answers for record in outcome.rejected]
        if rest:
            self.ledger.count("failover.all_failed")
            raise all_failed(self.name, errors, in_order(batch, (*rejected, *rest)))
        if rejected:
            why = next(outcome.refusal for outcome in answers if outcome.rejected)
            msg = f"{self.name}: {len(rejected)} record(s) refused for good: {why}"
            raise SinkRejectedError(msg, in_order(batch, rejected)) from why

    def _order(self) -> list[int]:
        """The active one, those after it, and at last those that are preferred but failed before."""
        number = len(self._alternatives)
        return [*range(self._active, number), *range(self._active)]

    def _probe(
        self, batch: Sequence[Record], answers: list[Outcome], errors: dict[int, SinkError]
    ) -> tuple[Sequence[Record], Record | None]:
        """Give the first record to a preferred alternative whose time has come.

        Returns:
            What is left of *batch*, and the notice of a fail-back if there was one.
        """
        record, rest = tuple(batch[:1]), tuple(batch[1:])
        for position in range(self._active):
            alternative = self._alternatives[position]
            if self._clock.monotonic() < alternative.probe_at:
                continue
            outcome, _ = self._offer(position, record, None)
            if outcome.failure is not None:
                errors[position] = outcome.failure
                self._failed(position)
                if outcome.unwritten:
                    continue
                return rest, None  # it failed, and yet says that it took the record
            answers.append(outcome)
            alternative.successes += 1
            alternative.probe_at = self._clock.monotonic() + self._interval
            if alternative.successes < self._probes:
                return rest, None
            why = f"{alternative.successes} successful probe(s) of {alternative.sink.name}"
            event = self._event(position, why, len(rest))
            self._switch(position, event)
            return rest, self._notice(event, INFO)
        return batch, None

    def _offer(
        self, position: int, records: Sequence[Record], notice: Record | None
    ) -> tuple[Outcome, bool]:
        """Write *records*, after *notice*; return what became of them, and whether it got any.

        One call for both: a notice that needed its own could hang or fail on its own, too.
        """
        alternative = self._alternatives[position]
        if notice is None:
            outcome = alternative.offer(records)
            answered = outcome.failure is None or len(outcome.unwritten) < len(records)
            return outcome, answered
        outcome = alternative.offer((notice, *records))
        left = len(outcome.unwritten)
        unwritten = tuple(record for record in outcome.unwritten if record is not notice)
        refused = tuple(record for record in outcome.rejected if record is not notice)
        if len(unwritten) == left and len(refused) == len(outcome.rejected):
            self.ledger.passed((notice,))
        answered = outcome.failure is None or left <= len(records)
        return Outcome(unwritten, refused, outcome.failure, outcome.refusal), answered

    def _failed(self, position: int) -> None:
        alternative = self._alternatives[position]
        alternative.successes = 0
        alternative.probe_at = self._clock.monotonic() + self._interval

    # -- telling ----------------------------------------------------------------------------------

    def _event(self, target: int, why: str, in_flight: int) -> SwitchEvent:
        return SwitchEvent(
            sink=self.name,
            source=self._alternatives[self._active].sink.name,
            target=self._alternatives[target].sink.name,
            reason=why,
            recovered=target < self._active,
            at=self._clock.time(),
            in_flight=in_flight,
        )

    def _notice(self, event: SwitchEvent, level: int) -> Record:
        fields = {
            "sink": event.sink,
            "source": event.source,
            "target": event.target,
            "reason": event.reason,
            "recovered": event.recovered,
            "in_flight": event.in_flight,
        }
        return self.notice(level, "sink.switch", fields)

    def _switch(self, target: int, event: SwitchEvent) -> None:
        self._active = target
        self.ledger.count("failover.switches")
        self._publish()
        self._events.append(event)

    def _publish(self) -> None:
        """Bring the ``failover.active`` details up to date; a pipeline may have renamed the sinks."""
        wanted: dict[str, float] = {}
        with self.ledger.lock:  # statistics() may be called from any thread
            for position, child in enumerate(self.children):
                label = f"failover.active.{child.name}"
                if label in wanted:  # two of a kind, and nobody has made the names unique
                    label = f"{label}#{position + 1}"
                wanted[label] = float(position == self._active)
            for label in self._published.keys() - wanted.keys():
                self.ledger.details.pop(label, None)
            self.ledger.details.update(wanted)
            self._published = wanted
            self._names = [child.name for child in self.children]

    def _announce(self) -> None:
        """Call ``on_switch`` for what happened.  A callback that logs may come back in here."""
        if self._announcing or not self._events:
            return
        self._announcing = True
        events, self._events = self._events, []
        try:
            for event in events:
                self._tell(event)
        finally:
            self._announcing = False

    def _tell(self, event: SwitchEvent) -> None:
        diagnostics.report(
            f"failover {self.name}",
            f"{self.name} switched from {event.source} to {event.target}: {event.reason}",
        )
        if self._on_switch is None:
            return
        try:
            self._on_switch(event)
        except Exception as error:
            diagnostics.report(f"on_switch {self.name}", f"on_switch of {self.name} raised", error)
