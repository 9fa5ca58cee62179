"""TLS for sockets: verification on unless somebody turned it off, and handshakes with an end."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from pylog_struct._frozen import frozen
from pylog_struct.errors import ConfigError
from pylog_struct.sinks._network.waiting import wait_for

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pylog_struct.sinks.base import Deadline

__all__ = ["Tls", "check_tls"]


@frozen
class Tls:
    """What a TLS connection is made with; files are read when a connection is made, not before.

    Attributes:
        verify: Whether the server's certificate and name are checked.
        ca_file: Certificates to trust, in PEM; None for the system's.
        cert_file: The client's own certificate (chain), in PEM.
        key_file: Its key; None if it is in *cert_file*.
        key_password: What the key is encrypted with.
        server_hostname: The name to expect in the certificate, if it is not the host's.
    """

    verify: bool = True
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    key_password: str | None = None
    server_hostname: str | None = None

    def __repr__(self) -> str:  # never the password
        return f"Tls(verify={self.verify}, ca_file={self.ca_file!r}, cert_file={self.cert_file!r})"

    def context(self) -> ssl.SSLContext:
        """Build a context from the files as they are now, so that renewed certificates count.

        Raises:
            OSError: a file is missing or no certificate (``ssl.SSLError``).
        """
        context = ssl.create_default_context(cafile=self.ca_file)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert_file is not None:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(self.cert_file, self.key_file, self.key_password or "")
        return context

    def wrap(self, sock: socket.socket, host: str, deadline: Deadline) -> ssl.SSLSocket:
        """Shake hands on a connected socket; the result is non-blocking.

        Raises:
            OSError: the certificate is not the expected one, or it took too long.
        """
        sock.settimeout(0.0)
        wrapped = self.context().wrap_socket(
            sock,
            server_hostname=self.server_hostname or host,
            do_handshake_on_connect=False,
        )
        try:
            retried(wrapped, wrapped.do_handshake, deadline)
        except BaseException:
            wrapped.close()
            raise
        return wrapped


def retried(sock: ssl.SSLSocket, call: Callable[[], Any], deadline: Deadline) -> Any:
    """Call until TLS got what it waits for (which may be reading in order to write).

    Raises:
        TimeoutError: not before the deadline.
        OSError: what the call raised.
    """
    while True:
        try:
            return call()
        except ssl.SSLWantReadError:
            read = True
        except ssl.SSLWantWriteError:
            read = False
        left = deadline.remaining()
        if not wait_for(sock, 3600.0 if left is None else left, read=read, write=not read):
            msg = "the peer did not answer in time"
            raise TimeoutError(msg)


def check_tls(sink: str, *, used: bool, verify: bool, **texts: str | None) -> Tls:
    """Return the settings if they make sense together.

    Args:
        sink: The class to name in errors.
        used: Whether the connection is encrypted at all.
        verify: See :class:`Tls`.
        texts: The other attributes of :class:`Tls`.

    Raises:
        ConfigError: an option without TLS (it would look safe and be none), or of the wrong type.
    """
    if not isinstance(verify, bool):
        msg = f"{sink}.verify: {verify!r} is neither True nor False"
        raise ConfigError(msg)
    for argument, value in texts.items():
        if value is None:
            continue
        if not isinstance(value, str) or not value or "\0" in value:
            msg = (
                f"{sink}.{argument}: {'***' if 'password' in argument else repr(value)} is no text"
            )
            raise ConfigError(msg)
        if not used:
            msg = (
                f"{sink}.{argument}: the connection is not encrypted; use a tls:// or https:// URL"
            )
            raise ConfigError(msg)
    if not used and not verify:
        msg = f"{sink}.verify: False, but the connection is not encrypted; leave it out"
        raise ConfigError(msg)
    if texts.get("key_file") is not None and texts.get("cert_file") is None:
        msg = f"{sink}.key_file: a key without a certificate; give cert_file, too"
        raise ConfigError(msg)
    return Tls(verify=verify, **texts)
