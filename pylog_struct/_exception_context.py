"""What was bound where an exception came from, for whoever logs it after that is gone.

A server logs the exception of a request when the request's context variables are reset already.  The
middleware that resets them leaves a copy with the exception; the stdlib's door reads it there.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from pylog_struct.structlog_context import current_context

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["context_of", "leave_context"]

_NAME: Final = "_pylog_struct_context"
_CHAIN_MAX: Final = 8
_NOTHING: Final[Mapping[str, Any]] = {}


def leave_context(error: BaseException, known: Mapping[str, Any] = _NOTHING) -> None:
    """Keep what is bound now with *error*, and of what is *known* what is not bound (any more)."""
    with suppress(Exception):  # an exception that takes no attributes: its line has no id
        setattr(error, _NAME, {**known, **current_context()})


def context_of(error: BaseException | None) -> Mapping[str, Any]:
    """Return what was kept with *error*, or with what it was raised from; without what is bound now."""
    for _ in range(_CHAIN_MAX):
        if error is None:
            break
        found = error.__dict__.get(_NAME)
        if type(found) is dict:
            bound = current_context()
            return {key: value for key, value in found.items() if key not in bound}
        error = error.__cause__ or error.__context__
    return _NOTHING
