"""A scrape: families from wherever they are, in one answer, whatever one of the collectors does.

Of two families that cannot stand in one answer the first one wins:

- the same name and type: one family; of two samples with the same labels the first one counts
- the same name and another type, or a name that the other one's samples have: the later one is left out
"""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

from prometheus_client import REGISTRY, CollectorRegistry, Metric

from pylog_struct import diagnostics
from pylog_struct._exposition import FreshMetric
from pylog_struct.active import ACTIVE
from pylog_struct.errors import ConfigError
from pylog_struct.metrics import _ATTRIBUTE, is_multiprocess
from pylog_struct.web._multiprocess.directory import collect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Collector", "Families", "Scraper", "directory_of", "encoded"]

_SUFFIXES: Final = {
    "counter": ("_total", "_created"),
    "summary": ("_sum", "_count", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "info": ("_info",),
}


class Collector(Protocol):
    """Whatever has families: a registry of prometheus-client, or one of its collectors."""

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        ...


def _trouble(kind: str, message: str, error: BaseException | None = None) -> None:
    """Report something that is missing from a scrape, and count it."""
    diagnostics.report(f"scrape {kind}", f"scrape: {message}", error)
    pipeline = ACTIVE.pipeline
    if pipeline is not None:
        pipeline.counts.error("scrape")


def directory_of(given: str | os.PathLike[str] | None) -> str | None:
    """Return the directory of the multiprocess mode: the given one, or the environment's, if any."""
    if given is not None:
        return os.fspath(given)
    if not is_multiprocess():
        return None
    environment = os.environ
    return environment.get(
        "PROMETHEUS_MULTIPROC_DIR", environment.get("prometheus_multiproc_dir", "")
    )


class Families:
    """The families of one answer; prometheus-client's encoders take it for a registry."""

    def __init__(self, families: Iterable[Metric] = ()) -> None:
        self._found: dict[str, Metric] = {}
        self._taken: dict[str, str] = {}  # names of samples, by whose they are
        for family in families:
            self.add(family)

    def collect(self) -> Iterable[Metric]:
        """Return all of them, in the order in which they came."""
        return list(self._found.values())

    def add(self, family: Metric) -> None:
        """Add a family, or what of it fits."""
        name = family.name
        there = self._found.get(name)
        if there is not None and there.type == family.type:
            self._found[name] = _united(there, family)
            return
        names = [name, *(f"{name}{suffix}" for suffix in _SUFFIXES.get(family.type, ()))]
        rival = next((self._taken[each] for each in names if each in self._taken), None)
        if rival is not None:
            _trouble("clash", f"{family.type} {name} clashes with {rival} and is left out")
            return
        self._found[name] = family
        self._taken.update(dict.fromkeys(names, f"{family.type} {name}"))


def _united(one: Metric, other: Metric) -> Metric:
    """Return one family of two; neither is changed, since a collector may keep it."""
    known = {_series(sample) for sample in one.samples}
    fresh = [sample for sample in other.samples if _series(sample) not in known]
    if len(fresh) < len(other.samples):
        number = len(other.samples) - len(fresh)
        _trouble("duplicate", f"{number} samples of {one.name} are there twice: the first ones win")
    return _with_samples(one, [*one.samples, *fresh])


def _series(sample: Any) -> tuple[Any, frozenset[Any]]:
    return sample.name, frozenset(sample.labels.items())


def _with_samples(family: Metric, samples: list[Any]) -> Metric:
    made = copy.copy(family)
    made.samples = samples
    return made


class Scraper:
    """What is asked at a scrape.  Threads: thread-safe, if the collectors are."""

    def __init__(
        self,
        registry: Collector | Sequence[Collector] | None,
        collectors: Iterable[Collector],
        multiprocess_dir: str | os.PathLike[str] | None,
        *,
        fold: bool,
    ) -> None:
        self._registries = _checked_registries(registry)
        self._collectors = _checked_collectors("collectors", collectors)
        if not isinstance(multiprocess_dir, str | os.PathLike | None) or multiprocess_dir == "":
            msg = f"multiprocess_dir: {multiprocess_dir!r} is not the path of a directory"
            raise ConfigError(msg)
        self._directory = multiprocess_dir
        self._fold = fold

    def families(self, names: frozenset[str] | None = None) -> Families:
        """Return all families, or with *names* those samples only.

        Raises:
            OSError: the directory of the multiprocess mode is not there.
        """
        directory = directory_of(self._directory)
        asked: list[tuple[Any, Sequence[str]]] = []
        if directory is None:
            for registry in self._registries:
                asked += _inside(registry)
            found = Families()
        else:
            for registry in self._registries:  # our own numbers as they are now: in the files
                _bring_up_to_date(registry)
            everything = collect(directory, folding=self._fold, trouble=_trouble)
            found = Families(_chosen(everything, names))
        for extra in self._collectors:
            asked += _inside(extra)
        seen: set[Any] = set()
        for collector, described in asked:
            if names is not None and described and names.isdisjoint(described):
                continue  # nobody asked for these: as in prometheus-client, it is not even called
            own = getattr(collector, "_name", None) if isinstance(collector, FreshMetric) else None
            key = own or id(collector)  # our own numbers are the same in every registry
            if key in seen:
                continue
            seen.add(key)
            for family in _collected(collector, names):
                found.add(family)
        return found


def _bring_up_to_date(registry: Any) -> None:
    """Publish our own numbers, if they are in this registry."""
    publish = getattr(getattr(registry, _ATTRIBUTE, None), "publish", None)
    if publish is not None:
        publish()


def _inside(registry: Any) -> list[tuple[Any, Sequence[str]]]:
    """Return the collectors of a registry with the names that they described.

    One by one, since ``CollectorRegistry.collect`` ends at the first one that raises.  Anything else
    with a ``collect`` is a single collector.
    """
    if not isinstance(registry, CollectorRegistry):
        return [(registry, ())]
    with registry._lock:
        found: list[tuple[Any, Sequence[str]]] = list(registry._collector_to_names.items())
    target = registry.get_target_info()
    if target:
        found.insert(0, (_Target(target), ("target_info",)))
    return found


class _Target:
    """The target's description, which a registry keeps beside its collectors."""

    def __init__(self, labels: dict[str, str]) -> None:
        self._labels = labels

    def collect(self) -> Iterable[Metric]:
        family = Metric("target", "Target metadata", "info")
        family.add_sample("target_info", self._labels, 1)
        return [family]


def _collected(collector: Any, names: frozenset[str] | None) -> Iterable[Metric]:
    """Ask a collector; of one that raises, or yields what is no family, nothing."""
    try:
        families = list(collector.collect())
        for family in families:
            if not isinstance(family, Metric):
                msg = f"it yielded a {type(family).__name__}, not a Metric"
                raise TypeError(msg)
            for sample in family.samples:
                _series(sample)
        return _chosen(families, names)
    except Exception as error:
        name = getattr(collector, "_name", None) or type(collector).__name__
        _trouble(f"collector {name}", f"collector {name} raised and is left out", error)
        return []


def _chosen(families: Iterable[Metric], names: frozenset[str] | None) -> Iterable[Metric]:
    """The samples of these names."""
    if names is None:
        return families
    found = []
    for family in families:
        samples = [sample for sample in family.samples if sample.name in names]
        if samples:
            found.append(_with_samples(family, samples))
    return found


def encoded(encoder: Callable[[Any], bytes], families: Families) -> bytes:
    """Return the families as text, without those that cannot be."""
    try:
        return encoder(families)
    except Exception:
        good = []
        for family in families.collect():
            try:
                encoder(_Single(family))
            except Exception as error:
                _trouble("text", f"{family.name!s} cannot be written and is left out", error)
            else:
                good.append(family)
        return encoder(_Single(*good))


class _Single:
    """A registry of just these families."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _checked_registries(registry: Any) -> tuple[Any, ...]:
    if registry is None:
        return (REGISTRY,)
    if isinstance(registry, list | tuple):
        found = _checked_collectors("registry", registry)
        if not found:
            msg = "registry: an empty list; name one registry at least, or leave it out"
            raise ConfigError(msg)
        return found
    return _checked_collectors("registry", (registry,))


def _checked_collectors(argument: str, given: Any) -> tuple[Any, ...]:
    try:
        found = tuple(given)
    except TypeError as error:
        msg = f"{argument}: {given!r} is not a list of collectors"
        raise ConfigError(msg) from error
    for each in found:
        if isinstance(each, type) or not callable(getattr(each, "collect", None)):
            msg = f"{argument}: {each!r} is no registry or collector: it has no collect()"
            raise ConfigError(msg)
    return tuple({id(each): each for each in found}.values())
