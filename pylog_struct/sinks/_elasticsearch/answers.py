"""What an answer of the bulk API means, for the request and for each document of it."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Fate",
    "Item",
    "NoAnswerError",
    "all_created",
    "hint",
    "items",
    "reason_of",
    "retry_after",
]

_REASON_MAX: Final = 800  # characters
_PATIENCE_MAX: Final = 300.0  # seconds that a Retry-After is believed

# Statuses and types that are about the cluster, the index or our rights, not about the document: the
# same document is fine tomorrow.  A disk at its flood stage, a missing index and a full cluster come
# as 4xx, too.
_LATER: Final = frozenset({401, 403, 404, 408, 425, 429})
_NOT_ABOUT_THE_DOCUMENT: Final = frozenset(
    {
        "circuit_breaking_exception",
        "cluster_block_exception",
        "es_rejected_execution_exception",
        "index_closed_exception",
        "index_not_found_exception",
        "no_shard_available_action_exception",
        "process_cluster_event_timeout_exception",
        "rejected_execution_exception",
        "security_exception",
        "unavailable_shards_exception",
        "validation_exception",  # the limit of shards of the cluster, for one
    }
)


class Fate(Enum):
    """What became of one document."""

    DONE = "done"
    DUPLICATE = "duplicate"
    LATER = "later"
    NEVER = "never"


class Item(NamedTuple):
    """One document's part of an answer."""

    fate: Fate
    reason: str = ""


class NoAnswerError(Exception):
    """The body is not what the bulk API answers."""


_DONE: Final = Item(Fate.DONE)
_DUPLICATE: Final = Item(Fate.DUPLICATE)
_CREATED: Final = b'{"create":{"status":201}}'


def all_created(body: bytes, number: int) -> bool:
    """Whether *body* says in the shortest way that each of *number* documents is new.

    Not a sampling: the whole answer is compared, so every status is looked at, and nearly every answer
    needs no more than that.
    """
    return body == b'{"errors":false,"items":[%b]}' % b",".join([_CREATED] * number)


def items(body: bytes, number: int) -> list[Item]:
    """Return what became of each of *number* documents, in their order.

    ``"errors": false`` is not believed: every status is looked at.

    Raises:
        NoAnswerError: it is no such answer, or does not have one status for each document.
    """
    try:
        found = orjson.loads(body)["items"]
        answers = [next(iter(item.values())) for item in found]
        statuses = [answer["status"] for answer in answers]
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError, StopIteration):
        raise NoAnswerError(f"no answer of the bulk API: {_beginning(body)}") from None
    if len(statuses) != number or not all(isinstance(status, int) for status in statuses):
        raise NoAnswerError(f"{len(statuses)} results for {number} documents")
    return [
        _DONE if 200 <= status < 300 else _item(status, answer.get("error"))
        for status, answer in zip(statuses, answers, strict=True)
    ]


def _item(status: int, error: Any) -> Item:
    if status == 409:
        return _DUPLICATE
    kind = error.get("type") if isinstance(error, dict) else None
    later = status >= 500 or status in _LATER or kind in _NOT_ABOUT_THE_DOCUMENT
    return Item(Fate.LATER if later else Fate.NEVER, f"{status} {_explained(error)}")


def _explained(error: Any) -> str:
    """``type: reason (cause: reason)`` of an error object."""
    if not isinstance(error, dict):
        return str(error or "no reason given")[:_REASON_MAX]
    text = f"{error.get('type', 'error')}: {error.get('reason', 'no reason given')}"
    cause = error.get("caused_by")
    if isinstance(cause, dict):
        text += f" ({cause.get('type', 'cause')}: {cause.get('reason', '')})"
    return text[:_REASON_MAX]


def reason_of(body: bytes) -> str:
    """Return why a whole request was refused."""
    try:
        error = orjson.loads(body)["error"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return _beginning(body)
    return _explained(error)


def _beginning(body: bytes) -> str:
    text = " ".join(body[:400].decode("utf-8", "replace").split())
    return text[:200] or "an empty body"


def hint(status: int) -> str:
    """Return what to do about a refused request."""
    return {
        401: "check api_key, basic_auth or bearer_auth",
        403: "the account needs the privileges create_doc and auto_configure on the target",
        404: 'no such target, or not the bulk API; "pylog elk setup" installs the template',
        405: "this does not seem to be the bulk API of Elasticsearch or OpenSearch",
        406: "this does not seem to be the bulk API of Elasticsearch or OpenSearch",
        415: "this does not seem to be the bulk API of Elasticsearch or OpenSearch",
    }.get(status, "")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the header ``Retry-After`` asks for, at most 300; None without it."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), _PATIENCE_MAX) if seconds == seconds else None  # noqa: PLR0124 - NaN
