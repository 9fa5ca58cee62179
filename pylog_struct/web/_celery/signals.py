"""Receivers of Celery's signals in their right place: the context is bound first and restored last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["connect", "disconnect", "move"]

_UID: Final = "pylog_struct"


def connect(signal: Any, receiver: Callable[..., None], *, first: bool = False) -> None:
    """Connect *receiver*, the only one of ours: behind those that are there, or before them."""
    disconnect(signal)
    signal.connect(receiver, dispatch_uid=_UID, weak=False)
    if first:
        move(signal, last=False)


def disconnect(signal: Any) -> None:
    """Take ours away, if it is there."""
    signal.disconnect(dispatch_uid=_UID)


def move(signal: Any, *, last: bool) -> None:
    """Make ours the last receiver that is called, or the first; the user's see its context then."""
    with signal.lock:
        ours = [entry for entry in signal.receivers if entry[0][0] == _UID]
        others = [entry for entry in signal.receivers if entry[0][0] != _UID]
        signal.receivers[:] = others + ours if last else ours + others
        signal.sender_receivers_cache.clear()
