"""Peers for socket sinks: they listen on loopback and misbehave as they are told."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from pathlib import Path

PATIENCE = 20.0
_TICK = 0.02  # seconds until a peer notices that it was told something


def split_lines(data):
    """(whole frames, the rest) of newline-framed bytes."""
    *whole, rest = bytes(data).split(b"\n")
    return whole, rest


def split_counted(data):
    """(whole frames, the rest) of octet-counted bytes; strict about what RFC 6587 allows."""
    data = bytes(data)
    whole = []
    while data:
        number, space, rest = data.partition(b" ")
        if not space:
            break
        assert number.isdigit(), number
        assert not number.startswith(b"0"), number
        if len(rest) < int(number):
            break
        whole.append(rest[: int(number)])
        data = rest[int(number) :]
    return whole, data


class StreamPeer:
    """A server for streams that keeps what each connection sent.

    Args:
        listener: A listening socket; closed with the peer.
        context: An ``SSLContext`` to be a TLS server with.
        split: How frames are told apart.
        chunk: Bytes to read at a time.
        copy: The path of a file to append each whole frame to as a line: what other processes can see, too.
    """

    def __init__(self, listener, *, context=None, split=split_lines, chunk=65536, copy=None):
        self.listener = listener
        self.connections = []  # what each one sent
        self.endings = []  # "end", "reset", or "handshake: …" for each one that ended
        self._open = []
        self._ended = set()
        self._context = context
        self._split = split
        self._chunk = chunk
        self._copy = copy
        self._reading = threading.Event()
        self._reading.set()
        self._stopped = False
        self._lock = threading.Lock()
        self._threads = []
        self.close_after = None  # bytes of one connection after which it is closed
        listener.settimeout(_TICK)
        self._accepting = threading.Thread(target=self._accept, name="peer", daemon=True)
        self._accepting.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def port(self):
        return self.listener.getsockname()[1]

    # -- being told -------------------------------------------------------------------------------

    def pause(self):
        """Stop reading, and stay connected."""
        self._reading.clear()

    def resume(self):
        self._reading.set()

    def hang_up(self):
        """Close every connection politely, when everything that was sent has been read."""
        self._end_all(reset=False)

    def reset(self):
        """Break every connection off."""
        self._end_all(reset=True)

    def stop(self):
        self._stopped = True
        self._reading.set()
        self._accepting.join(PATIENCE)
        self._end_all(reset=False)
        for thread in self._threads:
            thread.join(PATIENCE)
        self.listener.close()

    def _end_all(self, *, reset):
        with self._lock:
            for conn in self._open:
                with contextlib.suppress(OSError):
                    if reset:  # the thread wakes up and closes, and that is a reset then
                        linger = struct.pack("ii", 1, 0)
                        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self._ended.add(conn)
                    conn.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)

    # -- what happened ----------------------------------------------------------------------------

    def frames(self):
        """Every whole frame of every connection, in order."""
        return [frame for data in list(self.connections) for frame in self._split(data)[0]]

    def rests(self):
        """What each connection left unfinished."""
        return [self._split(data)[1] for data in list(self.connections)]

    def wait_for(self, number):
        """Return the frames as soon as there are *number* of them."""
        ends = time.monotonic() + PATIENCE
        while len(found := self.frames()) < number and time.monotonic() < ends:
            time.sleep(0.002)
        return found

    def wait_until(self, condition):
        """Wait until *condition* of this peer is true."""
        ends = time.monotonic() + PATIENCE
        while not condition(self):
            assert time.monotonic() < ends, "the peer waited in vain"
            time.sleep(0.002)

    @property
    def open(self):
        """How many connections are open."""
        return len(self._open)

    # -- threads ----------------------------------------------------------------------------------

    def _accept(self):
        while not self._stopped:
            try:
                conn, _ = self.listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            data = bytearray()
            with self._lock:
                self.connections.append(data)
                self._open.append(conn)
            thread = threading.Thread(
                target=self._serve, args=(conn, data), name="peer-connection", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw, data):
        conn = raw
        ending = "end"
        try:
            if self._context is not None:
                raw.settimeout(PATIENCE)
                conn = self._context.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False)
                with self._lock:
                    self._open[self._open.index(raw)] = conn
                raw = conn
            self._read(conn, data)
        except OSError as error:
            ending = "reset" if isinstance(error, ConnectionError) else repr(error)
        with self._lock:
            conn.close()
            self._open.remove(raw)
            self.endings.append(ending)

    def _read(self, conn, data):
        conn.settimeout(_TICK)
        copied = 0
        while True:
            if not self._reading.wait(_TICK):
                if conn in self._ended:
                    return
                continue
            try:
                part = conn.recv(self._chunk)
            except TimeoutError:
                continue
            data += part
            if self._copy is not None:
                whole = self._split(data)[0]
                with self._copy.open("ab") as file:
                    file.writelines(frame + b"\n" for frame in whole[copied:])
                copied = len(whole)
            if not part:
                return
            if self.close_after is not None and len(data) >= self.close_after:
                return


def tcp_peer(*, host="127.0.0.1", port=0, receive_buffer=None, **options):
    """A peer on TCP (or TLS, with a context)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if receive_buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    listener.bind((host, port))
    listener.listen(16)
    return StreamPeer(listener, **options)


def unix_peer(path, **options):
    """A peer on a Unix stream socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(16)
    return StreamPeer(listener, **options)


@contextlib.contextmanager
def datagram_peer(path=None, host="127.0.0.1"):
    """A bound datagram socket, UDP or (with a path) Unix."""
    family = socket.AF_UNIX if path else socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path) if path else (host, 0))
        sock.settimeout(PATIENCE)
        yield sock


def received(sock, number):
    """So many datagrams."""
    return [sock.recv(200_000) for _ in range(number)]


@contextlib.contextmanager
def a_port_where_nobody_listens():
    """A port that is taken and refuses connections."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def descriptors():
    """How many descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
