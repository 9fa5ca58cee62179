"""One record, one datagram: UDP and Unix datagram sockets."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from typing import TYPE_CHECKING, Final

from pylog_struct import diagnostics
from pylog_struct.errors import SinkError, SinkTimeoutError, SinkUnavailableError
from pylog_struct.sinks._network.waiting import wait_for
from pylog_struct.sinks.base import Deadline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.ledger import SinkLedger
    from pylog_struct.sinks._network.address import Address
    from pylog_struct.sinks._network.backoff import Backoff

__all__ = ["Datagrams"]

_NAP: Final = 0.002  # seconds, where the kernel is out of buffers: no readiness tells of those


class Datagrams:
    """One connected datagram socket at a time.

    Args:
        address: Where to.
        write_timeout: Seconds for one :meth:`send`.
        backoff: When to try again.
        ledger: Where sockets are counted.
        name: The sink's, for messages.
    """

    def __init__(
        self,
        address: Address,
        *,
        write_timeout: float,
        backoff: Backoff,
        ledger: SinkLedger,
        name: str,
    ) -> None:
        self._address = address
        self._write_timeout = write_timeout
        self._backoff = backoff
        self._ledger = ledger
        self._name = name
        self._sock: socket.socket | None = None
        self._trouble: OSError | None = None
        self._stalled = False

    def send(self, frames: Sequence[bytes]) -> tuple[int, list[int], SinkError | None]:
        """Send each frame as one datagram, in order.

        Returns:
            How many were dealt with, the positions of those that are too large for a datagram, and
            why not all were dealt with.
        """
        too_large: list[int] = []
        deadline = Deadline(0.0 if self._stalled else self._write_timeout)
        reopened = False
        position = 0
        while position < len(frames):
            try:
                self._send(frames[position], deadline)
            except SinkError as error:
                return position, too_large, error
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    too_large.append(position)
                elif self._may_reopen(error) and not reopened:
                    reopened = True  # a receiver that was started again has another socket
                    self._drop()
                    continue
                else:
                    return position, too_large, self._failed(error)
            position += 1
        self._stalled = False
        return position, too_large, None

    def _may_reopen(self, error: OSError) -> bool:
        # An error of UDP is the network's answer to an earlier datagram: sent anew, this one would
        # seem to succeed for ever.
        return self._address.local and not isinstance(error, TimeoutError)

    def _send(self, frame: bytes, deadline: Deadline) -> None:
        sock = self._sock or self._open()
        while True:
            try:
                sock.send(frame)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS):
                    raise
                self._wait(sock, error, deadline)
            else:
                return

    def _wait(self, sock: socket.socket, busy: OSError, deadline: Deadline) -> None:
        left = deadline.remaining() or 0.0
        if left > 0:
            if busy.errno == errno.ENOBUFS:
                time.sleep(min(_NAP, left))
                return
            if wait_for(sock, left, write=True):
                return
        self._stalled = True
        raise SinkTimeoutError(f"{self._name}: {self._address} does not read") from busy

    def _open(self) -> socket.socket:
        self._backoff.check(f"{self._name}: {self._address} is down", self._trouble)
        try:
            sock = _connected(self._address)
        except (OSError, ValueError) as error:
            raise self._failed(error) from error
        self._sock = sock
        self._ledger.count("socket.connects")
        self._ledger.set("socket.connected", 1)
        return sock

    def _failed(self, error: OSError | ValueError) -> SinkUnavailableError:
        self._backoff.failed()
        self._trouble = error if isinstance(error, OSError) else None
        self._drop()
        text = f"{self._name}: {self._address}: {diagnostics.describe(error)}"
        unavailable = SinkUnavailableError(text)
        unavailable.retry_after = self._backoff.remaining()
        unavailable.__cause__ = error
        return unavailable

    def _drop(self) -> None:
        self._stalled = False
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.close()
            self._sock = None
            self._ledger.count("socket.disconnects")
            self._ledger.set("socket.connected", 0)

    def close(self) -> None:
        """Close the socket; nothing waits here: a datagram is the kernel's or the caller's."""
        self._drop()

    def forget(self) -> None:
        """Use a socket of its own from now on: for the child of a fork."""
        self._drop()
        self._trouble = None
        self._backoff.reset()


def _connected(address: Address) -> socket.socket:
    if address.local:
        return _opened(socket.AF_UNIX, address.path)
    error: OSError | None = None
    for family, _, _, _, target in socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_DGRAM
    ):
        try:
            return _opened(family, target)
        except OSError as failure:
            error = failure
    raise error or OSError(errno.EADDRNOTAVAIL, f"{address.host} has no address")


def _opened(family: int, target: object) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.settimeout(0.0)
        sock.connect(target)  # type: ignore[arg-type]
    except BaseException:
        sock.close()
        raise
    return sock
