"""One conversation with a cluster over elastic-transport: a pool of nodes, requests that are bounded."""

from __future__ import annotations

import os
import time
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from pylog_struct import diagnostics
from pylog_struct._clients import quiet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pylog_struct.sinks._elasticsearch.connection import Connection

__all__ = ["IN_FLIGHT", "JSON", "NDJSON", "Answer", "Client", "Pending", "RequestError"]

NDJSON: Final = "application/x-ndjson"
JSON: Final = "application/json"
IN_FLIGHT: Final = 2
"""Requests that may be under way at once: while a server works on one, the next is on its way."""

_CONNECT: Final = 5.0  # longest time for one node to answer a connection, in seconds
_OTHER_NODE: Final = frozenset({502, 503, 504})

_inherited: Final[list[Any]] = []
"""Clients of a parent process: their locks may be held for ever, so nobody may clean them up."""


class RequestError(Exception):
    """No answer: whether the server did what was asked is not known.

    Attributes:
        timed_out: Whether it was the time that ran out.
    """

    def __init__(self, text: str, *, timed_out: bool = False) -> None:
        super().__init__(text)
        self.timed_out = timed_out


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """Connections to the nodes of one cluster.

    Args:
        connection: Where they are.
        name: Of the sink or command, for reports.
        compress: Whether bodies are sent with gzip.

    Threads: one caller at a time.  Blocks: as long as the timeout of a request says; it is a limit
    for connecting, for sending, and for each wait for more of the answer.
    """

    def __init__(self, connection: Connection, *, name: str, compress: bool = False) -> None:
        import elastic_transport  # noqa: PLC0415 - an extra, and slow to import

        self._transport = elastic_transport
        self._name = name
        self._headers = {"accept": JSON, **connection.headers}
        self._compress = compress
        with quiet():
            configs = [
                elastic_transport.NodeConfig(
                    scheme=host.scheme,
                    host=host.name,
                    port=host.port,
                    path_prefix=host.prefix,
                    connections_per_node=IN_FLIGHT,
                    **(_tls(connection) if host.scheme == "https" else {}),
                )
                for host in connection.hosts
            ]
            self._pool = elastic_transport.NodePool(
                configs, node_class=elastic_transport.Urllib3HttpNode
            )
        for node in cast("list[Any]", self._pool.all()):
            # When the interpreter ends, urllib3 takes everything out of its pools, before the last
            # records are sent.  One that blocks would wait for it to come back.
            node.pool.block = False
        if not connection.verify_certs and connection.fingerprint is None:
            diagnostics.report(
                f"client {name} tls", f"{name}: verify_certs is off, anybody may be the server"
            )

    def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        timeout: float,
        content_type: str = JSON,
    ) -> Answer:
        """Ask a node; another one (or the same, once more) if it cannot be reached.

        Raises:
            RequestError: no node answered in *timeout* seconds.
        """
        body, headers = self._prepared(body, content_type)
        with quiet():
            return self._ask(method, target, body, headers, timeout)

    def begin(self, target: str, body: bytes, *, timeout: float) -> Pending:
        """Send a bulk request without waiting for the answer; raises nothing.

        At most ``IN_FLIGHT`` may be under way.
        """
        data, headers = self._prepared(body, NDJSON)
        with quiet():
            return Pending(self, target, data or b"", headers, timeout)

    def _prepared(
        self, body: bytes | None, content_type: str
    ) -> tuple[bytes | None, dict[str, str]]:
        headers = dict(self._headers)
        if body is not None:
            headers["content-type"] = content_type
            if self._compress:
                packer = zlib.compressobj(1, wbits=31)
                body = packer.compress(body) + packer.flush()
                headers["content-encoding"] = "gzip"
        return body, headers

    def _ask(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str], timeout: float
    ) -> Answer:
        ends = time.monotonic() + timeout
        # One more than there are nodes: a kept connection may have been closed behind our back.
        for attempts_left in range(len(self._pool), -1, -1):
            node = self._pool.get()
            left = ends - time.monotonic()
            if left <= 0:
                break
            try:
                response = node.perform_request(
                    method,
                    target,
                    body=body,
                    headers=self._transport.HttpHeaders(headers),
                    request_timeout=_timeouts(left),
                )
            except self._transport.ConnectionTimeout as error:
                self._failed(node)
                if not attempts_left or time.monotonic() >= ends:
                    raise RequestError(f"{node.base_url}: {error}", timed_out=True) from error
            except self._transport.TlsError as error:
                raise RequestError(f"{node.base_url}: {error}") from error
            except Exception as error:
                self._failed(node)
                if not attempts_left:
                    raise RequestError(f"{node.base_url}: {error}") from error
            else:
                if response.meta.status in _OTHER_NODE and attempts_left and len(self._pool) > 1:
                    self._failed(node)
                    continue
                self._pool.mark_live(node)
                return Answer(response.meta.status, response.meta.headers, response.body)
        raise RequestError(f"no node answered within {timeout:g} s", timed_out=True)

    def _failed(self, node: Any) -> None:
        if len(self._pool) > 1:  # with one, all that it would do is to say so, each time
            self._pool.mark_dead(node)

    def close(self) -> None:
        """Close every connection."""
        with quiet():
            for node in self._pool.all():
                node.close()

    def leave_to_parent(self) -> None:
        """In the child of a fork: give up the copies of the parent's connections, quietly."""
        _inherited.append(self)
        for node in self._pool.all():
            # No close(): its locks may be held by a thread that does not exist here, and TLS might
            # say goodbye in the parent's name.  Closing the descriptor says nothing to anybody.
            with suppress(Exception):
                for link in list(node.pool.pool.queue):  # type: ignore[attr-defined]
                    if link is not None and link.sock is not None:
                        os.close(link.sock.detach())


