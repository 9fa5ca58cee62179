"""Frames over a stream that breaks and comes back: reconnecting, resending once, leaving alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pylog_struct import diagnostics
from pylog_struct.errors import SinkError, SinkTimeoutError, SinkUnavailableError
from pylog_struct.sinks._network.connection import Connection, PeerClosedError, connect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylog_struct.clock import Clock
    from pylog_struct.ledger import SinkLedger
    from pylog_struct.sinks._network.address import Address
    from pylog_struct.sinks._network.backoff import Backoff
    from pylog_struct.sinks._network.tls import Tls

__all__ = ["Streams"]

_SHORT: Final = 1.0  # seconds: a connection that breaks sooner is no sign that the peer works


class Streams:
    """One connection at a time to one address.

    Args:
        address: Where to.
        tls: How to encrypt, or None.
        connect_timeout: Seconds for connecting.
        write_timeout: Seconds for one :meth:`send`.
        stall_timeout: Seconds after which a connection whose peer takes nothing is given up.
        backoff: When to try again.
        clock: The source of time.
        ledger: Where connections are counted.
        name: The sink's, for messages.
    """

    def __init__(
        self,
        address: Address,
        tls: Tls | None,
        *,
        connect_timeout: float,
        write_timeout: float,
        stall_timeout: float,
        backoff: Backoff,
        clock: Clock,
        ledger: SinkLedger,
        name: str,
    ) -> None:
        self._address = address
        self._tls = tls
        self._connect_timeout = connect_timeout
        self._write_timeout = write_timeout
        self._stall_timeout = stall_timeout
        self._backoff = backoff
        self._clock = clock
        self._ledger = ledger
        self._name = name
        self._connection: Connection | None = None
        self._stalled_at: float | None = None
        self._trouble: BaseException | None = None  # why there is no connection
        self._lost = 0  # unconfirmed bytes of connections that broke, not told by a flush yet

    # -- sending ----------------------------------------------------------------------------------

    def send(self, frames: Sequence[bytes]) -> tuple[int, SinkError | None]:
        """Hand *frames* over, in order; reconnect and go on, once, if the connection breaks.

        Returns:
            How many frames the kernel has, whole, and why not all of them.
        """
        done = 0
        resent = False
        while True:
            try:
                connection = self._ready(frames[done])
            except SinkError as error:
                return done, error
            # A peer that takes nothing costs one timeout, not one for every call.
            patience = 0.0 if self._stalled_at is not None else self._write_timeout
            sent, failure = connection.send(frames[done:], patience)
            done += sent
            if failure is None:
                self._stalled_at = None
                return done, None
            if isinstance(failure, TimeoutError):
                return done, self._stall(connection, failure)
            self._break(failure)
            if resent:
                return done, self._unavailable(failure)
            resent = True

    def _ready(self, frame: bytes) -> Connection:
        """Return a connection on which *frame* may come next.

        Raises:
            SinkError: there is none for now.
        """
        connection = self._connection
        ending = None if connection is None else connection.ending()
        if ending is not None:
            self._break(ending)
            connection = None
        if connection is not None and not connection.fits(frame):
            # The rest of a frame is missing whose record went elsewhere.  Nothing can follow it
            # here; but as long as this peer does not read, a new connection would only give it
            # more to swallow.
            if not connection.writable() and not self._given_up():
                raise SinkTimeoutError(f"{self._name}: {self._address} still does not read")
            self._drop(connection)
            connection = None
        elif connection is not None and self._given_up() and not connection.writable():
            self._drop(connection)
            connection = None
        return self._open() if connection is None else connection

    def _open(self) -> Connection:
        self._backoff.check(f"{self._name}: {self._address} is down", self._trouble)
        try:
            opened = connect(
                self._address,
                self._tls,
                timeout=self._connect_timeout,
                stall_timeout=self._stall_timeout,
                now=self._clock.monotonic(),
            )
        except (OSError, ValueError) as error:  # ValueError: a name that cannot be one
            self._backoff.failed()
            self._trouble = error
            raise self._unavailable(error) from error
        self._connection = opened
        self._stalled_at = None
        self._ledger.count("socket.connects")
        self._ledger.set("socket.connected", 1)
        return opened

    def _unavailable(self, error: BaseException) -> SinkUnavailableError:
        text = f"{self._name}: {self._address}: {diagnostics.describe(error)}"
        unavailable = SinkUnavailableError(text)
        unavailable.__cause__ = error
        left = self._backoff.remaining()
        if left > 0:
            unavailable.retry_after = left
        return unavailable

    # -- losing -----------------------------------------------------------------------------------

    def _stall(self, connection: Connection, failure: OSError) -> SinkTimeoutError:
        if self._stalled_at is None:
            self._stalled_at = self._clock.monotonic()
        elif connection.moved:  # it reads again: the next call waits for it as usual
            self._stalled_at = None
        if not connection.resumable:
            self._backoff.failed()
            self._trouble = failure
            self._drop(connection)
        error = SinkTimeoutError(f"{self._name}: {self._address} does not read")
        error.__cause__ = failure
        return error

    def _given_up(self) -> bool:
        stalled = self._stalled_at
        return stalled is not None and self._clock.monotonic() - stalled >= self._stall_timeout

    def _break(self, error: OSError) -> None:
        """The connection is gone; decide whether the peer deserves an immediate new one."""
        connection = self._connection
        if connection is None:
            return
        lived = self._clock.monotonic() - connection.opened_at
        closed = isinstance(error, PeerClosedError) and connection.used
        polite = closed and not connection.unconfirmed()
        if polite or lived >= _SHORT:
            self._backoff.reset()
        else:
            self._backoff.failed()
        self._trouble = error
        self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        left = connection.unconfirmed()
        if left:
            self._lost += left
            self._ledger.count("socket.unconfirmed_bytes", left)
            diagnostics.report(
                f"socket unconfirmed {self._name}",
                f"{self._name}: the connection to {self._address} broke with {left} byte(s)"
                " that the peer had not confirmed; records in them may be lost",
            )
        connection.abandon()
        self._connection = None
        self._stalled_at = None
        self._ledger.count("socket.disconnects")
        self._ledger.set("socket.connected", 0)

    # -- the end ----------------------------------------------------------------------------------

    def flush(self, timeout: float) -> SinkError | None:
        """Wait until the peer has confirmed everything; return why it has not."""
        connection = self._connection
        failure = None if connection is None else connection.drain(timeout)
        if isinstance(failure, TimeoutError):
            return SinkTimeoutError(f"{self._name}: {self._address}: {failure.strerror}")
        if failure is not None:
            self._break(failure)
        lost, self._lost = self._lost, 0
        if lost:
            return SinkUnavailableError(
                f"{self._name}: {self._address} broke off before it had confirmed {lost} byte(s)"
            )
        return None

    def close(self, timeout: float) -> SinkError | None:
        """Wait until the peer has confirmed everything, then close; return why it has not."""
        connection, self._connection = self._connection, None
        if connection is None:
            return None
        failure = connection.finish(timeout)
        self._ledger.set("socket.connected", 0)
        if failure is None:
            return None
        kind = SinkTimeoutError if isinstance(failure, TimeoutError) else SinkUnavailableError
        error = kind(f"{self._name}: {self._address}: {diagnostics.describe(failure)}")
        error.__cause__ = failure
        return error

    def forget(self) -> None:
        """Leave the connection to the parent: for the child of a fork."""
        if self._connection is not None:
            self._connection.abandon()
        self._connection = None
        self._stalled_at = None
        self._trouble = None
        self._lost = 0
        self._backoff.reset()
