"""Waiting for a socket, with a bound, on every system."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

__all__ = ["wait_for"]


def wait_for(
    sock: socket.socket, timeout: float, *, read: bool = False, write: bool = False
) -> bool:
    """Return whether *sock* became ready (or broken, which the next call on it will tell) in time.

    Args:
        sock: An open socket.
        timeout: Seconds; 0.0 asks without waiting.
        read: Wait until something can be read.
        write: Wait until something can be written.
    """
    if hasattr(select, "poll"):  # has no limit to the number of a descriptor, as select() has
        poller = select.poll()
        poller.register(sock, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
        return bool(poller.poll(max(timeout, 0.0) * 1000))
    readable = [sock] if read else []
    writable = [sock] if write else []
    ready = select.select(readable, writable, [sock], max(timeout, 0.0))
    return any(ready)
