"""What a ``QueueSink`` can be told, checked once at construction."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Any, Final, Self

from pylog_struct._frozen import frozen
from pylog_struct.errors import ConfigError
from pylog_struct.levels import parse_level
from pylog_struct.sinks._checks import check_count, check_flag, is_file_name
from pylog_struct.units import parse_duration, parse_size

__all__ = ["Policy", "QueueOptions"]

_RESERVE_SHARE: Final = 16  # of capacity; 0 for a queue of fewer records than that


class Policy(StrEnum):
    """What a full queue does with a record below ``guarantee_level``."""

    DISCARD = "discard"
    """The new record is dropped."""
    DISCARD_OLDEST = "discard_oldest"
    """The oldest record below ``guarantee_level`` makes room."""
    DISCARD_LOW_LEVEL = "discard_low_level"
    """At or below ``low_level`` the new record is dropped; above it, as ``BLOCK``."""
    BLOCK = "block"
    """The caller waits for room as long as the sink makes progress."""

    @classmethod
    def parse(cls, value: object, argument: str) -> Policy:
        """Return the policy that *value* names, in any case, with or without underscores.

        Raises:
            ConfigError: there is no such policy.
        """
        if isinstance(value, str):
            wanted = value.strip().replace("_", "").replace("-", "").lower()
            for policy in cls:
                if policy.value.replace("_", "") == wanted:
                    return policy
        msg = f"{argument}: {value!r} is no policy; use {', '.join(map(repr, map(str, cls)))}"
        raise ConfigError(msg)


@frozen
class QueueOptions:
    """The checked form of the constructor's arguments; see there for their meaning."""

    capacity: int
    max_bytes: int
    policy: Policy
    low_level: int
    block_timeout: float
    guarantee_level: int
    guarantee_timeout: float
    reserve: int
    high_water: float | None
    batch_records: int
    batch_bytes: int
    linger: float
    spill: bool | str
    spill_max_bytes: int
    retry_min: float
    retry_max: float
    gap_notice: bool
    close_timeout: float

    @property
    def reserve_bytes(self) -> int:
        """The same share of ``max_bytes`` as ``reserve`` is of ``capacity``."""
        return self.max_bytes * self.reserve // self.capacity

    @classmethod
    def parse(cls, owner: str, **given: Any) -> Self:
        """Check what the constructor of *owner* was given.

        Raises:
            ConfigError: names ``owner.argument``, the value, and what would be right.
        """

        def at(argument: str) -> str:
            return f"{owner}.{argument}"

        capacity = check_count(given["capacity"], at("capacity"))
        reserve = given["reserve"]
        if reserve is None:
            reserve = capacity // _RESERVE_SHARE
        retry_min = parse_duration(given["retry_min"], at("retry_min"), exclusive=True)
        return cls(
            capacity=capacity,
            max_bytes=parse_size(given["max_bytes"], at("max_bytes")),
            policy=Policy.parse(given["policy"], at("policy")),
            low_level=parse_level(given["low_level"], at("low_level")),
            block_timeout=parse_duration(given["block_timeout"], at("block_timeout")),
            guarantee_level=parse_level(given["guarantee_level"], at("guarantee_level")),
            guarantee_timeout=parse_duration(given["guarantee_timeout"], at("guarantee_timeout")),
            reserve=_reserve(reserve, at("reserve"), capacity),
            high_water=_fraction(given["high_water"], at("high_water")),
            batch_records=check_count(given["batch_records"], at("batch_records")),
            batch_bytes=parse_size(given["batch_bytes"], at("batch_bytes")),
            linger=parse_duration(given["linger"], at("linger")),
            spill=_place(given["spill"], at("spill")),
            spill_max_bytes=parse_size(given["spill_max_bytes"], at("spill_max_bytes")),
            retry_min=retry_min,
            retry_max=parse_duration(given["retry_max"], at("retry_max"), minimum=retry_min),
            gap_notice=check_flag(given["gap_notice"], at("gap_notice")),
            close_timeout=parse_duration(given["close_timeout"], at("close_timeout")),
        )


def _reserve(value: Any, argument: str, capacity: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < capacity:
        return value
    msg = f"{argument}: {value!r} is no number of records; use a whole number from 0 to {capacity - 1}"
    raise ConfigError(msg)


def _fraction(value: object, argument: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    msg = f"{argument}: {value!r} is no fraction; use more than 0 and at most 1, or None for off"
    raise ConfigError(msg)


def _place(value: object, argument: str) -> bool | str:
    if isinstance(value, bool):
        return value
    if isinstance(value, str | os.PathLike):
        path = os.fspath(value)
        if is_file_name(path) and not path.endswith(os.sep):
            return path
    msg = (
        f"{argument}: {value!r} is no place for a spill file;"
        " use True (a private temporary file), a file path, or False (none)"
    )
    raise ConfigError(msg)
