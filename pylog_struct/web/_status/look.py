"""One look at everything that an answer of the status page is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pylog_struct._frozen import frozen
from pylog_struct.web._status import units
from pylog_struct.web._status.history import HISTORY, SPAN, Sample, Totals, rates, series, totals
from pylog_struct.web._status.html import Html, element
from pylog_struct.web._status.svg import sparkline
from pylog_struct.web._status.verdict import State, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylog_struct.web._status.reading import SinkReading

__all__ = ["Look", "lost", "pill", "received", "waiting", "written"]

_WORDS: Final = {
    State.OK: "OK",
    State.DEGRADED: "Degraded",
    State.FAILING: "Failing",
}


@frozen
class Look:
    """Everything that one answer is made of, taken at one time."""

    verdict: Verdict
    now: float
    """Monotonic, as the samples."""
    samples: Sequence[Sample]

    @classmethod
    def take(cls) -> Look:
        """Look now."""
        verdict = HISTORY.look()
        now, samples = HISTORY.samples()
        return cls(verdict, now, samples)

    def rate(self, reading: SinkReading, value: Callable[[Totals], float]) -> float | None:
        """How much *value* of a sink grows per second."""
        return rates(self.now, self.samples, reading.name, totals(reading), value)

    def plot(
        self,
        reading: SinkReading,
        value: Callable[[Totals], float],
        what: str,
        tone: str,
        *,
        growth: bool = True,
    ) -> Html:
        """Draw the last minutes of *value*, with its peak in words."""
        points = series(self.samples, reading.name, value, growth=growth)
        most = max((number for _, number in points), default=0.0)
        now = units.rate(points[-1][1]) if points else "unknown"
        label = (
            f"{what} of {reading.name} over the last {units.span(SPAN)}: "
            f"{now} now, {units.rate(most)} at most"
        )
        return sparkline(points, self.now, label, tone)

    def write_time(self, reading: SinkReading) -> float | None:
        """Mean duration of a write lately, in seconds."""
        calls = self.rate(reading, lambda sink: sink.writes)
        spent = self.rate(reading, lambda sink: sink.write_seconds)
        return spent / calls if calls and spent is not None else None


def received(sink: Totals) -> float:
    """Records that came in."""
    return sink.received


def written(sink: Totals) -> float:
    """Records that went on."""
    return sink.written


def lost(sink: Totals) -> float:
    """Records that were lost."""
    return sink.lost


def waiting(sink: Totals) -> float:
    """Records that wait."""
    return sink.waiting


def pill(state: State) -> Html:
    """Say a state as a word in its colour."""
    return element("span", _WORDS[state], class_=f"pill {state.value}")
