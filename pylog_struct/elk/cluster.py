"""A cluster as the commands see it: which server it is, and requests with JSON both ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import orjson

from pylog_struct.errors import PylogError
from pylog_struct.sinks._elasticsearch.answers import hint, reason_of
from pylog_struct.sinks._elasticsearch.client import JSON, Client, RequestError

if TYPE_CHECKING:
    from types import TracebackType

    from pylog_struct.elk.mapping import Flavour
    from pylog_struct.sinks._elasticsearch.connection import Connection

__all__ = ["Cluster", "ClusterError", "Server"]

_SUPPORTED: Final = {"elasticsearch": range(7, 10), "opensearch": range(1, 4)}


class ClusterError(PylogError):
    """The cluster cannot be reached, or does not do what it was asked.

    Attributes:
        status: The HTTP status, 0 if there was no answer.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Server:
    """Who answers at the root endpoint."""

    flavour: Flavour
    version: str
    serverless: bool = False

    @property
    def title(self) -> str:
        """For people."""
        name = "OpenSearch" if self.flavour == "opensearch" else "Elasticsearch"
        return f"{name} {self.version}{' (serverless)' if self.serverless else ''}"

    @property
    def supported(self) -> bool:
        """Whether this is a version that the sink is meant for."""
        major = self.version.partition(".")[0]
        return major.isdigit() and int(major) in _SUPPORTED[self.flavour]


class Cluster:
    """A conversation; use it as a context.

    Args:
        connection: Where the cluster is.
        timeout: Seconds for one request.
    """

    def __init__(self, connection: Connection, *, timeout: float = 30.0) -> None:
        self._timeout = timeout
        self._client = Client(connection, name="pylog elk")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def call(self, method: str, path: str, body: Any = None, *, ndjson: bytes | None = None) -> Any:
        """Return the decoded answer to one request.

        Raises:
            ClusterError: no answer, an answer that is no JSON, or a status from 300 up.
        """
        data = ndjson if body is None else orjson.dumps(body)
        kind = JSON if ndjson is None else "application/x-ndjson"
        try:
            answer = self._client.request(
                method, path, data, timeout=self._timeout, content_type=kind
            )
        except RequestError as error:
            raise ClusterError(str(error)) from error
        if answer.status >= 300:
            advice = hint(answer.status) if answer.status in {401, 403} else ""
            text = f"{answer.status} {reason_of(answer.body)}"
            raise ClusterError(f"{text}; {advice}" if advice else text, answer.status)
        try:
            return orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            text = f"what answers {method} {path} is no Elasticsearch: {reason_of(answer.body)}"
            raise ClusterError(text) from None

    def find(self, path: str) -> Any:
        """Return the answer to ``GET path``, None if there is no such thing."""
        try:
            return self.call("GET", path)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def server(self) -> Server:
        """Ask who it is.

        Raises:
            ClusterError: nobody, or somebody else.
        """
        try:
            version = self.call("GET", "/")["version"]
            number = str(version["number"])
        except (LookupError, TypeError):
            raise ClusterError("what answers there is no Elasticsearch or OpenSearch") from None
        opensearch = version.get("distribution") == "opensearch"
        return Server(
            "opensearch" if opensearch else "elasticsearch",
            number,
            version.get("build_flavor") == "serverless",
        )
