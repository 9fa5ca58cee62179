"""Where the servers are and how to be let in: validated, without touching any of it."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from pylog_struct.errors import ConfigError
from pylog_struct.sinks._network.address import without_login
from pylog_struct.sinks._network.http_client import HEADER_NAME, HEADER_VALUE

__all__ = ["Connection", "Host", "connection"]

_PORTS: Final = {"http": 9200, "https": 443}
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")


class Host(NamedTuple):
    """One node of the cluster."""

    scheme: str
    name: str
    port: int
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Connection:
    """All that a client is made from; secrets stay out of its ``repr``."""

    hosts: tuple[Host, ...]
    headers: Mapping[str, str] = field(repr=False)
    ca_certs: str | None = None
    fingerprint: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    verify_certs: bool = True


def connection(
    owner: str,
    hosts: str | Sequence[str],
    *,
    api_key: str | Sequence[str] | None = None,
    basic_auth: str | Sequence[str] | None = None,
    bearer_auth: str | None = None,
    headers: Mapping[str, str] | None = None,
    ca_certs: str | os.PathLike[str] | None = None,
    fingerprint: str | None = None,
    client_cert: str | os.PathLike[str] | None = None,
    client_key: str | os.PathLike[str] | None = None,
    verify_certs: bool = True,
) -> Connection:
    """Check what a constructor was given; *owner* is its class, for the messages.

    Raises:
        ConfigError: something is wrong, or the client library is not installed.
    """
    # Here, and not on first use: in the child of a fork in the middle of an import, a module stays
    # half of what it is.
    try:
        import elastic_transport  # noqa: F401, PLC0415 - an extra: only who uses it needs it
    except ImportError as error:
        msg = (
            f"{owner}: needs the package 'elastic-transport';"
            ' pip install "pylog-struct[elasticsearch]"'
        )
        raise ConfigError(msg) from error
    found, user = _hosts(owner, hosts)
    sent = _plain_headers(owner, headers)
    secrets: list[tuple[str, Any]] = [
        (name, value)
        for name, value in (
            ("basic_auth", user),
            ("api_key", api_key),
            ("basic_auth", basic_auth),
            ("bearer_auth", bearer_auth),
        )
        if value is not None
    ]
    if len(secrets) > 1:
        names = " and ".join(name for name, _ in secrets)
        raise ConfigError(f"{owner}: {names} are given; use one way to log in")
    for name, value in secrets:
        sent["authorization"] = _authorization(f"{owner}.{name}", name, value)
    tls = {
        "ca_certs": _path(owner, "ca_certs", ca_certs),
        "client_cert": _path(owner, "client_cert", client_cert),
        "client_key": _path(owner, "client_key", client_key),
        "fingerprint": _fingerprint(owner, fingerprint),
    }
    if not isinstance(verify_certs, bool):
        raise ConfigError(f"{owner}.verify_certs: {verify_certs!r} is no flag; use True or False")
    given = [name for name, value in tls.items() if value is not None]
    if given and all(host.scheme == "http" for host in found):
        raise ConfigError(f"{owner}.{given[0]}: needs hosts that start with https://")
    if tls["client_key"] is not None and tls["client_cert"] is None:
        raise ConfigError(f"{owner}.client_key: needs client_cert too")
    return Connection(found, sent, verify_certs=verify_certs, **tls)


def _hosts(owner: str, hosts: Any) -> tuple[tuple[Host, ...], tuple[str, str] | None]:
    urls = [hosts] if isinstance(hosts, str) else hosts
    if not isinstance(urls, Sequence) or not urls:
        msg = (
            f'{owner}.hosts: {hosts!r} names no host; use "https://es.example.com:9200", or a list'
        )
        raise ConfigError(msg)
    found: list[Host] = []
    user: tuple[str, str] | None = None
    for url in urls:
        host, login = _host(owner, url)
        if host in found:
            raise ConfigError(f"{owner}.hosts: {without_login(url)!r} is listed twice")
        found.append(host)
        user = user or login
    return tuple(found), user


def _host(owner: str, url: Any) -> tuple[Host, tuple[str, str] | None]:
    try:
        parts = urlsplit(url)
        name, port = parts.hostname, parts.port
        if name:
            name.encode("idna")  # what looking the name up would stumble over
    except (ValueError, AttributeError, TypeError):
        name = port = None
        parts = urlsplit("")
    if not name or parts.scheme not in _PORTS or parts.query or parts.fragment or port == 0:
        shown = without_login(url)
        msg = f"{owner}.hosts: {shown!r} is no node; use http(s)://HOST[:PORT][/PREFIX]"
        raise ConfigError(msg)
    login = None
    if parts.username is not None:
        login = (unquote(parts.username), unquote(parts.password or ""))
    return Host(parts.scheme, name, port or _PORTS[parts.scheme], parts.path.rstrip("/")), login


def _plain_headers(owner: str, headers: Any) -> dict[str, str]:
    if headers is None:
        return {}
    if not isinstance(headers, Mapping) or not all(
        isinstance(key, str)
        and isinstance(value, str)
        and HEADER_NAME.fullmatch(key)
        and HEADER_VALUE.fullmatch(value)
        for key, value in headers.items()
    ):
        raise ConfigError(f"{owner}.headers: use a mapping of names to texts of one line")
    return {key.lower(): value for key, value in headers.items()}


def _authorization(argument: str, name: str, value: Any) -> str:
    if isinstance(value, str):
        if value and value.isprintable():
            if name == "bearer_auth" and value.isascii():
                return f"Bearer {value}"
            if name == "api_key" and ":" not in value and value.isascii():
                return f"ApiKey {value}"
            if name != "bearer_auth" and ":" in value:
                return _encoded(name, value)
    elif (
        name != "bearer_auth"
        and isinstance(value, Sequence)
        and len(value) == 2
        and all(isinstance(part, str) for part in value)
    ):
        return _encoded(name, ":".join(value))
    right = {
        "api_key": 'the encoded key, "ID:KEY", or [ID, KEY]',
        "basic_auth": '"USER:PASSWORD" or [USER, PASSWORD]',
        "bearer_auth": "the token as text",
    }[name]
    raise ConfigError(f"{argument}: not usable (it is not shown here); use {right}")


def _encoded(name: str, pair: str) -> str:
    scheme = "ApiKey" if name == "api_key" else "Basic"
    return f"{scheme} {base64.b64encode(pair.encode()).decode()}"


def _path(owner: str, argument: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ConfigError(f"{owner}.{argument}: {value!r} is no path of a PEM file")
    return str(os.fspath(value))


def _fingerprint(owner: str, value: Any) -> str | None:
    if value is None:
        return None
    plain = value.replace(":", "").lower() if isinstance(value, str) else ""
    if _FINGERPRINT.fullmatch(plain) is None:
        msg = (
            f"{owner}.fingerprint: {value!r} is no SHA-256 fingerprint;"
            " use its 64 hexadecimal digits, with or without colons"
        )
        raise ConfigError(msg)
    return str(plain)
