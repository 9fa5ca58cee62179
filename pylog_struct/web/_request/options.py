"""The options that every request middleware has: their names, types, defaults and checks, in one place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypedDict

from pylog_struct.errors import ConfigError
from pylog_struct.levels import ERROR, INFO, WARNING, parse_level
from pylog_struct.units import parse_duration
from pylog_struct.web._request.client import FORWARDED, FORWARDED_FOR, Proxies

if TYPE_CHECKING:
    from pylog_struct.web.flight import FlightRecorder

__all__ = ["DEFAULTS", "Options", "RequestKeywords", "default_level"]


class RequestKeywords(TypedDict, total=False):
    """The keywords of :class:`~pylog_struct.web.RequestMiddleware` and its relatives."""

    logger: str
    header: str
    trust_request_id: bool
    trust_traceparent: bool
    trusted_proxies: Iterable[str]
    client_header: str
    exclude: Iterable[str]
    sample: float
    level_for: Callable[[int], int | str] | None
    slow: float | str | None
    query: bool
    exceptions: bool
    recorder: FlightRecorder | None


DEFAULTS: Final[RequestKeywords] = {
    "logger": "pylog_struct.access",
    "header": "X-Request-ID",
    "trust_request_id": False,
    "trust_traceparent": True,
    "trusted_proxies": (),
    "client_header": "X-Forwarded-For",
    "exclude": (),
    "sample": 1.0,
    "level_for": None,
    "slow": None,
    "query": False,
    "exceptions": False,
    "recorder": None,
}

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z")


def default_level(status: int) -> int:
    """INFO, from 400 on WARNING, from 500 on ERROR."""
    return INFO if status < 400 else WARNING if status < 500 else ERROR


class Options:
    """The options of one middleware, checked.

    Args:
        owner: The name of the class that has them, for errors.
        given: What its user wrote.

    Raises:
        ConfigError: an option is unknown, or its value nonsense.
    """

    def __init__(self, owner: str, given: RequestKeywords) -> None:
        unknown = [name for name in given if name not in DEFAULTS]
        if unknown:
            raise ConfigError(f"{owner}: {_hints(unknown)}; there are {', '.join(DEFAULTS)}")
        all_: dict[str, Any] = {**DEFAULTS, **given}
        for name in ("trust_request_id", "trust_traceparent", "query", "exceptions"):
            if not isinstance(all_[name], bool):
                raise ConfigError(f"{owner}.{name}: {all_[name]!r} is neither True nor False")
        self.logger = _text(f"{owner}.logger", all_["logger"], "a logger's name")
        self.header: str = all_["header"]
        if not isinstance(self.header, str) or not _TOKEN.match(self.header):
            raise ConfigError(
                f"{owner}.header: {self.header!r} is no name of a header such as 'X-Request-ID'"
            )
        self.trust_request_id: bool = all_["trust_request_id"]
        self.trust_traceparent: bool = all_["trust_traceparent"]
        self.query: bool = all_["query"]
        self.exceptions: bool = all_["exceptions"]
        self.proxies = _proxies(owner, all_["trusted_proxies"], all_["client_header"])
        self.excluded, self.excluded_prefixes = _paths(f"{owner}.exclude", all_["exclude"])
        self.sample = _share(f"{owner}.sample", all_["sample"])
        self.level_for: Callable[[int], int | str] = all_["level_for"] or default_level
        if not callable(self.level_for):
            raise ConfigError(
                f"{owner}.level_for: {self.level_for!r} cannot be called; use a function from a"
                " status to a level"
            )
        slow = all_["slow"]
        self.slow = None if slow is None else parse_duration(slow, f"{owner}.slow", exclusive=True)
        """Seconds."""
        self.recorder: FlightRecorder | None = all_["recorder"]
        if self.recorder is not None and not hasattr(self.recorder, "start"):
            raise ConfigError(f"{owner}.recorder: {self.recorder!r} is no FlightRecorder")

    def level(self, status: int) -> int:
        """Return the level of an access event.

        Raises:
            Exception: the user's function failed, or returned no level.
        """
        return parse_level(self.level_for(status), "level_for")

    def excludes(self, path: str) -> bool:
        """Whether requests of *path* have no access event."""
        return path in self.excluded or (
            bool(self.excluded_prefixes) and path.startswith(self.excluded_prefixes)
        )


def _hints(unknown: list[str]) -> str:
    import difflib  # noqa: PLC0415 - only on the way to an error

    hints = []
    for name in sorted(map(str, unknown)):
        near = difflib.get_close_matches(name, DEFAULTS, 1)
        hints.append(f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    return f"unknown option {', '.join(hints)}"


def _text(argument: str, value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{argument}: {value!r} is not {what}; use a text that is not empty")
    return value


def _proxies(owner: str, trusted: Any, header: Any) -> Proxies | None:
    known = {FORWARDED, FORWARDED_FOR}
    name = header.lower() if isinstance(header, str) else header
    if name not in known:
        raise ConfigError(
            f"{owner}.client_header: {header!r} is neither 'X-Forwarded-For' nor 'Forwarded'"
        )
    if isinstance(trusted, str | bytes) or not isinstance(trusted, Iterable):
        raise ConfigError(
            f"{owner}.trusted_proxies: {trusted!r} is no list of addresses and networks"
        )
    addresses = tuple(trusted)
    try:
        return Proxies(addresses, name) if addresses else None
    except ConfigError as error:
        raise ConfigError(f"{owner}.{error}") from None


def _paths(argument: str, paths: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return paths as they are, and what those that end with an asterisk begin with."""
    if isinstance(paths, str | bytes) or not isinstance(paths, Iterable):
        raise ConfigError(
            f"{argument}: {paths!r} is no list of paths; use ['/health', '/static/*']"
        )
    found = tuple(paths)
    for path in found:
        if not isinstance(path, str) or not path.startswith("/") or "*" in path[:-1]:
            raise ConfigError(
                f"{argument}: {path!r} is no path; use one that begins with a slash, with an"
                " asterisk at its end for all below it"
            )
    exact = frozenset(path for path in found if not path.endswith("*"))
    return exact, tuple(path[:-1] for path in found if path.endswith("*"))


def _share(argument: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ConfigError(f"{argument}: {value!r} is no share; use a number from 0 to 1")
    return float(value)
