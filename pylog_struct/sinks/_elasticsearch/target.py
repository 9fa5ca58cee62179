"""The data stream or index that a document goes to; an index may have the event's date in its name."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pylog_struct.errors import ConfigError

if TYPE_CHECKING:
    from pylog_struct.record import Record

__all__ = ["Target", "check_name"]

_FORBIDDEN: Final = set(' "*+/\\|?#>:,<')
_PATTERN: Final = re.compile(r"%d\{([^{}]*)\}")
_UNITS: Final = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H"}
_UNIT: Final = re.compile(r"[A-Za-z]+")
_LONGEST: Final = 255  # bytes; Elasticsearch's limit


def check_name(name: Any, argument: str) -> str:
    """Return *name* if Elasticsearch accepts it for an index or a data stream.

    Raises:
        ConfigError: it does not.  Source of the rules: the documentation of its create-index API.
    """
    right = isinstance(name, str) and bool(name) and name == name.lower()
    if right:
        right = not (set(name) & _FORBIDDEN) and name[0] not in "-_+." and name.isprintable()
        right = right and len(name.encode()) <= _LONGEST
    if not right:
        msg = (
            f"{argument}: {name!r} is no name of an index or data stream; use lower-case letters,"
            ' digits, "-", "_" and "." such as "logs-checkout-default"'
        )
        raise ConfigError(msg)
    return str(name)


class Target:
    """Exactly one of *data_stream* and *index*.

    Args:
        owner: The class whose arguments these are.
        data_stream: A data stream; it needs a template with ``data_stream``.
        index: An index or an alias; ``%d{yyyy.MM.dd}`` in it becomes the day (UTC) of each event.
        pipeline: The ingest pipeline to run, or None for the target's own.

    Raises:
        ConfigError: a name that the server would refuse, none or two of them.
    """

    def __init__(
        self,
        owner: str,
        data_stream: str | None,
        index: str | None,
        pipeline: str | None,
    ) -> None:
        if (data_stream is None) == (index is None):
            raise ConfigError(f"{owner}: give data_stream or index, one of them")
        self.is_data_stream = data_stream is not None
        self.name = self.pattern = ""
        if data_stream is not None:
            self.name = check_name(data_stream, f"{owner}.data_stream")
        elif isinstance(index, str) and "%" in index:
            self.pattern = _strftime(index, f"{owner}.index")
            check_name(datetime(2000, 1, 1, tzinfo=UTC).strftime(self.pattern), f"{owner}.index")
        else:
            self.name = check_name(index, f"{owner}.index")
        if pipeline is not None and (not isinstance(pipeline, str) or not pipeline):
            raise ConfigError(f"{owner}.pipeline: {pipeline!r} is no name of an ingest pipeline")
        # What is not asked for is not sent: an answer shrinks to a tenth.
        query = "filter_path=errors,items.*.status,items.*.error"
        if pipeline is not None:
            query += f"&pipeline={quote(pipeline, safe='')}"
        path = f"/{quote(self.name, safe='')}/_bulk" if self.name else "/_bulk"
        self.path = f"{path}?{query}"
        self._hour = -1
        self._hour_name = ""

    def action(self, record: Record, key: str, now: float) -> bytes:
        """The line that goes before the document *key* in a bulk request."""
        if not self.pattern:
            return b'{"create":{"_id":"%b"}}\n' % key.encode()
        moment = record.created or now
        hour = int(moment // 3600)
        if hour != self._hour:  # the finest unit of a pattern
            self._hour_name = datetime.fromtimestamp(moment, UTC).strftime(self.pattern)
            self._hour = hour
        name = self._hour_name.encode()
        return b'{"create":{"_index":"%b","_id":"%b"}}\n' % (name, key.encode())


def _strftime(index: str, argument: str) -> str:
    """Turn ``logs-%d{yyyy.MM.dd}`` into what ``strftime`` understands."""

    def unit(match: re.Match[str]) -> str:
        try:
            return _UNITS[match[0]]
        except KeyError:
            msg = f"{argument}: {match[0]!r} in {index!r} is no unit; use yyyy, MM, dd and HH"
            raise ConfigError(msg) from None

    found = _PATTERN.sub(lambda match: _UNIT.sub(unit, match[1]).replace("%", "\0"), index)
    if "%" in found or not _PATTERN.search(index):
        raise ConfigError(f'{argument}: {index!r} has a stray "%"; use %d{{yyyy.MM.dd}}')
    return found.replace("\0", "%")