class Pending:
    """A bulk request on its way: what lets a server work while the next request is made.

    elastic-transport has no such thing, so this works on the connections of its pools.  It uses one
    connection of one node as it is.  If anything at all goes wrong with that, the request is made
    once more in the ordinary way, with all that it knows about other nodes and new connections: ids
    make that harmless.
    """

    def __init__(
        self, client: Client, target: str, body: bytes, headers: dict[str, str], timeout: float
    ) -> None:
        self._client = client
        self._request = (target, body, headers)
        self._timeout = timeout
        self._ends = time.monotonic() + timeout
        self._node = cast("Any", client._pool.get())
        self._link: Any = None
        try:
            self._link = self._node.pool._get_conn(timeout=timeout)
            self._link.timeout = min(timeout, _CONNECT)
            if self._link.sock is not None:
                self._link.sock.settimeout(timeout)
            self._node.pool._validate_conn(self._link)  # connects; TLS is verified here and there
            sent = {**self._node.headers, **headers}
            path = f"{self._node.path_prefix}{target}"
            self._link.request("POST", path, body=body, headers=sent, preload_content=False)
            if self._link.sock is not None:  # from now on for each wait, not for connecting
                self._link.sock.settimeout(timeout)
        except Exception:  # a node that is gone, a connection closed behind our back
            self._give_back(broken=True)

    def answer(self) -> Answer:
        """Wait for the answer.

        Raises:
            RequestError: no node answered in time.
        """
        with quiet():
            if self._link is not None:
                try:
                    response = self._link.getresponse()
                    found = Answer(response.status, response.headers, response.read())
                except TimeoutError as error:
                    self._give_back(broken=True)
                    raise RequestError(f"{self._node.base_url}: {error}", timed_out=True) from error
                except Exception:
                    self._give_back(broken=True)
                else:
                    self._give_back(broken=False)
                    if found.status not in _OTHER_NODE or len(self._client._pool) == 1:
                        return found
                    self._client._failed(self._node)
            target, body, headers = self._request
            left = max(self._ends - time.monotonic(), 0.0)
            return self._client._ask("POST", target, body, headers, left)

    def _give_back(self, *, broken: bool) -> None:
        link, self._link = self._link, None
        if link is not None:
            if broken:
                link.close()
            self._node.pool._put_conn(link)


def _timeouts(left: float) -> Any:
    """Timeouts for urllib3: a node that does not even connect must not use up all of the time."""
    import urllib3  # noqa: PLC0415 - comes with elastic-transport

    return urllib3.Timeout(connect=min(left, _CONNECT), read=left)


def _tls(connection: Connection) -> dict[str, Any]:
    return {
        "ca_certs": connection.ca_certs,
        "client_cert": connection.client_cert,
        "client_key": connection.client_key,
        "ssl_assert_fingerprint": connection.fingerprint,
        "verify_certs": connection.verify_certs,
        "ssl_show_warn": False,  # said once, in the diagnostics
    }
