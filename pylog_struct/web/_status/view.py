"""What the status page says about the sinks: the verdict in words, the four numbers, and the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pylog_struct.web._status import look as looks
from pylog_struct.web._status import units
from pylog_struct.web._status.history import SPAN, Totals, series, totals
from pylog_struct.web._status.html import Html, element, join
from pylog_struct.web._status.look import Look, pill
from pylog_struct.web._status.svg import sparkline
from pylog_struct.web._status.tree import sink_tree
from pylog_struct.web._status.verdict import Reason, State, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylog_struct.web._status.reading import SinkReading

__all__ = ["everything"]

_SENTENCES: Final = {
    Reason.NOT_CONFIGURED: ("Logging is not configured in this process yet.", ""),
    Reason.SHUT_DOWN: ("The pipeline of this process was shut down.", ""),
    Reason.STUCK: ("Records wait in ", ", and none has got any further."),
    Reason.ALL_FAILED: ("Every alternative fails at ", "."),
    Reason.NOTHING_DELIVERED: ("Nothing gets through and records are given up at ", "."),
    Reason.ON_ALTERNATIVE: ("Not on the first choice: ", "."),
    Reason.QUEUE_HIGH: ("Nearly full: ", "."),
    Reason.DROPS: ("Records were dropped in the last minute by ", "."),
    Reason.SINK_ERRORS: ("Calls failed in the last minute at ", "."),
    Reason.ON_DISK: ("Records wait on disk for ", "."),
    Reason.BACKLOG: ("A branch is behind the others at ", "."),
    Reason.UNREADABLE: ("No answer in time from ", "."),
}
_NAMES_MAX: Final = 3


def verdict_banner(verdict: Verdict) -> Html:
    """Say how the pipeline is, and why."""
    said: list[object] = []
    if verdict.state is State.OK:
        said.append("Everything that is logged gets through.")
    for reason in verdict.reasons:
        before, after = _SENTENCES[reason]
        said += [" " if said else "", before, _names(verdict, reason), after]
    return element(
        "p",
        pill(verdict.state),
        element("span", *said),
        class_=f"banner {verdict.state.value}",
        role="status",
    )


def _names(verdict: Verdict, reason: Reason) -> Html:
    """The sinks that are the reason, by name."""
    names = [reading.name for reading, _, reasons in verdict.sinks if reason in reasons]
    shown: list[object] = []
    for name in names[:_NAMES_MAX]:
        shown += [", " if shown else "", element("code", name)]
    if len(names) > _NAMES_MAX:
        shown.append(f" and {len(names) - _NAMES_MAX} more")
    return join(shown)


def key_numbers(look: Look) -> Html | None:
    """Show what goes into the outermost sink, what comes out, and what waits or was lost in any."""
    if not look.verdict.sinks:
        return None
    readings = [reading for reading, _, _ in look.verdict.sinks]
    root = readings[0]
    found = [sink for reading in readings if (sink := totals(reading)) is not None]
    capacity = sum(reading.details.get("queue.capacity", 0) for reading in readings)
    waiting = sum(sink.waiting for sink in found)
    lost = sum(sink.lost for sink in found)
    waited = _of_all(look, looks.waiting, growth=False)
    where = f"of {units.amount(capacity)} places" if waiting <= capacity else "records"
    cards = (
        _card("Logged", look, root, looks.received, "events/s", "Events per second", "in"),
        _card("Delivered", look, root, looks.written, "records/s", "Records per second", "out"),
        _shown(
            "Waiting",
            units.amount(waiting),
            where if capacity else "records",
            _peak(waited, waiting),
            _drawn(look, waited, "Records waiting", "wait"),
        ),
        _shown(
            "Lost",
            units.amount(lost),
            "since the start",
            None,
            _drawn(look, _of_all(look, looks.lost, growth=True), "Records lost per second", "loss"),
            tone="bad" if lost else None,
        ),
    )
    return element("dl", *cards, class_="cards")


def _card(
    title: str,
    look: Look,
    root: SinkReading,
    value: Callable[[Totals], float],
    unit: str,
    what: str,
    tone: str,
) -> Html:
    plot = look.plot(root, value, what, tone)
    now = look.rate(root, value)
    points = series(look.samples, root.name, value, growth=True)
    return _shown(title, units.rate(now), unit, _peak(points, now or 0.0), plot)


def _shown(
    title: str, number: str, unit: str, peak: str | None, plot: Html, tone: str | None = None
) -> Html:
    return element(
        "div",
        element("dt", title, element("span", peak, class_="peak") if peak else None),
        element("dd", element("b", number, class_=tone), element("span", unit, class_="unit")),
        element("dd", plot, class_="plots"),
        class_="card",
    )


def _peak(points: Sequence[tuple[float, float]], now: float) -> str | None:
    """The most within the time that the plot shows, *now* too, which it does not show yet."""
    return f"max {units.rate(max(now, *(number for _, number in points)))}" if points else None


def _of_all(
    look: Look, value: Callable[[Totals], float], *, growth: bool
) -> list[tuple[float, float]]:
    """The sum over all sinks, by time."""
    sums: dict[float, float] = {}
    for reading, _, _ in look.verdict.sinks:
        for at, number in series(look.samples, reading.name, value, growth=growth):
            sums[at] = sums.get(at, 0.0) + number
    return sorted(sums.items())


def _drawn(look: Look, points: Sequence[tuple[float, float]], what: str, tone: str) -> Html:
    most = max((number for _, number in points), default=0.0)
    label = f"{what} over the last {units.span(SPAN)}: {units.rate(most)} at most"
    return sparkline(points, look.now, label, tone)


def nothing_yet(verdict: Verdict) -> Html | None:
    """What to show in place of a tree."""
    if verdict.sinks:
        return None
    return element(
        "div",
        element("h3", "Nothing is configured in this process"),
        element(
            "p",
            "Call ",
            element("code", "pylog_struct.configure()"),
            " and this page draws its sinks. Under several workers each has its own.",
        ),
        class_="empty",
    )


def everything(look: Look) -> Html:
    """The live part about the sinks."""
    return join((
        verdict_banner(look.verdict),
        key_numbers(look),
        element(
            "section",
            element(
                "h2",
                "Sinks",
                element("span", f"plots: out/s in the last {units.span(SPAN)}", class_="note")
                if look.verdict.sinks
                else None,
            ),
            sink_tree(look) or nothing_yet(look.verdict),
        ),
    ))  # fmt: skip
