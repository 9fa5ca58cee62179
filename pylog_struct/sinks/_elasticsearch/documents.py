"""From a record's line to a document: the bytes as they are, unless the server could not take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from pylog_struct.levels import level_label
from pylog_struct.notices import timestamp

if TYPE_CHECKING:
    from pylog_struct.record import Record

__all__ = ["as_document", "stub"]

_TEXTS: Final = frozenset({"message", "event", "msg"})
_TEXT_MAX: Final = 8192  # bytes that a stub keeps of the message
_VALUE_MAX: Final = 512  # bytes that another value may have to stay in a stub
_STUB_MAX: Final = 32 * 1024
_READABLE: Final = 64 << 20  # bytes above which a line is not even decoded


def as_document(record: Record, now: float, *, needs_timestamp: bool) -> bytes:
    """Return what is sent for *record*: its line, byte for byte, in all but three cases.

    A newline inside (JSON allows it between values) would end the document, and becomes a space.  A
    line that is no JSON object is put into one, under ``message``.  A data stream refuses a document
    without ``@timestamp``: one is put in front, from the time of the call.
    """
    line = record[1]
    if not (line.startswith(b"{") and line.endswith(b"}")):
        line = line.strip()
        if not _is_object(line):
            return _wrapped(record, now)
    if b"\n" in line:
        line = line.replace(b"\n", b" ")
    if needs_timestamp and not line.startswith(b'{"@timestamp"') and b'"@timestamp"' not in line:
        moment = timestamp(record.created or now).encode()
        comma = b"," if line[1:-1].strip() else b""
        return b'{"@timestamp":"%b"%b%b' % (moment, comma, line[1:])
    return line


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _decoded(line: bytes) -> dict[str, Any]:
    """The fields of a line, none if it is no JSON object or too long to be looked at."""
    try:
        found = orjson.loads(line) if len(line) <= _READABLE else None
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {}


def _wrapped(record: Record, now: float) -> bytes:
    return orjson.dumps(
        {
            "@timestamp": timestamp(record.created or now),
            "log.level": level_label(record.level),
            "message": record.line.decode("utf-8", "replace"),
        }
    )


def stub(record: Record, now: float, reason: str) -> bytes:
    """Return what stands in for a document that is too big: small, valid, and saying so.

    It keeps the short values at the top of the line under their own keys, and the beginning of the
    message; ``pylog.truncated`` says why, and ``pylog.original_bytes`` how long the line was.
    """
    document: dict[str, Any] = {"@timestamp": timestamp(record.created or now)}
    fields = _decoded(record.line)
    if not any(key in fields for key in ("level", "log.level", "log")):
        document["log.level"] = level_label(record.level)
    room = _STUB_MAX
    for key, value in fields.items():
        kept = _shortened(key, value)
        size = len(key.encode("utf-8", "surrogatepass")) + len(kept or b"")
        if kept is not None and size <= room:
            document[key] = orjson.Fragment(kept)
            room -= size
    if _TEXTS.isdisjoint(document):
        document["message"] = _prefix(record.line[:_TEXT_MAX].decode("utf-8", "replace"))
    document["pylog.truncated"] = [f"document: replaced by this stub, {reason[:_VALUE_MAX]}"]
    document["pylog.original_bytes"] = len(record.line)
    return orjson.dumps(document)


def _shortened(key: str, value: Any) -> bytes | None:
    if key in _TEXTS and isinstance(value, str):
        return orjson.dumps(_prefix(value))
    if isinstance(value, str) and len(value) > _VALUE_MAX:
        return None
    if isinstance(value, list | dict) and len(value) > 16:
        return None
    data = orjson.dumps(value)
    return data if len(data) <= _VALUE_MAX else None


def _prefix(text: str) -> str:
    data = text[:_TEXT_MAX].encode("utf-8", "replace")
    return data[:_TEXT_MAX].decode("utf-8", "ignore")
