"""What the failover tests share: numbered records, and a look at what the alternatives got."""

from __future__ import annotations

from pylog_struct.record import Record


def batch(*numbers: int, level: int = 20) -> list[Record]:
    """Records whose lines are their numbers."""
    return [Record(level, str(number).encode()) for number in numbers]


def numbers(sink) -> list[int]:
    """The numbered records that *sink* got; notices are left out."""
    return [int(record.line) for record in sink.records if record.line.isdigit()]


def notices(sink) -> list[dict]:
    """The ``sink.switch`` notices that *sink* got."""
    return [
        dict(record.fields)
        for record in sink.records
        if record.fields.get("event") == "sink.switch"
    ]


def details(sink) -> dict[str, float]:
    """The details of the sink's ledger, without the name of the family."""
    return {
        key.removeprefix("failover."): value for key, value in sink.statistics().details.items()
    }
