"""One endpoint over urllib3: a request, an answer, and what the answer means for the records."""

from __future__ import annotations

import contextlib
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from pylog_struct import diagnostics
from pylog_struct._clients import quiet
from pylog_struct._frozen import frozen
from pylog_struct.errors import ConfigError, SinkTimeoutError, SinkUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pylog_struct.clock import Clock
    from pylog_struct.sinks._network.tls import Tls

__all__ = [
    "HEADER_NAME",
    "HEADER_VALUE",
    "Answer",
    "Endpoint",
    "HttpClient",
    "require_urllib3",
]

HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
HEADER_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")

_EXCERPT: Final = 4096  # bytes of an answer that are read: enough to say what is wrong
_ABOUT_THE_DOCUMENTS: Final = frozenset({400, 409, 413, 422})
_TOO_LARGE: Final = 413


def require_urllib3(sink: str) -> None:
    """Refuse to build *sink* without its client library.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import urllib3  # noqa: F401, PLC0415 - the extra is needed by those only who use it
    except ImportError:
        msg = f'{sink} needs urllib3; install it with: pip install "pylog-struct[http]"'
        raise ConfigError(msg) from None


@frozen
class Endpoint:
    """Where requests go: the parts of a URL."""

    scheme: str
    host: str
    port: int | None
    target: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.target.partition('?')[0]}"


@frozen
class Answer:
    """What a server said."""

    status: int
    text: str = ""
    retry_after: float | None = None

    @property
    def accepted(self) -> bool:
        """The records are the server's."""
        return 200 <= self.status < 300

    @property
    def about_the_documents(self) -> bool:
        """The trouble is in what was sent.

        Everything else may pass, or be repaired: a server that is overloaded, an expired password,
        a path that is not there yet.  No record is given up for those.
        """
        return self.status in _ABOUT_THE_DOCUMENTS

    @property
    def too_large(self) -> bool:
        """Less at a time may be accepted."""
        return self.status == _TOO_LARGE

    def __str__(self) -> str:
        return f"HTTP {self.status}{f': {self.text}' if self.text else ''}"


class _Pool(Protocol):  # what is used of urllib3's
    num_connections: int

    def urlopen(self, method: str, url: str, **options: Any) -> Any: ...

    def close(self) -> None: ...


class HttpClient:
    """Keeps one connection to one endpoint.

    Args:
        endpoint: Where to.
        tls: How to encrypt, or None.
        connect_timeout: Seconds for connecting, and for sending.
        timeout: Seconds for the answer.
        clock: The source of time, for dates in ``Retry-After``.
        name: The sink's, for messages.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        tls: Tls | None,
        *,
        connect_timeout: float,
        timeout: float,
        clock: Clock,
        name: str,
    ) -> None:
        self._endpoint = endpoint
        self._tls = tls
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._clock = clock
        self._name = name
        self._pool: _Pool | None = None

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send *body*, and once more if the connection had been closed behind our back.

        Raises:
            SinkUnavailableError: nobody answered.
            SinkTimeoutError: not in time.
        """
        import urllib3  # noqa: PLC0415 - see require_urllib3
        from urllib3.exceptions import HTTPError, ProtocolError  # noqa: PLC0415
        from urllib3.exceptions import TimeoutError as ClientTimeoutError  # noqa: PLC0415

        with quiet():
            try:
                pool = self._pool = self._pool or self._open()
                before = pool.num_connections
                try:
                    return self._request(pool, body, headers)
                except ProtocolError:
                    if pool.num_connections != before or not before:
                        raise  # a new connection: the server is in trouble, not the connection old
                    return self._request(pool, body, headers)
            except urllib3.exceptions.NewConnectionError as error:
                failure = self._failure(SinkUnavailableError, error)
            except (ClientTimeoutError, TimeoutError) as error:
                failure = self._failure(SinkTimeoutError, error)
            except (HTTPError, OSError, ValueError) as error:
                failure = self._failure(SinkUnavailableError, error)
            self.close()
            raise failure

    def _failure(
        self, kind: type[SinkUnavailableError | SinkTimeoutError], error: Exception
    ) -> SinkUnavailableError | SinkTimeoutError:
        made = kind(f"{self._name}: {self._endpoint}: {diagnostics.describe(error)}")
        made.__cause__ = error
        return made

    def _open(self) -> _Pool:
        import urllib3  # noqa: PLC0415 - see require_urllib3

        endpoint = self._endpoint
        limit = urllib3.Timeout(connect=self._connect_timeout, read=self._timeout)
        if self._tls is None:
            return urllib3.HTTPConnectionPool(endpoint.host, endpoint.port, timeout=limit)
        options: dict[str, Any] = {"ssl_context": self._tls.context()}
        if self._tls.server_hostname is not None:
            options["server_hostname"] = self._tls.server_hostname
        pool = urllib3.HTTPSConnectionPool(endpoint.host, endpoint.port, timeout=limit, **options)
        if not self._tls.verify:
            pool.ConnectionCls = _trusting(pool.ConnectionCls)
        return pool

    def _request(self, pool: _Pool, body: bytes, headers: Mapping[str, str]) -> Answer:
        response = pool.urlopen(
            "POST",
            self._endpoint.target,
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
        )
        ends = time.monotonic() + self._timeout
        excerpt = b""
        whole = False
        # The answer is known: whatever becomes of its text does not change it.
        with contextlib.suppress(Exception):
            while len(excerpt) < _EXCERPT and time.monotonic() < ends:
                part = response.read(_EXCERPT)
                if not part:
                    whole = True
                    break
                excerpt += part
        if whole:
            response.release_conn()
        else:  # more than anybody wants to read
            response.close()
        text = " ".join(excerpt[:500].decode("utf-8", "replace").split())
        return Answer(response.status, text, self._retry_after(response.headers))

    def _retry_after(self, headers: Mapping[str, str]) -> float | None:
        """Seconds that the server asks for: a number, or a date (RFC 9110, 10.2.3)."""
        asked = headers.get("Retry-After", "").strip()
        if asked.isascii() and asked.isdecimal():
            return float(asked[:9])
        try:
            return max(parsedate_to_datetime(asked).timestamp() - self._clock.time(), 0.0)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with contextlib.suppress(Exception):
                pool.close()

    def forget(self) -> None:
        """Leave the connection to the parent: for the child of a fork."""
        self._pool = None


def _trusting(connection: type[Any]) -> type[Any]:
    """Return a connection class that does not warn at each connect: somebody asked for it."""

    class Trusting(connection):  # type: ignore[misc]
        def connect(self) -> None:
            super().connect()
            self.is_verified = True

    return Trusting
