"""What all processes together say: a directory of prometheus-client's multiprocess mode as families."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson
from prometheus_client import Metric

from pylog_struct import diagnostics
from pylog_struct.web._multiprocess.files import (
    CorruptFileError,
    listing,
    read,
    read_archive,
)
from pylog_struct.web._multiprocess.folding import fold
from pylog_struct.web._multiprocess.liveness import is_dead
from pylog_struct.web._multiprocess.lock import locked
from pylog_struct.web._multiprocess.rules import is_dropped, merge, rule_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.web._multiprocess.files import ValueFile, Values

__all__ = ["Trouble", "collect", "fold_directory"]

FOLD_WAIT: Final = 0.25
"""Seconds a fold waits for scrapes to end; after that it is the next one's turn."""
READ_WAIT: Final = 1.0
"""Seconds a scrape waits for a fold to end; after that it reads what there is."""
_TRIES: Final = 3  # more looks without the lock, while files come and go

Trouble: TypeAlias = "Callable[[str, str, BaseException | None], None]"
"""Called with a kind of problem, a sentence and what was raised."""


def fold_directory(directory: str) -> int:
    """Fold what is dead in *directory*; return how many files went away.  Never raises."""
    try:
        with locked(directory, exclusive=True, timeout=FOLD_WAIT) as held:
            return fold(directory) if held else 0
    except OSError as error:
        diagnostics.report("metrics.fold", f"cannot fold the files in {directory}", error)
        return 0


def collect(directory: str, *, folding: bool, trouble: Trouble) -> list[Metric]:
    """Return the families of all processes; with *folding*, of dead ones only what still counts.

    Blocks: up to ``FOLD_WAIT`` and ``READ_WAIT`` seconds, if somebody sits on the lock.

    Raises:
        OSError: there is no such directory.
    """
    if folding and any(file.claimed or is_dead(file) for file in listing(directory)):
        fold_directory(directory)
    with locked(directory, exclusive=False, timeout=READ_WAIT) as held:
        reading = _Reading(directory, folding=folding, trouble=trouble)
        for _ in range(_TRIES):
            if held or not reading.vanished:
                break
            reading = _Reading(directory, folding=folding, trouble=trouble)
    return reading.families()


class _Reading:
    """One look at all files."""

    def __init__(self, directory: str, *, folding: bool, trouble: Trouble) -> None:
        self._trouble = trouble
        self._sums: dict[tuple[str, str], Values] = {}
        self._single: list[tuple[str, str, Values]] = []
        self.vanished = False
        files = listing(directory)
        contained: set[str] = set()
        for file in files:
            if file.is_archive:
                contained |= self._read_archive(file)
        for file in files:
            if file.is_archive or file.name in contained:
                continue
            if folding and is_dropped(file.mode) and is_dead(file):
                continue
            values = self._read(file)
            if values is not None:
                self._take(file, values)

    def _read_archive(self, file: ValueFile) -> frozenset[str]:
        try:
            values, contained = read_archive(file.path)
        except (CorruptFileError, OSError) as error:
            self._unreadable(file, error)
            return frozenset()
        self._take(file, values)
        return contained

    def _read(self, file: ValueFile) -> Values | None:
        try:
            return read(file.path)
        except FileNotFoundError:
            self.vanished = True
        except (CorruptFileError, OSError) as error:
            self._unreadable(file, error)
        return None

    def _unreadable(self, file: ValueFile, error: Exception) -> None:
        self._trouble("file", f"{file.name} cannot be read and is left out", error)

    def _take(self, file: ValueFile, values: Values) -> None:
        rule = rule_for(file.mode)
        if rule is None:
            self._single.append((file.mode, file.owner, values))
        else:
            kind = file.kind.partition("_")[0]
            merge(self._sums.setdefault((kind, file.mode), {}), values, rule)

    def families(self) -> list[Metric]:
        found: dict[tuple[str, str, str], _Family] = {}
        for (kind, mode), values in self._sums.items():
            self._sort(found, kind, mode, values, ())
        for mode, owner, values in self._single:
            self._sort(found, "gauge", mode, values, (("pid", owner),))
        return [family.metric() for family in found.values()]

    def _sort(
        self,
        found: dict[tuple[str, str, str], _Family],
        kind: str,
        mode: str,
        values: Values,
        more: tuple[tuple[str, str], ...],
    ) -> None:
        """Put the values under their families."""
        for key, pair in values.items():
            try:
                name, sample, labels, text = orjson.loads(key)
                family = found.get((name, kind, mode))
                if family is None:
                    family = found[name, kind, mode] = _Family(Metric(name, text, kind), mode)
                family.add(sample, tuple(sorted(labels.items())) + more, pair)
            except (ValueError, TypeError, AttributeError) as error:
                self._trouble("file", "an entry that makes no sense is left out", error)


class _Family:
    """The samples of one name, of one kind and mode."""

    def __init__(self, metric: Metric, mode: str) -> None:
        self._metric = metric
        self._mode = mode
        self._rule = rule_for(mode)
        self._series: dict[tuple[tuple[str, str], ...], dict[Any, tuple[float, float]]] = {}

    def add(
        self, sample: str, labels: tuple[tuple[str, str], ...], pair: tuple[float, float]
    ) -> None:
        """Add a value; two of one series are of workers with different help texts."""
        bound = None
        if self._metric.type == "histogram":
            for label in labels:
                if label[0] == "le":
                    bound = label[1]
                    float(bound)
                    labels = tuple(other for other in labels if other is not label)
                    break
        series = self._series.setdefault(labels, {})
        key = sample if bound is None else (sample, bound)
        before = series.get(key)
        series[key] = pair if before is None or self._rule is None else self._rule(before, pair)

    def metric(self) -> Metric:
        """Return it as prometheus-client has it: the buckets cumulated, with a count."""
        add = self._metric.add_sample
        name = self._metric.name
        latest = self._mode.endswith("mostrecent")
        for labels, series in self._series.items():
            buckets = [
                (float(key[1]), key, pair[0]) for key, pair in series.items() if type(key) is tuple
            ]
            total = 0.0
            for _, (sample, bound), value in sorted(buckets):
                total += value
                add(sample, {**dict(labels), "le": bound}, total)
            for key, pair in series.items():
                # A time of 0: it was never set.
                if type(key) is str and not (latest and pair[1] == 0):
                    add(key, dict(labels), pair[0])
            if buckets:
                add(f"{name}_count", dict(labels), total)
        return self._metric
