"""Certificates for tests, good ones and each kind of bad one, made when they are asked for."""

from __future__ import annotations

import datetime as dt
import functools
import ssl
from pathlib import Path

import trustme


@functools.cache
def authority(name="ours"):
    """A certificate authority; the same one for the same name."""
    return trustme.CA(organization_name=f"{name} tests")


@functools.cache
def certificate(host="localhost", *, of="ours", expired=False):
    """A server's (or client's) certificate."""
    if expired:
        past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        return authority(of).issue_cert(host, not_after=past, not_before=past.replace(year=2020))
    return authority(of).issue_cert(host)


def server_context(made=None, *, asks_for="", max_version=None):
    """What a TLS server needs; *asks_for* an authority, clients must show one of its certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (made or certificate()).configure_cert(context)
    if max_version is not None:
        context.maximum_version = max_version
    if asks_for:
        authority(asks_for).configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def write_ca(folder, name="ours"):
    """Write an authority's certificate; return its path as text."""
    path = Path(folder) / f"ca-{name}.pem"
    authority(name).cert_pem.write_to_path(str(path))
    return str(path)


def write_pair(folder, made=None):
    """Write certificate and key; return both paths as text."""
    made = made or certificate()
    cert, key = Path(folder) / "cert.pem", Path(folder) / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    made.private_key_pem.write_to_path(str(key))
    return str(cert), str(key)
