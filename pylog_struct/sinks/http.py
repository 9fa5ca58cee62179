"""Records in the bodies of HTTP requests: to Logstash, Vector, Fluent Bit, Loki, VictoriaLogs, or your own."""

from __future__ import annotations

import base64
import re
import zlib
from random import random as _random
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pylog_struct.clock import SYSTEM_CLOCK, Clock
from pylog_struct.errors import (
    ConfigError,
    SinkError,
    SinkRejectedError,
    SinkUnavailableError,
)
from pylog_struct.sinks._network import bodies
from pylog_struct.sinks._network.address import without_login
from pylog_struct.sinks._network.backoff import Backoff
from pylog_struct.sinks._network.http_client import (
    HEADER_NAME,
    HEADER_VALUE,
    Answer,
    Endpoint,
    HttpClient,
    require_urllib3,
)
from pylog_struct.sinks._network.tls import check_tls
from pylog_struct.sinks._network.waiting import LONGEST
from pylog_struct.sinks.base import BaseSink
from pylog_struct.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pylog_struct.record import Record

__all__ = ["HttpSink"]

_HOLD_MAX: Final = 300.0  # seconds: what a server may ask for in Retry-After
_LEVEL: Final = 3  # of gzip: about a tenth of JSON logs remains, at a third of the usual cost


