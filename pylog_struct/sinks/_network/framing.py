"""How a receiver tells one record from the next on a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.record import Record
    from pylog_struct.sinks._network.rfc5424 import Header

__all__ = ["Framing", "FramingName"]

FramingName = Literal["newline", "octet_counting", "rfc5424", "rfc5424_newline"]


class Framing:
    """Turns records into the bytes that go over the wire.

    Args:
        name: What it is called in ``SocketSink``.
        header: The syslog header, for the two that have one.
        datagrams: Whether each record travels in a message of its own, which needs no frame.

    Sources: RFC 6587 (octet counting, and the "non-transparent framing" by newlines), RFC 5425 and
    RFC 5426 (syslog over TLS and UDP).
    """

    __slots__ = ("_counted", "_ended", "_header")

    def __init__(self, name: FramingName, header: Header | None, *, datagrams: bool) -> None:
        self._header = header if name.startswith("rfc5424") else None
        self._counted = not datagrams and name in ("octet_counting", "rfc5424")
        self._ended = not datagrams and not self._counted

    def frames(self, records: Sequence[Record]) -> list[bytes]:
        """Return one piece of bytes for each record.

        A line break inside a record, which a newline-framed receiver would take for its end,
        becomes a space: in JSON it can only stand between two tokens.
        """
        lines = [record[1] for record in records]
        if self._ended:
            lines = [line.replace(b"\n", b" ") if b"\n" in line else line for line in lines]
        if self._header is not None:
            of = self._header.of
            lines = [of(record) + line for record, line in zip(records, lines, strict=True)]
        if self._ended:
            return [line + b"\n" for line in lines]
        if self._counted:
            return [b"%d %b" % (len(line), line) for line in lines]
        return lines

    def forget(self) -> None:
        """Look host and process up again: for the child of a fork."""
        if self._header is not None:
            self._header.forget()
