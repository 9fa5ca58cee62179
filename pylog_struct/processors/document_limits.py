"""Documents of bounded size: no string, and no line, longer than what takes it in accepts.

What is left out is counted in the document itself, under ``pylog.truncated``: an array of texts,
one for each shortened field, such as ``"error.stack_trace: 52314 bytes left out"``.

What shrinks first, when a whole line is too long, until it fits:

1. the stack of the call and that of the exception, from the middle, down to 1,024 bytes each;
2. the longest strings of all other fields, down to 256 bytes, the longest one first;
3. the message and the exception's message in the same way;
4. fields are left out, the largest first;
5. of timestamp, level, message and schema version, only the message gets shorter.
"""

from __future__ import annotations

from typing import Final

from pylog_struct._frozen import frozen
from pylog_struct.processors._shrink import LINE_LEAST
from pylog_struct.units import parse_size

__all__ = ["CONTAINER", "DocumentLimits"]


@frozen(kw_only=True)
class DocumentLimits:
    """How long strings and lines may be, in bytes of UTF-8.

    Attributes:
        max_keyword: A string of any field but the two below.  The default is what Lucene takes as
            one term; a longer one makes Elasticsearch reject the document.
        max_message: The message, and that of the exception.
        max_stack: The stack of the exception as text, and that of the call.
        max_line: The whole line with its newline; None for no limit.  16,384 is where container
            runtimes cut.  At least 1,024.

    Each is a number of bytes, or text such as ``"16 KiB"``.  A string that is cut ends in ``…``,
    which counts; a stack has the gap in its middle.

    Raises:
        ConfigError: a limit is no size, below 64 bytes, or below 1,024 for the line.
    """

    max_keyword: int = 32_766
    max_message: int = 32_766
    max_stack: int = 32_766
    max_line: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_keyword", "max_message", "max_stack"):
            size = parse_size(getattr(self, name), f"DocumentLimits.{name}", minimum=64)
            object.__setattr__(self, name, size)
        if self.max_line is not None:
            size = parse_size(self.max_line, "DocumentLimits.max_line", minimum=LINE_LEAST)
            object.__setattr__(self, "max_line", size)


CONTAINER: Final = DocumentLimits(max_line=16_384)
"""The limits for standard output in a container: no line over 16,384 bytes, newline included."""
