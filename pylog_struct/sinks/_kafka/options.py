"""What a ``KafkaSink`` can be told, checked at construction, as the configuration of librdkafka."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pylog_struct.errors import ConfigError

__all__ = [
    "check_acks",
    "check_compression",
    "check_config",
    "check_headers",
    "check_servers",
    "check_topic",
    "load_client",
    "producer_config",
]

OWNED: Final[Mapping[str, str]] = {
    "bootstrap.servers": "the argument bootstrap_servers",
    "metadata.broker.list": "the argument bootstrap_servers",
    "acks": "the argument acks",
    "request.required.acks": "the argument acks",
    "enable.idempotence": "the argument idempotence",
    "compression.type": "the argument compression",
    "compression.codec": "the argument compression",
    "message.timeout.ms": "the argument timeout",
    "delivery.timeout.ms": "the argument timeout",
    "delivery.report.only.error": "nothing; the sink reads the delivery reports",
    "on_delivery": "nothing; the sink reads the delivery reports",
    "dr_cb": "nothing; the sink reads the delivery reports",
    "dr_msg_cb": "nothing; the sink reads the delivery reports",
    "error_cb": "nothing; errors are reported on stderr and raised by write",
    "logger": "nothing; the client's log is reported on stderr",
    "log_cb": "nothing; the client's log is reported on stderr",
    "log.queue": "nothing; the client's log is reported on stderr",
    "transactional.id": "nothing; the sink does not do transactions",
}
"""Properties that belong to the sink, and what to use instead."""

_CALLBACKS: Final = frozenset({"stats_cb", "throttle_cb", "oauth_cb"})
_COMPRESSIONS: Final = ("none", "gzip", "snappy", "lz4", "zstd")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SERVER: Final = re.compile(
    r"(?:[A-Za-z_]+://)?(?:\[[0-9A-Fa-f:.%]+\]|[^\s,:/\[\]]+)(?::[0-9]{1,5})?"
)
_HOUR: Final = 3_600_000  # ms; the most that librdkafka takes
_END: Final = "pylog.end"  # no property of any client: see check_config

Headers = list[tuple[str, bytes | None]]


def load_client() -> Any:
    """Import confluent-kafka.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import confluent_kafka  # noqa: PLC0415 - an extra: only who uses Kafka needs it
    except ImportError as error:
        msg = 'KafkaSink: needs confluent-kafka; use pip install "pylog-struct[kafka]"'
        raise ConfigError(msg) from error
    return confluent_kafka


def check_servers(value: Any, argument: str) -> str:
    """Return brokers as librdkafka writes them, ``host:port,host:port``.

    Raises:
        ConfigError: there is none, or one is no ``host`` or ``host:port``.
    """
    if isinstance(value, str):
        servers = value.split(",")
    elif isinstance(value, Sequence) and all(isinstance(one, str) for one in value):
        servers = list(value)
    else:
        servers = []
    servers = [one.strip() for one in servers]
    if not servers or not all(map(_SERVER.fullmatch, servers)):
        msg = f'{argument}: {value!r} names no brokers; use "host:9092", or several as a list'
        raise ConfigError(msg)
    return ",".join(servers)


def check_topic(value: Any, argument: str) -> str:
    """Return *value* if Kafka allows it as a topic.

    Raises:
        ConfigError: it does not.
    """
    if not isinstance(value, str) or not _TOPIC.fullmatch(value) or value in {".", ".."}:
        msg = f"{argument}: {value!r} is no topic; use 1 to 249 letters, digits, '.', '_' or '-'"
        raise ConfigError(msg)
    return value


