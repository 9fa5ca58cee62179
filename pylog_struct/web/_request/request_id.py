"""Request ids: made here, or taken from a peer that is trusted, and then only if they are harmless."""

from __future__ import annotations

import re
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Final

from pylog_struct import fork
from pylog_struct.web._request.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["IDS", "REQUEST_ID_MAX", "RequestIds", "accepted_id", "rejected_id"]

REQUEST_ID_MAX: Final = 128
"""Characters of an id that is taken from a header."""

# Every character is safe in a header, a URL, a shell word and a file name.
_SAFE: Final[Callable[[str], object]] = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._~+/=:@-]{0,127}\Z"
).match

_REJECTED_MAX: Final = 64
_BITS: Final = 128
_SEED_BITS: Final = 512


def accepted_id(value: str) -> str | None:
    """Return *value* if it can be used as an id: 1 to 128 letters, digits and ``._~+/=:@-``."""
    return value if _SAFE(value) else None


def rejected_id(value: str) -> str:
    """Return what is kept of an id that cannot be used: short, and one line."""
    return shown(value, _REJECTED_MAX)


class RequestIds:
    """Makes ids of 32 hexadecimal digits: as many as a trace id has.

    The random numbers begin with one of the system's, and are then made here: a call to the system
    for each request would cost more than all else.  An id is unique, and no secret.

    Threads: thread-safe.  Fork: the child begins anew, and never repeats one of its parent's.
    """

    def __init__(self) -> None:
        self._begin()
        fork.register(self)

    def _begin(self) -> None:
        self._bits = Random(SystemRandom().getrandbits(_SEED_BITS)).getrandbits  # noqa: S311 - no secret

    def _after_fork_in_child(self) -> None:
        self._begin()

    def new(self) -> str:
        """Return an id that nobody else has."""
        return f"{self._bits(_BITS):032x}"


IDS: Final = RequestIds()
"""Those of this process."""
