"""What an error of librdkafka says about a record: never, not now, or ask for it alone."""

from __future__ import annotations

from typing import Any, Final

__all__ = [
    "is_about_the_record",
    "is_unanswered",
    "is_unconfirmed",
    "says_that_the_producer_is_dead",
    "text_of",
]

_ABOUT_THE_RECORD: Final = frozenset(
    {
        "MSG_SIZE_TOO_LARGE",  # this record, or the request that it was in
        "INVALID_MSG_SIZE",
        "RECORD_LIST_TOO_LARGE",
        "INVALID_RECORD",  # a compacted topic wants a key; a broker's own validation
        "INVALID_TIMESTAMP",  # too far from the broker's clock
        "_INVALID_DIFFERENT_RECORD",  # another record of the same request
    }
)
_UNANSWERED: Final = frozenset({"_PURGE_QUEUE", "_PURGE_INFLIGHT", "_QUEUE_FULL"})
_DEAD: Final = frozenset(
    {
        *("_FATAL", "_FENCED", "_DESTROY", "_STATE", "INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED"),
        # These it remembers for minutes, after the topic or the permission is there.
        *("_UNKNOWN_TOPIC", "UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_PARTITION"),
        *("TOPIC_AUTHORIZATION_FAILED", "TOPIC_EXCEPTION"),
        # Its sequence numbers are torn, and it may go on purging what comes next.
        "_PURGE_INFLIGHT",
    }
)


def is_about_the_record(error: Any) -> bool:
    """Whether the broker or the client refuses this record, or another one of its request.

    The errors of the destination (no topic, no permission, too few replicas) end when somebody
    repairs it: they are not about the record, although librdkafka does not retry some of them.
    """
    return error.name() in _ABOUT_THE_RECORD and not error.fatal()


def is_unanswered(error: Any) -> bool:
    """Whether the record was taken back, because nobody said anything about it in time."""
    return error.name() in _UNANSWERED


def is_unconfirmed(error: Any) -> bool:
    """Whether the record was taken back, so that the broker may have it all the same.

    Also from the queue: it may wait there for being sent once more, after a connection broke.
    """
    return error.name() in {"_PURGE_INFLIGHT", "_PURGE_QUEUE"}


def says_that_the_producer_is_dead(error: Any) -> bool:
    """Whether only a new producer can go on."""
    return bool(error.fatal()) or error.name() in _DEAD


def text_of(error: Any) -> str:
    """The error in a few words: its name and what librdkafka says."""
    return f"{error.name()}: {error.str()}"
