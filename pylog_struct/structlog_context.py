"""structlog's context variables, read quickly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog
from structlog.contextvars import STRUCTLOG_KEY_PREFIX

if TYPE_CHECKING:
    from contextvars import ContextVar

__all__ = ["CONTEXT_VARIABLES", "current_context"]

CONTEXT_VARIABLES: Final[dict[str, ContextVar[Any]]] = structlog.contextvars._CONTEXT_VARS
"""structlog's own table: empty until somebody binds the first one, which is all that most events ask."""

_PREFIX: Final = len(STRUCTLOG_KEY_PREFIX)


def current_context() -> dict[str, Any]:
    """Return what is bound here: ``structlog.contextvars.get_contextvars`` by another way.

    That one walks over all variables of the context, whoever's they are, in a copy of it.
    """
    found: dict[str, Any] = {}
    for key, variable in CONTEXT_VARIABLES.copy().items():  # another thread may bind a new name
        value = variable.get(Ellipsis)
        if value is not Ellipsis:
            found[key[_PREFIX:]] = value
    return found
