"""The console renderer: one event dict → one line for people, and the stack below it.

    2026-11-23T19:34:57.123456Z [info    ] order placed                   order_id=7 [shop.orders]

What came from outside cannot act on the terminal or pose as another event: control characters,
line separators and bidi controls are shown as escapes everywhere, and every further line (only a
stack has any) is indented.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from pylog_struct.processors._text import clean, cut, type_name
from pylog_struct.processors.limits import DEFAULT_LIMITS, Limits
from pylog_struct.processors.safe_repr import safe_repr
from pylog_struct.processors.sanitise import Sanitiser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pylog_struct.processors.json_renderer import OnError

__all__ = ["ConsoleRenderer", "escape_controls"]

# C0, DEL, C1 (with U+0085), the line and paragraph separator, and what reorders text.
_CONTROLS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]"
)
_BARE: Final = re.compile(r"[^\s\"'=\\\[\]{},]+")
_NAMED: Final = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_INDENT: Final = "    "
_FIXED: Final = frozenset(("timestamp", "level", "event", "logger", "exception", "stack"))

_RESET: Final = "\x1b[0m"
_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_CYAN: Final = "\x1b[36m"
_MAGENTA: Final = "\x1b[35m"
_BLUE: Final = "\x1b[34m"
_LEVELS: Final = {
    "debug": "\x1b[32m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "exception": "\x1b[31m",
    "critical": "\x1b[1;31m",
}


def escape_controls(text: str) -> str:
    r"""Return *text* with each control character as its escape: ``\n``, ``\x1b``, ``\u2028``."""
    return _CONTROLS.sub(_escaped, clean(text))


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


class ConsoleRenderer:
    """The last processor of a chain that writes to a terminal.

    Args:
        colors: Use ANSI colours.  Without them no escape sequence is written at all.
        limits: What is kept of values that have no end.
        event_width: Columns that the event's text takes at least, so that the keys line up.
        on_error: Called with ``"render"`` and the error when only a stub could be shown.

    Returns bytes (UTF-8) without a newline at the end; never raises.  Picklable if *on_error* is.
    Threads: thread-safe, holds no state.
    """

    __slots__ = ("_colors", "_event_width", "_limits", "_on_error")

    def __init__(
        self,
        colors: bool = False,
        *,
        limits: Limits = DEFAULT_LIMITS,
        event_width: int = 30,
        on_error: OnError | None = None,
    ) -> None:
        self._colors = colors
        self._limits = limits
        self._event_width = event_width
        self._on_error = on_error

    def __call__(self, _logger: Any, _method_name: str, event_dict: Mapping[str, Any], /) -> bytes:
        """Render the event."""
        try:
            return self._render(event_dict).encode("utf-8", "backslashreplace")
        except Exception as error:
            return self._stub(event_dict, error)

    def _stub(self, event_dict: Any, error: BaseException) -> bytes:
        try:
            if self._on_error is not None:
                self._on_error("render", error)
        except Exception:  # the hook is how trouble is told; there is no other
            pass
        try:
            kind = type_name(type(event_dict))
            reason = cut(safe_repr(error), 1_000)
            return escape_controls(f"<unrenderable {kind}: {reason}>").encode()
        except Exception:
            return b"<unrenderable event: no memory or stack>"

    def _render(self, event_dict: Mapping[str, Any]) -> str:
        safe = Sanitiser(self._limits).value(event_dict, 1)
        if type(safe) is not dict:
            safe = {"event": safe}
        parts: list[str] = []
        if "timestamp" in safe:
            parts.append(self._colored(_DIM, _inline(safe["timestamp"])))
        if "level" in safe:
            level = _inline(safe["level"])
            parts.append(f"[{self._colored(_LEVELS.get(level, _BOLD), f'{level:<8}')}]")
        pairs = [
            f"{self._colored(_CYAN, _inline(key))}={self._colored(_MAGENTA, _quoted(value))}"
            for key, value in safe.items()
            if key not in _FIXED
        ]
        event = _inline(safe.get("event", ""))
        if pairs or "logger" in safe:
            event = event.ljust(self._event_width)
        parts.append(self._colored(_BOLD, event))
        parts += pairs
        if "logger" in safe:
            parts.append(f"[{self._colored(_BLUE, _inline(safe['logger']))}]")
        lines = [" ".join(parts)]
        for key in ("stack", "exception"):
            if safe.get(key) is not None:
                lines += [_INDENT + escape_controls(line) for line in _lines(safe[key])]
        return "\n".join(lines)

    def _colored(self, color: str, text: str) -> str:
        return f"{color}{text}{_RESET}" if self._colors else text


def _lines(value: Any) -> list[str]:
    """The lines of a stack, or of what stands in its place."""
    if type(value) is dict and type(value.get("stack")) is str:
        value = value["stack"]
    return value.split("\n") if type(value) is str else [_inline(value)]


def _inline(value: Any) -> str:
    """A sanitised value as one line of text."""
    return escape_controls(value if type(value) is str else orjson.dumps(value).decode())


def _quoted(value: Any) -> str:
    """Like :func:`_inline`; a string that would run into its neighbours gets quotes."""
    if type(value) is not str:
        return _inline(value)
    if _BARE.fullmatch(value) is not None:
        return escape_controls(value)
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escape_controls(quoted)}"'