class HttpSink(BaseSink):
    """POSTs batches of records to one URL.

    Accepted means: answered with 2xx.  A request whose answer got lost is sent again, so a record may
    arrive twice.

    ============================================  ====================================================
    the answer                                    what becomes of the records
    ============================================  ====================================================
    2xx                                           accepted
    413                                           sent again in halves; one alone is rejected
    400, 409, 422                                 the same, until those that are the trouble are found
    429, 503 and the like with ``Retry-After``    ``SinkUnavailableError`` with ``retry_after``; no
                                                  request until that time (at most five minutes)
    any other; none                               ``SinkUnavailableError``, ``SinkTimeoutError``;
                                                  refused at once until the back-off is over
    ============================================  ====================================================

    An expired password or a wrong path (401, 403, 404, a redirect) is retryable on purpose: it says
    nothing against the records, and a failover keeps them.

    Args:
        url: ``http://`` or ``https://``.
        format: ``"ndjson"`` (one line a record), ``"array"`` (a JSON array), or ``"loki"`` (its push
            document, for ``/loki/api/v1/push``).
        gzip: Whether bodies are compressed.
        headers: More headers; ``Content-Type`` may be among them.
        auth: ``(user, password)``, or a bearer token.
        timeout: Longest wait for the answer to a request; seconds or text.
        connect_timeout: Longest time to connect, and to send.
        max_batch_bytes: Most bytes of records in one request, before compression.  A single record
            that is larger goes alone.
        backoff_min: Longest pause after the first failure; doubles with each one.
        backoff_max: Longest pause after any failure.
        labels: Loki's labels, the same for every record.
        label_fields: Loki's labels that come from fields: ``{"logger": "logger"}``.
        metadata_fields: Loki's structured metadata: ``{"trace_id": "trace.id"}``.
        verify: Whether the server's certificate and name are checked.
        ca_file: Certificates to trust, in PEM; by default the system's.
        cert_file: The client's own certificate, in PEM.
        key_file: Its key, if that is not in *cert_file*.
        key_password: What the key is encrypted with.
        server_hostname: The name to expect in the certificate, if it is not the host of *url*.
        name: The sink's name in metrics and statistics.
        clock: The source of time for back-off.
        random: Returns a number in [0, 1), for the jitter.

    Raises:
        ConfigError: an argument is wrong, or urllib3 is not installed.
        SinkUnavailableError: see above.
        SinkTimeoutError: no answer in time.
        SinkRejectedError: the server refuses these records for good.

    Threads: one caller at a time.  Blocks: up to *connect_timeout* + *timeout* for a request; the
    first that gets no answer ends the call.
    Fork: the child opens a connection of its own.
    Metrics: ``http.requests``, ``http.splits``, ``http.bytes_sent``.
    """

    type_name = "http"

    def __init__(
        self,
        url: str,
        *,
        format: bodies.BodyFormat = "ndjson",  # noqa: A002 - the word that everybody uses for it
        gzip: bool = True,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | str | None = None,
        timeout: float | str = 10.0,
        connect_timeout: float | str = 5.0,
        max_batch_bytes: int | str = "4 MiB",
        backoff_min: float | str = 0.1,
        backoff_max: float | str = 30.0,
        labels: Mapping[str, str] | None = None,
        label_fields: Mapping[str, str] | None = None,
        metadata_fields: Mapping[str, str] | None = None,
        verify: bool = True,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        key_password: str | None = None,
        server_hostname: str | None = None,
        name: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = _random,
    ) -> None:
        super().__init__(name=name)
        own = type(self).__name__
        require_urllib3(own)
        self._endpoint = _endpoint(url, f"{own}.url")
        if format not in bodies.CONTENT_TYPES:
            msg = f'{own}.format: {format!r} is none; use "ndjson", "array" or "loki"'
            raise ConfigError(msg)
        given = {
            "labels": labels,
            "label_fields": label_fields,
            "metadata_fields": metadata_fields,
        }
        for argument, mapping in given.items():
            if mapping is not None and format != "loki":
                msg = f'{own}.{argument}: has no effect without format="loki"'
                raise ConfigError(msg)
        self._body: Callable[[Sequence[Record]], bytes] = (
            bodies.LokiBody(own, labels or {}, label_fields or {}, metadata_fields or {})
            if format == "loki"
            else {"ndjson": bodies.ndjson, "array": bodies.array}[format]
        )
        if not isinstance(gzip, bool):
            msg = f"{own}.gzip: {gzip!r} is neither True nor False"
            raise ConfigError(msg)
        self._gzip = gzip
        self._headers = {
            "Content-Type": bodies.CONTENT_TYPES[format],
            "User-Agent": "pylog-struct",
            **_authorization(auth, f"{own}.auth"),
            **({"Content-Encoding": "gzip"} if gzip else {}),
        }
        for header, text in _headers(headers, f"{own}.headers").items():
            for known in [one for one in self._headers if one.lower() == header.lower()]:
                del self._headers[known]
            self._headers[header] = text
        self._max_batch_bytes = parse_size(max_batch_bytes, f"{own}.max_batch_bytes")
        encrypted = self._endpoint.scheme == "https"
        tls = check_tls(
            own,
            used=encrypted,
            verify=verify,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            key_password=key_password,
            server_hostname=server_hostname,
        )
        least = parse_duration(backoff_min, f"{own}.backoff_min", exclusive=True)
        most = parse_duration(backoff_max, f"{own}.backoff_max", minimum=least)
        self._backoff = Backoff(least, most, clock, random)
        self._trouble: SinkError | None = None
        opening = parse_duration(connect_timeout, f"{own}.connect_timeout", exclusive=True)
        answering = parse_duration(timeout, f"{own}.timeout", exclusive=True)
        self._client = HttpClient(
            self._endpoint,
            tls if encrypted else None,
            connect_timeout=min(opening, LONGEST),
            timeout=min(answering, LONGEST),
            clock=clock,
            name=self.name,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} to {self._endpoint}>"

    # -- the contract -----------------------------------------------------------------------------

    def _write(self, batch: Sequence[Record]) -> None:
        rejected: list[Record] = []
        reasons: list[str] = []
        left = list(reversed(self._portions(batch)))
        try:
            self._backoff.check(f"{self.name}: {self._endpoint} is down", self._trouble)
            while left:
                answer = self._post(left[-1])
                portion = left.pop()
                if answer is None:
                    continue
                if len(portion) == 1:
                    rejected.append(portion[0])
                    reasons.append(str(answer))
                    continue
                self.ledger.count("http.splits")
                half = len(portion) // 2
                left += [portion[half:], portion[:half]]
        except SinkError as error:
            # One error has one meaning: the rejected ones are sent, and rejected, once more.
            rest = [record for portion in reversed(left) for record in portion]
            error.unwritten = (*rejected, *rest)
            raise
        if rejected:
            text = f"{self.name}: {self._endpoint} refuses {len(rejected)} record(s): {reasons[-1]}"
            refusal = SinkRejectedError(text, rejected)
            refusal.reasons = tuple(reasons)
            raise refusal

    def _portions(self, batch: Sequence[Record]) -> list[Sequence[Record]]:
        limit = self._max_batch_bytes
        portions: list[Sequence[Record]] = []
        begin = size = 0
        for position, record in enumerate(batch):
            length = len(record[1]) + 1
            if size and size + length > limit:
                portions.append(batch[begin:position])
                begin, size = position, 0
            size += length
        portions.append(batch[begin:])
        return portions

    def _post(self, portion: Sequence[Record]) -> Answer | None:
        """Send one request; return None if it was accepted, and the answer if *portion* is the trouble.

        Raises:
            SinkError: without ``unwritten``: the trouble is elsewhere.
        """
        body = self._body(portion)
        if self._gzip:
            packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)  # 31: with gzip's header
            body = packer.compress(body) + packer.flush()
        self.ledger.count("http.requests")
        self.ledger.count("http.bytes_sent", len(body))
        try:
            answer = self._client.post(body, self._headers)
        except SinkError as error:
            self._leave_alone(error)
            raise
        if answer.accepted or answer.about_the_documents:
            self._backoff.reset()
            self._trouble = None
            return None if answer.accepted else answer
        refusal = SinkUnavailableError(f"{self.name}: {self._endpoint}: {answer}")
        self._leave_alone(refusal, answer.retry_after)
        raise refusal

    def _leave_alone(self, error: SinkError, asked: float | None = None) -> None:
        self._trouble = error
        if asked is None:
            self._backoff.failed()
        else:
            self._backoff.hold(min(asked, _HOLD_MAX))
        left = self._backoff.remaining()
        if left > 0:
            error.retry_after = left

    def _flush(self, timeout: float | None) -> None:
        """Nothing waits here: a record is answered for, or the caller's."""

    def _close(self, timeout: float | None) -> None:
        del timeout
        self._client.close()

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self._client.forget()
        self._backoff.reset()
        self._trouble = None


