"""Waiting for a socket, with a bound, on every system."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket

__all__ = ["LONGEST", "wait_for"]

LONGEST: Final = 1_000_000.0
"""Seconds (eleven days): as milliseconds what any system takes; longer timeouts mean this one."""


def wait_for(
    sock: socket.socket, timeout: float, *, read: bool = False, write: bool = False
) -> bool:
    """Return whether *sock* became ready (or broken, which the next call on it will tell) in time.

    Args:
        sock: An open socket.
        timeout: Seconds, at most ``LONGEST`` of them; 0.0 asks without waiting.
        read: Wait until something can be read.
        write: Wait until something can be written.
    """
    timeout = min(max(timeout, 0.0), LONGEST)
    if hasattr(select, "poll"):  # has no limit to the number of a descriptor, as select() has
        poller = select.poll()
        poller.register(sock, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
        return bool(poller.poll(timeout * 1000))
    readable = [sock] if read else []
    writable = [sock] if write else []
    ready = select.select(readable, writable, [sock], timeout)
    return any(ready)
