"""Records over a socket: TCP, TLS, UDP, Unix; newline JSON, counted octets, or syslog."""

from __future__ import annotations

import random as _random
from typing import TYPE_CHECKING, Any, get_args

from pylog_struct.clock import SYSTEM_CLOCK, Clock
from pylog_struct.errors import ConfigError, SinkError, SinkRejectedError
from pylog_struct.sinks._network.address import parse_address
from pylog_struct.sinks._network.backoff import Backoff
from pylog_struct.sinks._network.datagrams import Datagrams
from pylog_struct.sinks._network.framing import Framing, FramingName
from pylog_struct.sinks._network.rfc5424 import Header
from pylog_struct.sinks._network.streams import Streams
from pylog_struct.sinks._network.tls import check_tls
from pylog_struct.sinks._network.waiting import LONGEST
from pylog_struct.sinks.base import BaseSink
from pylog_struct.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pylog_struct.record import Record

__all__ = ["SocketSink"]


class SocketSink(BaseSink):
    """Sends each record to ``tcp://``, ``tls://``, ``udp://host:port``, ``unix://`` or ``unixgram:///path``.

    Accepted means, for streams: handed to the kernel, whole.  TCP says to nobody whether the peer's
    *program* has read it: what is in the send queue of a connection that breaks, or in the peer's
    memory when it dies, is lost, and nobody can know (``socket.unconfirmed_bytes`` counts the
    first).  ``flush`` and ``close`` wait until the peer's kernel has confirmed everything (Linux;
    elsewhere ``close`` waits until the peer has closed).  For datagrams: handed to the kernel.

    A connection that breaks is noticed before the next write where that is possible; within a write
    it is made anew and the rest of the batch sent, once.  A record of which only a part was sent
    starts whole on the new connection.  While the peer is down, writes are refused at once (with
    ``retry_after``), so that a failover switches; tries are spaced by exponential back-off with jitter.

    Args:
        url: The destination.  Names are resolved at each connect; ``[::1]`` for IPv6.
        framing: ``"newline"`` (Logstash ``json_lines``, Vector, Fluent Bit), ``"octet_counting"``
            (RFC 6587), ``"rfc5424"`` (syslog header, counted as RFC 5425 has it), or
            ``"rfc5424_newline"``.  A datagram is never framed.
        connect_timeout: Longest time for connecting and the TLS handshake; seconds or text.
        write_timeout: Longest time that one ``write`` waits for a peer that does not read; later
            writes do not wait until it reads again.  Also the longest wait of ``flush`` and ``close``.
        stall_timeout: When a connection whose peer takes nothing is given up.
        backoff_min: Longest pause after the first failure; doubles with each one.
        backoff_max: Longest pause after any failure.
        verify: Whether the server's certificate and name are checked.
        ca_file: Certificates to trust, in PEM; by default the system's.
        cert_file: The client's own certificate, in PEM.
        key_file: Its key, if that is not in *cert_file*.
        key_password: What the key is encrypted with.
        server_hostname: The name to expect in the certificate, if it is not the host of *url*.
        facility: Syslog's facility: a name such as ``"local0"``, or 0 to 23.
        app_name: Syslog's APP-NAME.
        hostname: Syslog's HOSTNAME; by default the machine's.
        proc_id: Syslog's PROCID; by default the process's number.
        msg_id: Syslog's MSGID.
        structured_data: Syslog's SD: ``{"origin@32473": {"env": "prod"}}``.
        bom: Whether syslog's message begins with a byte order mark.
        name: The sink's name in metrics and statistics.
        clock: The source of time for back-off.
        random: Returns a number in [0, 1), for the jitter.

    Raises:
        ConfigError: an argument is wrong, or an option has no effect with this *url*.
        SinkUnavailableError: nobody answers, the connection broke (twice), TLS does not trust it.
        SinkTimeoutError: the peer does not read.
        SinkRejectedError: records that are too large for a datagram; the others of the batch were sent.

    Threads: one caller at a time.  Blocks: up to *connect_timeout* + *write_timeout*, twice if the
    connection breaks in between, and in the resolver as long as that takes.
    Fork: the child opens a connection of its own; the parent's is untouched.
    Metrics: ``socket.connected`` (0 or 1), ``socket.connects``, ``socket.disconnects``,
    ``socket.unconfirmed_bytes``.
    """

    type_name = "socket"

    def __init__(
        self,
        url: str,
        *,
        framing: FramingName | None = None,
        connect_timeout: float | str = 5.0,
        write_timeout: float | str = 5.0,
        stall_timeout: float | str = 60.0,
        backoff_min: float | str = 0.1,
        backoff_max: float | str = 30.0,
        verify: bool = True,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        key_password: str | None = None,
        server_hostname: str | None = None,
        facility: int | str = "user",
        app_name: str | None = None,
        hostname: str | None = None,
        proc_id: str | None = None,
        msg_id: str | None = None,
        structured_data: Mapping[str, Mapping[str, str]] | None = None,
        bom: bool = False,
        name: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = _random.random,
    ) -> None:
        super().__init__(name=name)
        own = type(self).__name__
        address = parse_address(url, f"{own}.url")
        self._address = address
        header = Header(
            own,
            facility=facility,
            app_name=app_name,
            hostname=hostname,
            proc_id=proc_id,
            msg_id=msg_id,
            structured_data=structured_data,
            bom=bom,
        )
        known = _framing(framing, datagrams=address.datagrams, argument=f"{own}.framing")
        self._framing = Framing(known, header, datagrams=address.datagrams)
        self._write_timeout = parse_duration(write_timeout, f"{own}.write_timeout", exclusive=True)
        opening = parse_duration(connect_timeout, f"{own}.connect_timeout", exclusive=True)
        stall = parse_duration(stall_timeout, f"{own}.stall_timeout", exclusive=True)
        opening, stall = min(opening, LONGEST), min(stall, LONGEST)
        least = parse_duration(backoff_min, f"{own}.backoff_min", exclusive=True)
        most = parse_duration(backoff_max, f"{own}.backoff_max", minimum=least)
        tls = check_tls(
            own,
            used=address.tls,
            verify=verify,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            key_password=key_password,
            server_hostname=server_hostname,
        )
        backoff = Backoff(least, most, clock, random)
        self._transport: Streams | Datagrams
        if address.datagrams:
            self._transport = Datagrams(
                address,
                write_timeout=self._write_timeout,
                backoff=backoff,
                ledger=self.ledger,
                name=self.name,
            )
        else:
            self._transport = Streams(
                address,
                tls if address.tls else None,
                connect_timeout=opening,
                write_timeout=self._write_timeout,
                stall_timeout=stall,
                backoff=backoff,
                clock=clock,
                ledger=self.ledger,
                name=self.name,
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} to {self._address}>"

    def _write(self, batch: Sequence[Record]) -> None:
        frames = self._framing.frames(batch)
        if isinstance(self._transport, Datagrams):
            done, too_large, error = self._transport.send(frames)
            refused = [batch[position] for position in too_large]
        else:
            done, error = self._transport.send(frames)
            refused = []
        if error is not None:
            # One error has one meaning: the refused ones are tried, and refused, once more.
            error.unwritten = (*refused, *batch[done:])
            raise error
        if refused:
            text = f"{self.name}: {len(refused)} record(s) are too large for a datagram"
            raise SinkRejectedError(text, refused)

    def _flush(self, timeout: float | None) -> None:
        if isinstance(self._transport, Streams):
            _raise(self._transport.flush(self._patience(timeout)))

    def _close(self, timeout: float | None) -> None:
        if isinstance(self._transport, Streams):
            _raise(self._transport.close(self._patience(timeout)))
        else:
            self._transport.close()

    def _patience(self, timeout: float | None) -> float:
        return self._write_timeout if timeout is None else min(timeout, self._write_timeout)

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self._transport.forget()
        self._framing.forget()


def _framing(value: Any, *, datagrams: bool, argument: str) -> FramingName:
    if value is None:
        return "newline"
    known: tuple[FramingName, ...] = get_args(FramingName)
    if value not in known:
        names = ", ".join(f'"{one}"' for one in known)
        msg = f"{argument}: {value!r} is none; use one of {names}"
        raise ConfigError(msg)
    if datagrams and value in ("octet_counting", "rfc5424_newline"):
        msg = f'{argument}: {value!r} is for streams; a datagram needs no frame: "newline" or "rfc5424"'
        raise ConfigError(msg)
    found: FramingName = value
    return found


def _raise(error: SinkError | None) -> None:
    if error is not None:
        raise error
