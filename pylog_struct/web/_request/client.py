"""Who sent a request: the peer of the connection, or, behind proxies that are trusted, who they say.

Sources: RFC 7239 for ``Forwarded``; ``X-Forwarded-For`` by its common use.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pylog_struct.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FORWARDED", "FORWARDED_FOR", "Proxies", "is_ip"]

FORWARDED: Final = "forwarded"
FORWARDED_FOR: Final = "x-forwarded-for"

_HEADER_MAX: Final = 4096  # characters, from the right: the nearest proxies are there
_HOPS_MAX: Final = 32
_ADDRESS_MAX: Final = 64  # characters, with a port

_Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
_Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"


def is_ip(address: str) -> bool:
    """Whether *address* is one of the Internet Protocol."""
    return len(address) <= _ADDRESS_MAX and _is_ip(address)


@lru_cache(maxsize=1024)
def _is_ip(address: str) -> bool:
    return _parsed(address) is not None


def _parsed(text: str) -> _Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return found if mapped is None else mapped


class Proxies:
    """Proxies whose word about the client counts.

    Args:
        trusted: Addresses and networks, such as ``"10.0.0.0/8"``, ``"127.0.0.1"`` and ``"::1"``;
            ``"unix"`` for a peer without an address (a Unix socket).
        header: Which of the two headers they set, in lower case.  Only one is read: the other may
            be the client's own, passed through.

    Raises:
        ConfigError: one of them is no address.

    Threads: thread-safe.
    """

    def __init__(self, trusted: Iterable[Any], header: str = FORWARDED_FOR) -> None:
        self._networks: list[_Network] = []
        self._unix = False
        self.header = header
        for position, one in enumerate(trusted):
            if one == "unix":
                self._unix = True
                continue
            try:
                self._networks.append(ipaddress.ip_network(one, strict=False))
            except (ValueError, TypeError):
                raise ConfigError(
                    f"trusted_proxies[{position}]: {one!r} is no address or network;"
                    ' use text such as "10.0.0.0/8" or "127.0.0.1", or "unix"'
                ) from None

    def trusts(self, address: str) -> bool:
        """Whether *address* is one of them."""
        if not address:
            return self._unix
        found = _parsed(address)
        return found is not None and any(found in network for network in self._networks)

    def client(self, peer: str, port: int | None, values: Iterable[str]) -> tuple[str, int | None]:
        """Return the address of the client, and its port if that is known.

        From the right, the first hop that is none of the proxies is the client; what is left of it
        is only what that one says.  What is no address ends the walk: the last good one stands.

        Args:
            peer: The address at the other end of the connection; nothing for a Unix socket.
            port: Its port.
            values: The values of the header, in order.
        """
        if not self.trusts(peer):
            return peer, port
        text = ",".join(values)
        hops = text[-_HEADER_MAX:].split(",")
        if len(text) > _HEADER_MAX:
            del hops[0]  # a part of one
        for hop in reversed(hops[-_HOPS_MAX:]):
            found = _node(_forwarded_node(hop) if self.header == FORWARDED else hop)
            if found is None:
                break
            peer, port = found
            if not self.trusts(peer):
                break
        return peer, port


def _forwarded_node(hop: str) -> str:
    """Return the node of ``for=`` in one element of ``Forwarded``."""
    for pair in hop.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.lower() == "for":
            return value.strip().strip('"')
    return ""


def _node(text: str) -> tuple[str, int | None] | None:
    """Return address and port of ``192.0.2.1``, ``192.0.2.1:80``, ``2001:db8::1``, ``[2001:db8::1]:80``."""
    text = text.strip()
    if len(text) > _ADDRESS_MAX:
        return None
    host, number = text, ""
    if text.startswith("["):
        host, _, number = text[1:].partition("]")
        number = number.removeprefix(":")
    elif text.count(":") == 1:
        host, _, number = text.partition(":")
    found = _parsed(host)
    if found is None:
        return None
    port = int(number) if number.isascii() and number.isdecimal() and len(number) < 6 else None
    return str(found), port if port is not None and port < 65536 else None