def check_headers(value: Any, argument: str) -> Headers | None:
    """Return static headers as librdkafka takes them; None for none.

    Raises:
        ConfigError: a name is not text, or a value neither text nor bytes nor None.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        msg = f'{argument}: {value!r} are no headers; use {{"content-type": "application/json"}}'
        raise ConfigError(msg)
    headers: Headers = []
    for name, content in value.items():
        if not isinstance(name, str) or not name or not isinstance(content, str | bytes | None):
            msg = (
                f"{argument}: {name!r}: {content!r} is no header;"
                " use text for the name, and text, bytes or None for the value"
            )
            raise ConfigError(msg)
        headers.append((name, content.encode() if isinstance(content, str) else content))
    return headers or None


def check_compression(value: Any, argument: str) -> str:
    """Return *value* if it names a compression that Kafka knows.

    Raises:
        ConfigError: it does not.
    """
    if value not in _COMPRESSIONS:
        msg = f"{argument}: {value!r} is no compression; use {', '.join(map(repr, _COMPRESSIONS))}"
        raise ConfigError(msg)
    return str(value)


def check_acks(value: Any, idempotence: Any, owner: str) -> str:
    """Return how many replicas have to confirm, ``"all"`` or ``"1"``.

    Raises:
        ConfigError: it is something else, or not ``"all"`` although *idempotence* needs that.
    """
    if not isinstance(idempotence, bool):
        msg = f"{owner}.idempotence: {idempotence!r} is no yes or no; use True or False"
        raise ConfigError(msg)
    known = {"all": "all", -1: "all", 1: "1"}
    acks = known.get(value) if type(value) in {str, int} else None
    if acks is None:
        # Not 0 either: librdkafka calls delivered then what it only sent, and it may be lost unseen.
        msg = f'{owner}.acks: {value!r} is no acknowledgement; use "all" or 1'
        raise ConfigError(msg)
    if idempotence and acks != "all":
        msg = f'{owner}.acks: {value!r} is too few for idempotence; use "all", or idempotence=False'
        raise ConfigError(msg)
    return acks


def check_config(value: Any, argument: str, client: Any) -> dict[str, Any]:
    """Return properties of librdkafka, checked by librdkafka itself, without a producer.

    It reads properties in the order given and stops at the first one that is wrong.  So one that
    does not exist is put at the end: if that is what it complains about, the others are right, and
    nothing was opened or started.

    Raises:
        ConfigError: a property is the sink's, unknown, or has a wrong value.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        msg = f'{argument}: {value!r} is no configuration; use {{"linger.ms": 10}}'
        raise ConfigError(msg)
    for name in value:
        if name in OWNED:
            msg = f"{argument}: {name!r} is the sink's; use {OWNED[name]}"
            raise ConfigError(msg)
        if name in _CALLBACKS and not callable(value[name]):
            msg = f"{argument}: {name!r}: {value[name]!r} cannot be called; use a function"
            raise ConfigError(msg)
    plain = {name: one for name, one in value.items() if name not in _CALLBACKS}
    if "plugin.library.paths" not in plain:  # reading that one loads them: left to the first write
        try:
            client.Producer({**plain, _END: 1})
        except Exception as error:
            reason: Any = error.args[0] if error.args else error
            text = reason.str() if isinstance(reason, client.KafkaError) else str(error)
            if _END not in text:
                msg = f"{argument}: {text}; use properties of librdkafka, as its CONFIGURATION.md has them"
                raise ConfigError(msg) from error
    return dict(value)


def producer_config(
    servers: str,
    acks: str,
    compression: str,
    timeout: float,
    extra: Mapping[str, Any],
    *,
    idempotence: bool,
) -> dict[str, Any]:
    """Return the whole configuration of a producer; *extra* replaces what is only a default."""
    return {
        "client.id": "pylog_struct",
        "reconnect.backoff.max.ms": 1000,  # a broker that is back is found by the next probe
        # A topic that does not exist is an error of its own, and not one more timeout.
        "topic.metadata.propagation.max.ms": min(max(int(timeout * 500), 1), _HOUR),
        "socket.keepalive.enable": True,
        "log.connection.close": False,  # brokers close idle connections; that is no trouble
        **extra,
        "bootstrap.servers": servers,
        "acks": acks,
        "enable.idempotence": idempotence,
        "compression.type": compression,
        # The sink's deadline ends all records of a batch at once.  librdkafka's would end one by
        # one, and what follows in the same partition would overtake it.
        "message.timeout.ms": 0,
        "delivery.report.only.error": True,
    }
