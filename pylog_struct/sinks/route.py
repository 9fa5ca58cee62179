"""One sink of several for each record, by a field or by predicates."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pylog_struct import diagnostics
from pylog_struct.errors import ConfigError
from pylog_struct.ledger import DropReason
from pylog_struct.sinks._checks import check_path
from pylog_struct.sinks._lookup import as_text, lookup
from pylog_struct.sinks._refusals import Refusals, attempt, marks
from pylog_struct.sinks.base import BaseSink, adopt

if TYPE_CHECKING:
    from pylog_struct.protocols import Sink
    from pylog_struct.record import Record

__all__ = ["Predicate", "RouteSink"]

Predicate = Callable[["Record"], Any]


class RouteSink(BaseSink):
    """Sends each record to one of several sinks.

    Accepted means: accepted by the sink of its route, or dropped here on purpose because no route
    matches and there is no *default* (reason ``unrouted``).  Each sink gets its part of a batch in
    one call, in order, whatever becomes of the other parts.

    One error names all records that no sink took, in the order of the batch; it is retryable if any
    of them is.  Rejected ones beside retryable ones are dropped here (``rejected``) and reported,
    because one error cannot say both.

    Args:
        routes: Values of *key* with their sinks; or, in order, pairs of a predicate and a sink: the
            first predicate that holds decides.  Sinks are owned, and closed with this one; one
            sink may serve several routes.
        key: A field (dotted path; a literal dotted key wins over nesting), or a function of the
            record; only with values.  Values are compared as JSON text: ``404`` matches ``"404"``.
        default: Gets what no route matches, also when *key* or a predicate raises (which is
            reported on the diagnostics channel).
        name: The sink's name in metrics and statistics.

    Raises:
        ConfigError: no routes, values without *key* or predicates with one, a value that is no
            text, number or bool, or something that is no sink.

    Threads: one caller at a time.  Blocks: as long as its sinks, one after the other.
    """

    type_name = "route"

    def __init__(
        self,
        routes: Mapping[Any, Sink] | Sequence[tuple[Predicate, Sink]],
        *,
        key: str | Callable[[Record], Any] | None = None,
        default: Sink | None = None,
        name: str | None = None,
    ) -> None:
        by_value = isinstance(routes, Mapping)
        _check_routes(routes)
        _check_key(key, by_value=by_value)
        adopted: dict[int, BaseSink] = {}  # one foreign object gets one ledger

        def take(sink: Sink, argument: str) -> BaseSink:
            return adopted.setdefault(id(sink), adopt(sink, argument))

        self._key = key
        self._by_value: dict[str, BaseSink] = {}
        self._predicates: list[tuple[Predicate, BaseSink]] = []
        if isinstance(routes, Mapping):
            for value, sink in routes.items():
                text = _route_text(value)
                if text in self._by_value:
                    msg = f"RouteSink.routes: {value!r} is there twice (as JSON text); give it one sink"
                    raise ConfigError(msg)
                self._by_value[text] = take(sink, f"RouteSink.routes[{value!r}]")
        else:
            for position, pair in enumerate(routes):
                predicate, sink = _pair(pair, position)
                taken = take(sink, f"RouteSink.routes[{position}]")
                self._predicates.append((predicate, taken))
        self._default = None if default is None else take(default, "RouteSink.default")
        super().__init__(name=name, children=tuple(adopted.values()))

    def write(self, batch: Sequence[Record], /) -> None:
        """Take charge of *batch*; see :class:`pylog_struct.protocols.Sink`."""
        self._require_open(batch)
        parts: dict[int, tuple[BaseSink, list[Record]]] = {}
        unrouted: list[Record] = []
        for record in batch:
            sink = self._choose(record)
            if sink is None:
                unrouted.append(record)
            else:
                parts.setdefault(id(sink), (sink, []))[1].append(record)
        if unrouted:
            self.ledger.refused(unrouted, DropReason.UNROUTED)
        refusals = Refusals(self)
        for sink, part in parts.values():
            self._pass(sink, part, refusals)
        refusals.settle(batch)

    def _pass(self, sink: BaseSink, part: list[Record], refusals: Refusals) -> None:
        started = time.perf_counter()
        error = attempt(sink, part)
        seconds = time.perf_counter() - started
        if error is None:
            self.ledger.passed(part, seconds=seconds)
            return
        self.ledger.failed(error, seconds=seconds)
        missing = marks(part, error.unwritten)
        self.ledger.passed([record for record, one in zip(part, missing, strict=True) if not one])
        refusals.add(error, [record for record, one in zip(part, missing, strict=True) if one])

    def _choose(self, record: Record) -> BaseSink | None:
        try:
            if self._key is None:
                for predicate, sink in self._predicates:
                    if predicate(record):
                        return sink
                return self._default
            value = (
                lookup(record.fields, self._key)
                if isinstance(self._key, str)
                else self._key(record)
            )
            text = as_text(value)
        except Exception as error:
            where = "dropped" if self._default is None else "sent to the default"
            text = f"{self.name}: choosing a route failed; the record is {where}"
            diagnostics.report(f"route {self.name}", text, error)
            return self._default
        return self._default if text is None else self._by_value.get(text, self._default)


def _check_routes(routes: Any) -> None:
    if not isinstance(routes, Mapping | Sequence) or isinstance(routes, str | bytes) or not routes:
        msg = (
            f"RouteSink.routes: {routes!r} is no route;"
            " use {value: sink, …} with key, or [(predicate, sink), …]"
        )
        raise ConfigError(msg)


def _check_key(key: Any, *, by_value: bool) -> None:
    if not by_value and key is not None:
        msg = f"RouteSink.key: {key!r} has no meaning with predicates; use {{value: sink, …}} or no key"
        raise ConfigError(msg)
    if by_value and not callable(key):
        check_path(key, "RouteSink.key")


def _route_text(value: Any) -> str:
    text = as_text(value)
    if text is None:
        msg = f"RouteSink.routes: {value!r} is no value of a field; use text, a number or a bool"
        raise ConfigError(msg)
    return text


def _pair(pair: Any, position: int) -> tuple[Predicate, Sink]:
    if not isinstance(pair, Sequence) or len(pair) != 2 or not callable(pair[0]):
        msg = (
            f"RouteSink.routes[{position}]: {pair!r} is no route;"
            " use a pair of a predicate and a sink"
        )
        raise ConfigError(msg)
    return pair[0], pair[1]
