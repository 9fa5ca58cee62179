"""One open stream, TCP, TLS or Unix: bytes handed over are counted exactly, and nothing waits for ever."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import struct
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from pylog_struct.sinks._network.waiting import wait_for
from pylog_struct.sinks.base import Deadline

if sys.platform == "linux":
    import fcntl
    import termios

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.sinks._network.address import Address
    from pylog_struct.sinks._network.tls import Tls

__all__ = ["Connection", "PeerClosedError", "connect"]

_TLS_RECORD: Final = 16_384  # what one TLS record holds: more is not taken at a time
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_CHATTER: Final = 65_536  # bytes of a talkative peer that are thrown away at a time
_NAP: Final = (0.0005, 0.02)  # seconds between two looks at the send queue: the first, the longest


class PeerClosedError(OSError):
    """The peer said that it will not send any more: it is about to go, and in no trouble."""


class _Torn(NamedTuple):
    """A frame of which the kernel has only the first part."""

    frame: bytes
    sent: int


class Connection:
    """A connected stream, non-blocking underneath.

    Args:
        sock: A connected socket; this object closes it.
        now: The monotonic time of its beginning, seconds.

    Attributes:
        opened_at: That time.
        used: Whether the kernel ever took something.
        moved: Whether it did in the last :meth:`send`.
    """

    def __init__(self, sock: socket.socket, now: float) -> None:
        sock.settimeout(0.0)
        self._sock = sock
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._torn: _Torn | None = None
        self._left: int | None = None  # what was unconfirmed when a TLS peer ended it
        self.opened_at = now
        self.used = False
        self.moved = False

    # -- writing ----------------------------------------------------------------------------------

    def send(self, frames: Sequence[bytes], timeout: float) -> tuple[int, OSError | None]:
        """Hand *frames* to the kernel, in order, for at most *timeout* seconds.

        A frame that the kernel took a part of stays the caller's, and this object remembers it: as
        the first frame of a later call it goes on where it stopped.  See :meth:`fits`.

        Returns:
            How many frames were handed over whole, and why not all of them.
        """
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        skipped = 0 if self._torn is None else self._torn.sent
        sent = skipped
        error: OSError | None = None
        deadline = Deadline(timeout)
        view = memoryview(data)
        try:
            while sent < len(data):
                try:
                    sent += self._sock.send(
                        view[sent : sent + _TLS_RECORD] if self._tls else view[sent:]
                    )
                except _NOT_NOW as busy:
                    self._wait(busy, deadline)
        except OSError as failure:
            error = failure
        finally:  # also after a KeyboardInterrupt: what was begun must be known to the next call
            done = self._note(frames, sent)
            self.moved = sent > skipped
            self.used = self.used or self.moved
        return done, error

    def _wait(self, busy: OSError, deadline: Deadline) -> None:
        read = isinstance(busy, ssl.SSLWantReadError)
        if not wait_for(self._sock, deadline.remaining() or 0.0, read=read, write=not read):
            raise TimeoutError(errno.ETIMEDOUT, "the peer does not read")

    def _note(self, frames: Sequence[bytes], sent: int) -> int:
        done = 0
        for frame in frames:
            if sent < len(frame):
                self._torn = _Torn(frame, sent) if sent else None
                return done
            sent -= len(frame)
            done += 1
        self._torn = None
        return done

    def fits(self, frame: bytes) -> bool:
        """Whether *frame* may come next: any one, unless another was begun and not ended."""
        return self._torn is None or self._torn.frame == frame

    @property
    def resumable(self) -> bool:
        """Whether a frame that was begun can be continued; TLS would need the same bytes behind it."""
        return not self._tls

    # -- looking ----------------------------------------------------------------------------------

    def writable(self) -> bool:
        """Whether the peer (or the kernel) has room, now."""
        return wait_for(self._sock, 0.0, write=True)

    def ending(self) -> OSError | None:
        """Return how the peer ended the connection, a ``PeerClosedError`` if politely; None if it did not.

        A write alone would notice it one record too late.  What the peer says is thrown away:
        nobody here listens.
        """
        heard = 0
        # TLS answers an end with an alert, which nobody will confirm.
        left = self.unconfirmed() if self._tls else None
        try:
            while heard < _CHATTER:
                data = self._sock.recv(4096)
                if not data:
                    self._left = left
                    return PeerClosedError(errno.ENOTCONN, "the peer closed the connection")
                heard += len(data)
        except _NOT_NOW:
            return None
        except OSError as error:
            self._left = left
            return error
        return None

    def unconfirmed(self) -> int:
        """Bytes that the kernel took and the peer's has not confirmed (TCP) or the peer not read (Unix).

        0 where the system does not tell.
        """
        if self._left is not None:
            return self._left
        if sys.platform != "linux":
            return 0
        try:
            answer = fcntl.ioctl(self._sock, termios.TIOCOUTQ, b"\0\0\0\0")
        except (OSError, ValueError):
            return 0
        return int(struct.unpack("i", answer)[0])

    def drain(self, timeout: float) -> OSError | None:
        """Wait until nothing is unconfirmed; return why it still is."""
        deadline = Deadline(timeout)
        nap = _NAP[0]
        while left := self.unconfirmed():
            broken = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if broken:
                return OSError(broken, f"{left} byte(s) were not confirmed")
            if deadline.over:
                return TimeoutError(errno.ETIMEDOUT, f"{left} byte(s) are not confirmed yet")
            time.sleep(nap)
            nap = min(2 * nap, _NAP[1])
        return None

    # -- the end ----------------------------------------------------------------------------------

    def finish(self, timeout: float) -> OSError | None:
        """Say goodbye, wait until the peer has everything, close; return what went wrong."""
        deadline = Deadline(timeout)
        error: OSError | None = None
        try:
            error = self.drain(deadline.remaining() or 0.0)
            # Unread bytes would make close() a reset, which can cost data.
            if self.ending() is None and error is None:
                if isinstance(self._sock, ssl.SSLSocket):
                    self._say_goodbye(self._sock, deadline)
                if sys.platform != "linux":
                    error = self._wait_for_the_end(deadline)
        except OSError as failure:
            error = failure
        finally:
            self.abandon()
        return error

    def _say_goodbye(self, sock: ssl.SSLSocket, deadline: Deadline) -> None:
        """Send close_notify: without it the peer cannot know that nothing was cut off."""
        with contextlib.suppress(OSError, ValueError):  # no answer is awaited
            sock.unwrap()
        self.drain(deadline.remaining() or 0.0)  # the records are confirmed, whatever comes now

    def _wait_for_the_end(self, deadline: Deadline) -> OSError | None:
        """Half-close and read until the peer has closed: it has read everything then."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        while self.ending() is None:
            if not wait_for(self._sock, deadline.remaining() or 0.0, read=True):
                return TimeoutError(errno.ETIMEDOUT, "the peer did not close")
        return None

    def abandon(self) -> None:
        """Close this process's descriptor, and say nothing to the peer: the parent may go on with it."""
        with contextlib.suppress(OSError):
            self._sock.close()


