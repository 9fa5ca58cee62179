"""What came from the network, as text that cannot hurt: bounded, in one line, valid Unicode."""

from __future__ import annotations

from typing import Final

__all__ = ["AGENT_MAX", "PATH_MAX", "QUERY_MAX", "shown"]

PATH_MAX: Final = 2048
"""Characters of a path that are logged."""
QUERY_MAX: Final = 2048
"""Characters of a query string."""
AGENT_MAX: Final = 512
"""Characters of a user agent."""

_MARK: Final = "…"


def shown(text: str, longest: int) -> str:
    """Return *text* with everything escaped that does not print, and no longer than *longest*.

    A control character would be safe in JSON, but not on a terminal; half a surrogate pair is no
    Unicode.  Both become escapes, as Python writes them.
    """
    if len(text) <= longest and text.isprintable():  # nearly always: one look, no copy
        return text
    cut = text[:longest]
    if not cut.isprintable():
        cut = "".join([each if each.isprintable() else ascii(each)[1:-1] for each in cut])
    if len(cut) > longest or len(text) > longest:
        return cut[: longest - 1] + _MARK
    return cut
