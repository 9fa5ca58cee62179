"""How values of several processes become one: what a multiprocess mode means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pylog_struct.web._multiprocess.files import Values

__all__ = ["is_dropped", "merge", "rule_for"]

_Pair: TypeAlias = "tuple[float, float]"  # a value and its time
Rule: TypeAlias = "Callable[[_Pair, _Pair], _Pair]"


def _add(one: _Pair, other: _Pair) -> _Pair:
    return one[0] + other[0], 0.0


def _least(one: _Pair, other: _Pair) -> _Pair:
    return other if other[0] < one[0] else one


def _most(one: _Pair, other: _Pair) -> _Pair:
    return other if other[0] > one[0] else one


def _latest(one: _Pair, other: _Pair) -> _Pair:
    return other if other[1] > one[1] else one


_BY_MODE: Final[Mapping[str, Rule]] = {
    "": _add,  # counters, histograms, summaries
    "sum": _add,
    "min": _least,
    "max": _most,
    "mostrecent": _latest,
}


def rule_for(mode: str) -> Rule | None:
    """Return how two values become one; None if each process has a series of its own."""
    return _BY_MODE.get(mode.removeprefix("live"))


def is_dropped(mode: str) -> bool:
    """Whether the values of a dead process count no more.

    Those of ``live…`` are meant to go with it.  In ``all`` each process has its own series, and
    keeping one for every process that ever was is a leak.
    """
    return mode == "all" or mode.startswith("live")


def merge(into: Values, values: Values, rule: Rule) -> None:
    """Merge *values* into *into*."""
    if rule is _add:  # nearly all of them: no call for each
        for key, (value, _) in values.items():
            before = into.get(key)
            into[key] = (value, 0.0) if before is None else (before[0] + value, 0.0)
        return
    for key, pair in values.items():
        before = into.get(key)
        into[key] = pair if before is None else rule(before, pair)