def connect(
    address: Address, tls: Tls | None, *, timeout: float, stall_timeout: float, now: float
) -> Connection:
    """Open a connection to the first address of the name that answers.

    Args:
        address: Where to.
        tls: How to encrypt, or None.
        timeout: Seconds for all of it but the look-up of the name, whose bound is the resolver's.
        stall_timeout: Seconds after which the kernel gives a silent peer up.
        now: The monotonic time, for the connection's age.

    Raises:
        OSError: nobody answered, or the handshake failed; of the last address that was tried.
    """
    if address.local:
        return Connection(_connected(socket.AF_UNIX, address.path, Deadline(timeout), 1), now)
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    deadline = Deadline(timeout)
    error: OSError | None = None
    for position, (family, _, _, _, target) in enumerate(found):
        try:
            sock = _connected(family, target, deadline, len(found) - position)
        except OSError as failure:
            error = failure
            continue
        try:
            _tune(sock, stall_timeout)
            if tls is not None:
                sock = tls.wrap(sock, address.host, deadline)
            return Connection(sock, now)
        except OSError as failure:
            sock.close()
            error = failure
    raise error or OSError(errno.EADDRNOTAVAIL, f"{address.host} has no address")


def _connected(family: int, target: object, deadline: Deadline, shares: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # One address that swallows packets must leave time for the others.
        sock.settimeout(max((deadline.remaining() or 0.0) / shares, 0.001))
        sock.connect(target)  # type: ignore[arg-type]
    except BaseException:
        sock.close()
        raise
    return sock


def _tune(sock: socket.socket, stall_timeout: float) -> None:
    """Let the last bytes of a batch go at once, and a peer that vanished be noticed."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_USER_TIMEOUT": int(stall_timeout * 1000),
        "TCP_KEEPIDLE": 30,
        "TCP_KEEPINTVL": 10,
        "TCP_KEEPCNT": 3,
    }
    for name, value in options.items():
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, max(value, 1))
