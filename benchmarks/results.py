"""Reading what was measured: medians over the rounds, by scenario, contestant and options."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any


class Results:
    """The part ``scenarios`` of a benchmark's JSON.

    Args:
        scenarios: Scenario → its cases, each with ``contestant``, ``options``, ``runs`` and, for
            those that did not get through, ``missing`` or ``error``.
    """

    def __init__(self, scenarios: dict[str, list[dict[str, Any]]]) -> None:
        self._scenarios = scenarios

    def __contains__(self, scenario: str) -> bool:
        return bool(self._scenarios.get(scenario))

    def cases(self, scenario: str, contestant: str | None = None, **options: Any) -> Iterator[Any]:
        """Cases of a scenario that have these options."""
        for case in self._scenarios.get(scenario, ()):
            if contestant in (None, case["contestant"]) and all(
                case["options"].get(name) == value for name, value in options.items()
            ):
                yield case

    def value(self, scenario: str, contestant: str, key: str, **options: Any) -> float | None:
        """The median over the rounds; None if it was not measured."""
        for case in self.cases(scenario, contestant, **options):
            found = [run[key] for run in case["runs"] if run.get(key) is not None]
            if found:
                return median(found)
        return None

    def option(self, scenario: str, contestant: str, name: str) -> Any:
        """What an option was, for the first case of a contestant."""
        for case in self.cases(scenario, contestant):
            return case["options"].get(name)
        return None

    def lost(self, scenario: str, contestant: str, **options: Any) -> int:
        """Lines that were missing in the files, in all rounds together."""
        cases = self.cases(scenario, contestant, **options)
        return int(sum(run.get("lost", 0) for case in cases for run in case["runs"]))

    def absent(self) -> dict[str, str]:
        """Contestants that are not installed, and what Python said."""
        return {
            case["contestant"]: case["missing"]
            for cases in self._scenarios.values()
            for case in cases
            if "missing" in case
        }

    def troubles(self) -> list[tuple[str, str, str]]:
        """Scenario, contestant and what went wrong, for all that failed."""
        return [
            (name, case["contestant"], case["error"])
            for name, cases in self._scenarios.items()
            for case in cases
            if "error" in case
        ]

    def losses(self) -> list[tuple[str, str, int]]:
        """Scenario, contestant and number of lost lines, for all that lost some (or wrote too many)."""
        pairs = {
            (name, case["contestant"]): None
            for name, cases in self._scenarios.items()
            for case in cases
        }
        found = [(name, who, self.lost(name, who)) for name, who in pairs]
        return [row for row in found if row[2]]
