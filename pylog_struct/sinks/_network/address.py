"""Where a :class:`~pylog_struct.sinks.socket.SocketSink` sends to: one URL, parsed once."""

from __future__ import annotations

import re
import socket
from typing import Final
from urllib.parse import urlsplit

from pylog_struct._frozen import frozen
from pylog_struct.errors import ConfigError

__all__ = ["Address", "parse_address", "without_login"]

_NETWORK: Final = ("tcp", "tls", "udp")
_LOCAL: Final = ("unix", "unixgram")
_EXAMPLES: Final = (
    '"tcp://host:port", "tls://host:port", "udp://host:port",'
    ' "unix:///path" (a stream) or "unixgram:///path"'
)


@frozen
class Address:
    """A destination: *host* and *port* of the network, or *path* of this machine."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def datagrams(self) -> bool:
        """Whether each record is a message of its own there."""
        return self.scheme in ("udp", "unixgram")

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "tls"

    @property
    def local(self) -> bool:
        """Whether it is a Unix socket."""
        return self.scheme in _LOCAL

    def __str__(self) -> str:
        if self.path:
            return f"{self.scheme}://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_address(url: object, argument: str) -> Address:
    """Return the address that *url* names.

    Raises:
        ConfigError: it names none.
    """
    if isinstance(url, str) and url:
        scheme, separator, rest = url.partition("://")
        scheme = scheme.lower()
        address = None
        if separator and scheme in _LOCAL:
            address = _local(scheme, rest, argument)
        elif separator and scheme in _NETWORK:
            address = _remote(scheme, url)
        if address is not None:
            return address
    msg = f"{argument}: {without_login(url)!r} is no address; use {_EXAMPLES}"
    raise ConfigError(msg)


def without_login(url: object) -> object:
    """Return *url* as it may be shown, without user and password: messages end up in logs."""
    return (
        re.sub(r"^((?:[^/]*//)?).*@", r"\1…@", url, flags=re.DOTALL)
        if isinstance(url, str)
        else url
    )


def _local(scheme: str, path: str, argument: str) -> Address | None:
    if not hasattr(socket, "AF_UNIX"):
        msg = f"{argument}: this system has no Unix sockets; use tcp://127.0.0.1:port"
        raise ConfigError(msg)
    if not path.startswith("/") or "\0" in path:
        return None
    return Address(scheme, path=path)


def _remote(scheme: str, url: str) -> Address | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if host:
            host.encode("idna")  # what looking the name up would stumble over
    except ValueError:  # a port beyond 65535, half a bracket, a label that is too long
        return None
    extra = parts.username or parts.password or parts.path.strip("/") or parts.query
    if not host or not port or extra or parts.fragment:
        return None
    return Address(scheme, host=host, port=port)
