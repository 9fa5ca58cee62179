"""Scrapes without a server, and files as workers of prometheus-client's multiprocess mode leave them."""

from __future__ import annotations

import asyncio
import io
import os
from dataclasses import dataclass
from urllib.parse import quote

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

NOBODY = 90_000_000
"""Pids from here on belong to no process, whatever the machine's limit is."""


@dataclass(frozen=True)
class Answer:
    """What an application answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def samples(self):
        """The samples in the body, by name and labels."""
        return samples(self.body.decode())


def samples(text):
    """The samples of an exposition, by name and labels (as a sorted tuple of pairs)."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def total(found, name, **labels):
    """The sum of all samples of *name* that have these labels."""
    wanted = set(labels.items())
    return sum(
        value for (sample, pairs), value in found.items() if sample == name and wanted <= set(pairs)
    )


def ask_asgi(app, path="/metrics", method="GET", query="", root="", **headers):
    """Call an ASGI application once."""
    sent = []
    incoming = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if not incoming:
            await asyncio.Event().wait()  # the client stays
        return incoming.pop()

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": root + path,
        "raw_path": quote(root + path).encode(),
        "root_path": root,
        "query_string": query.encode(),
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    asyncio.run(app(scope, receive, send))
    start = sent[0]
    assert start["type"] == "http.response.start"
    body = b"".join(message.get("body", b"") for message in sent[1:])
    head = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], head, body)


def ask_wsgi(app, path="/metrics", method="GET", query="", root="", **headers):
    """Call a WSGI application once."""
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": root,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
    }
    started = []

    def start_response(status, head, exc_info=None):
        started.append((int(status.split()[0]), {name.lower(): value for name, value in head}))

    result = app(environ, start_response)
    try:
        body = b"".join(result)
    finally:
        getattr(result, "close", lambda: None)()
    return Answer(*started[-1], body)


# -- the files of the multiprocess mode ----------------------------------------------------------------


def key(metric, sample, labels=None, text="A text."):
    """The key of a value."""
    labels = labels or {}
    return mmap_key(metric, sample, list(labels), list(labels.values()), text)


def write(directory, kind, owner, values):
    """Write ``<kind>_<owner>.db`` with values by key, or pairs of value and time."""
    path = directory / f"{kind}_{owner}.db"
    store = MmapedDict(str(path))
    try:
        for each, value in values.items():
            number, moment = value if isinstance(value, tuple) else (value, 0.0)
            store.write_value(each, number, moment)
    finally:
        store.close()
    return path


def stock(directory):
    """What prometheus-client's own collector makes of the directory."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=os.fspath(directory))
    return samples(generate_latest(registry).decode())


def names(directory):
    """The files with values."""
    return sorted(path.name for path in directory.iterdir() if path.name.endswith(".db"))