def _endpoint(url: Any, argument: str) -> Endpoint:
    shown = without_login(url)
    wrong = f'{argument}: {shown!r} is no URL; use "http://host:port/path" or "https://…"'
    if not isinstance(url, str):
        raise ConfigError(wrong)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if host:
            host.encode("idna")
    except ValueError:
        raise ConfigError(wrong) from None
    if parts.username is not None or parts.password is not None:  # and never show it
        msg = f"{argument}: has a user or password in it; give them as auth=(user, password)"
        raise ConfigError(msg)
    if parts.scheme not in ("http", "https") or not host or not re.fullmatch(r"[!-~]+", url):
        raise ConfigError(wrong)
    query = f"?{parts.query}" if parts.query else ""
    return Endpoint(parts.scheme, host, port, f"{parts.path or '/'}{query}")


def _authorization(auth: Any, argument: str) -> dict[str, str]:
    if auth is None:
        return {}
    if isinstance(auth, str) and auth and re.fullmatch(r"[!-~]+", auth):
        return {"Authorization": f"Bearer {auth}"}
    two = isinstance(auth, tuple | list) and [type(one) for one in auth] == [str, str]
    if two and ":" not in auth[0]:
        pair = base64.b64encode(":".join(auth).encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    msg = f"{argument}: is neither (user, password) nor a bearer token"
    raise ConfigError(msg)


def _headers(headers: Any, argument: str) -> dict[str, str]:
    checked: dict[str, str] = {}
    try:
        for header, value in dict(headers or {}).items():
            if not HEADER_NAME.fullmatch(header) or not HEADER_VALUE.fullmatch(value):
                raise ValueError
            checked[header] = value
    except (TypeError, ValueError):
        msg = f'{argument}: not a mapping of header names to text of one line, e.g. {{"X-Scope-OrgID": "team"}}'
        raise ConfigError(msg) from None
    return checked
