"""The header of RFC 5424: ``<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID SD``."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pylog_struct.errors import ConfigError
from pylog_struct.processors.timestamps import format_timestamp

if TYPE_CHECKING:
    from pylog_struct.record import Record

__all__ = ["FACILITIES", "Header"]

FACILITIES: Final[dict[str, int]] = {
    "kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7,
    "uucp": 8, "cron": 9, "authpriv": 10, "ftp": 11, "ntp": 12, "audit": 13, "alert": 14,
    "clock": 15, "local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20,
    "local5": 21, "local6": 22, "local7": 23,
}  # fmt: skip

# From this level up → severity; NOTICE is the one of syslog between INFO and WARNING.
_SEVERITIES: Final = ((60, 1), (50, 2), (40, 3), (30, 4), (25, 5), (20, 6))
_DEBUG: Final = 7
_NIL: Final = "-"
_BOM: Final = b"\xef\xbb\xbf"
_VISIBLE: Final = re.compile(r"[!-~]+")  # PRINTUSASCII
_SD_NAME: Final = re.compile(r"[!#-<>-\\^-~]{1,32}")  # the same without = ] and the quote


class Header:
    """Makes the header of each record; everything but severity and time is the same for all.

    Args:
        sink: The class to name in errors.
        facility: A name of :data:`FACILITIES` or its number.
        app_name: APP-NAME, up to 48 visible ASCII characters.
        hostname: HOSTNAME, up to 255; None takes the machine's name, at the first record.
        proc_id: PROCID, up to 128; None takes the process's number, also in the child of a fork.
        msg_id: MSGID, up to 32.
        structured_data: SD-ID → parameter → text.
        bom: Whether the message begins with the byte order mark that the RFC asks for in front of
            UTF-8.  Receivers that look for JSON stumble over it; without it the message is
            "MSG-ANY", which is right, too.

    Raises:
        ConfigError: one of them is not as the RFC has it.
    """

    __slots__ = ("_after", "_before", "_bom", "_facility", "_fixed", "_hostname", "_proc_id")

    def __init__(
        self,
        sink: str,
        *,
        facility: int | str,
        app_name: str | None,
        hostname: str | None,
        proc_id: str | None,
        msg_id: str | None,
        structured_data: Mapping[str, Mapping[str, Any]] | None,
        bom: bool,
    ) -> None:
        self._facility = _facility(facility, f"{sink}.facility")
        app = _visible(app_name, 48, f"{sink}.app_name") or _NIL
        self._hostname = _visible(hostname, 255, f"{sink}.hostname")
        self._proc_id = _visible(proc_id, 128, f"{sink}.proc_id")
        message = _visible(msg_id, 32, f"{sink}.msg_id") or _NIL
        data = _structured_data(structured_data, f"{sink}.structured_data")
        self._before = app
        self._after = f"{message} {data}"
        self._bom = _BOM if bom else b""
        self._fixed: bytes | None = None

    def forget(self) -> None:
        """Look host and process up again: for the child of a fork."""
        self._fixed = None

    def of(self, record: Record) -> bytes:
        """Return everything in front of the record's line, with the space and the mark."""
        fixed = self._fixed
        if fixed is None:
            host = self._hostname or _host_here()
            process = self._proc_id or str(os.getpid())
            fixed = self._fixed = (
                f"{host} {self._before} {process} {self._after} ".encode() + self._bom
            )
        level, created = record[0], record[2]
        severity = next((number for least, number in _SEVERITIES if level >= least), _DEBUG)
        when = format_timestamp(round(created * 1e6) * 1000) if created else _NIL
        return b"<%d>1 %b %b" % (self._facility * 8 + severity, when.encode(), fixed)


def _host_here() -> str:
    name = re.sub(r"[^!-~]", "", socket.gethostname())[:255]
    return name or _NIL


def _facility(value: Any, argument: str) -> int:
    if isinstance(value, str) and value.lower() in FACILITIES:
        return FACILITIES[value.lower()]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 23:
        return value
    msg = f"{argument}: {value!r} is no facility; use 0 to 23 or one of {', '.join(FACILITIES)}"
    raise ConfigError(msg)


def _visible(value: Any, longest: int, argument: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= longest and _VISIBLE.fullmatch(value):
        return value
    msg = f"{argument}: {value!r} does not fit; use 1 to {longest} visible ASCII characters"
    raise ConfigError(msg)


def _structured_data(value: Any, argument: str) -> str:
    if value is None:
        return _NIL
    elements: list[str] = []
    try:
        for identity, parameters in dict(value).items():
            names = [identity, *parameters]
            if not isinstance(parameters, Mapping) or not all(map(_SD_NAME.fullmatch, names)):
                raise TypeError
            texts = [f' {name}="{_escaped(text)}"' for name, text in parameters.items()]
            elements.append(f"[{identity}{''.join(texts)}]")
    except (TypeError, ValueError):
        msg = (
            f"{argument}: {value!r} is no structured data;"
            ' use {"id@32473": {"name": "text"}} with names of 1 to 32 visible ASCII characters'
        )
        raise ConfigError(msg) from None
    return "".join(elements) or _NIL


def _escaped(text: Any) -> str:
    return re.sub(r'(["\\\]])', r"\\\1", str(text).replace("\n", " "))
