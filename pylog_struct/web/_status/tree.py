"""The sinks drawn as a tree: what each of them does, and what only its kind does."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

from pylog_struct.web._status import look as looks
from pylog_struct.web._status import units
from pylog_struct.web._status.history import totals
from pylog_struct.web._status.html import Html, element, join
from pylog_struct.web._status.look import pill
from pylog_struct.web._status.svg import bar
from pylog_struct.web._status.verdict import Limits, Reason, State, active_of, fullness

if TYPE_CHECKING:
    from pylog_struct.web._status.look import Look
    from pylog_struct.web._status.reading import SinkReading

__all__ = ["sink_tree"]

_LIMITS: Final = Limits()
_MODULES: Final = re.compile(r"\b(?:[a-z_]\w*\.)+(?=[A-Z]\w*(?:Error|Exception)\b)")
_TITLES: Final = {
    "lost": "dropped, and nobody wanted that",
    "write": "mean duration of a write lately",
}
_DROP_WORDS: Final = {
    "queue_full": "queue full",
    "low_level": "low level shed",
    "block_timeout": "waited in vain",
    "guarantee_failed": "no place left",
    "not_triggered": "not triggered",
}


def sink_tree(look: Look) -> Html | None:
    """Draw the sinks as nested lists, each under the one that writes to it."""
    if not look.verdict.sinks:
        return None
    below: dict[str | None, list[Any]] = {}
    for entry in look.verdict.sinks:
        below.setdefault(entry[0].parent, []).append(entry)
    root = look.verdict.sinks[0]
    return element("ul", _branch(look, root, below, None), class_="tree")


def _branch(look: Look, entry: Any, below: dict[str | None, list[Any]], role: str | None) -> Html:
    reading, state, reasons = entry
    active = active_of(reading)
    inner = [
        _branch(look, child, below, _role(reading, child[0], active))
        for child in below.get(reading.name, ())
    ]
    return element(
        "li",
        _node(look, reading, state, reasons, role),
        element("ul", *inner, class_="branch") if inner else None,
        class_="active" if role == "active" else None,
    )


def _role(parent: SinkReading, child: SinkReading, active: str | None) -> str | None:
    if active is not None:
        names = [sink.name for sink in parent.sink.children]
        place = names.index(active) if active in names else 0
        return ("failed", "active", "standby")[(child.position >= place) + (child.position > place)]
    if parent.kind == "queue":
        return "dead letters" if child.position else None
    return None


def _node(
    look: Look, reading: SinkReading, state: State, reasons: tuple[Reason, ...], role: str | None
) -> Html:
    words = ", ".join(reason.value.replace("_", " ") for reason in reasons)
    kind = reading.kind.replace("_", " ")
    title = element(
        "div",
        element(
            "h3",
            element("span", reading.name, class_="name"),
            element("span", kind, class_="kind") if reading.kind != reading.name else None,
            element("span", role, class_=f"role {role.split()[0]}") if role else None,
        ),
        element("p", pill(state), element("span", words, class_="why") if words else None),
        class_="title",
    )
    return element(
        "article",
        element("div", title, _numbers(look, reading), class_="row"),
        _capacity(reading),
        _facts(reading),
        _last_error(reading),
        class_=f"sink {state.value}",
    )


def _numbers(look: Look, reading: SinkReading) -> Html:
    found = totals(reading)
    if found is None:
        return element("p", "It did not answer in time.", class_="quiet")
    cells = (
        ("in/s", units.rate(look.rate(reading, looks.received))),
        ("out/s", units.rate(look.rate(reading, looks.written))),
        ("waiting", units.amount(found.waiting)),
        ("lost", units.amount(found.lost)),
        ("write", units.seconds(look.write_time(reading))),
    )
    shown = [
        element(
            "div",
            element("dt", name, title=_TITLES.get(name)),
            element("dd", value, class_="bad" if name == "lost" and found.lost else None),
        )
        for name, value in cells
    ]
    plot = look.plot(reading, looks.written, "Records per second", "out")
    return join((element("dl", *shown, class_="numbers"), plot))


def _capacity(reading: SinkReading) -> Html | None:
    capacity = reading.details.get("queue.capacity")
    if not capacity or reading.statistics is None:
        return None
    full = fullness(reading)
    held = round(full * capacity)
    held_bytes = reading.details.get("queue.bytes", 0)
    peak = reading.details.get("queue.high_watermark", 0)
    words = f"{units.count(held)} of {units.count(capacity)} places"
    return element(
        "div",
        bar(full, _LIMITS.queue_high, f"{reading.name} is {full:.0%} full"),
        element(
            "p",
            element("span", f"{full:.0%} full", class_="strong"),
            element("span", words),
            element("span", units.size(held_bytes)),
            element("span", f"peak {units.count(peak)}"),
        ),
        class_="capacity",
    )


def _facts(reading: SinkReading) -> Html | None:
    """Show what only this kind of sink knows, and its drops."""
    details = reading.details
    facts: list[tuple[str, str, str]] = []
    for prefix, word in (("rollovers.", "roll-overs"), ("archives_deleted.", "archives deleted")):
        kinds = [
            f"{units.amount(number)} by {name.removeprefix(prefix).replace('_', ' ')}"
            for name, number in details.items()
            if name.startswith(prefix) and number
        ]
        if kinds:
            facts.append(("", word, ", ".join(kinds)))
    if switches := details.get("failover.switches"):
        facts.append(("", "switches", units.amount(switches)))
    if all_failed := details.get("failover.all_failed"):
        facts.append(("bad", "all failed", f"{units.amount(all_failed)} times"))
    if spooled := details.get("spool.records"):
        on_disk = f"{units.amount(spooled)} records, {units.size(details.get('spool.bytes', 0))}"
        facts.append(("warn", "on disk", on_disk))
    backlog = sum(n for name, n in details.items() if name.startswith("fanout.backlog."))
    if backlog:
        facts.append(("warn", "backlog", units.amount(backlog)))
    if retries := details.get("retry.attempts"):
        facts.append(("", "retries", units.amount(retries)))
    if restarts := details.get("worker.restarts"):
        facts.append(("warn", "worker restarts", units.amount(restarts)))
    if reading.statistics is not None:
        if written := reading.statistics.bytes_written:
            facts.append(("", "written", units.size(written)))
        if errors := sum(reading.statistics.errors.values()):
            facts.append(("warn", "failed calls", units.amount(errors)))
    for reason, levels in _drops(reading).items():
        each = ", ".join(f"{units.amount(number)} {level}" for level, number in levels)
        tone = "bad" if reading.unwanted(reason) else ""
        word = _DROP_WORDS.get(reason, reason.replace("_", " "))
        facts.append((tone, f"dropped: {word}", each))
    if not facts:
        return None
    items = [
        element("li", element("span", word), " ", element("b", text), class_=tone or None)
        for tone, word, text in facts
    ]
    return element("ul", *items, class_="facts")


def _drops(reading: SinkReading) -> dict[str, list[tuple[str, int]]]:
    order = ("critical", "error", "warning", "info", "debug")
    found: dict[str, list[tuple[str, int]]] = {}
    for (reason, level), number in sorted(
        reading.drops.items(), key=lambda item: (item[0][0], order.index(item[0][1]))
    ):
        found.setdefault(reason, []).append((level, number))
    return found


def _last_error(reading: SinkReading) -> Html | None:
    if reading.last_error is None:
        return None
    at, words = reading.last_error
    return element(
        "p",
        element("span", f"Last error, {units.ago(time.time() - at)}", class_="when"),
        element("code", _MODULES.sub("", words)[:500]),
        class_="last-error",
    )
