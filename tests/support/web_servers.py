"""Start a web server's command, load it with HTTP, stop it by its pid, and look at all that it said."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

from support.process import unmeasured
from support.servers import free_port

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "servers"
PATIENCE = 60.0
FORGERY = '","status":200,"x":"'
"""A header's value that breaks, or forges fields of, a line of JSON made with a template."""


class WebServer:
    """A running server; its output goes to files, so that it never waits for a reader."""

    def __init__(self, process, port, out, err):
        self.process = process
        self.port = port
        self._out = out
        self._err = err

    @property
    def stdout(self):
        """What it wrote to stdout by now."""
        return self._out.read_text("utf-8")

    @property
    def stderr(self):
        """What it wrote to stderr by now."""
        return self._err.read_text("utf-8")

    @property
    def events(self):
        """Every line of both, parsed: each one has to be one JSON object."""
        return [parsed(line) for line in (self.stdout + self.stderr).splitlines()]

    def named(self, event):
        """The events of one name."""
        return [one for one in self.events if one.get("event") == event]

    def access(self, path=None):
        """The access events, or those of one path."""
        found = [one for one in self.events if str(one.get("logger")).endswith(".access")]
        return [one for one in found if path is None or one["path"] == path]

    def get(self, path, **headers):
        """Return status and body; a new connection for each request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(
                "GET",
                path,
                headers={name.replace("_", "-"): text for name, text in headers.items()},
            )
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def raw(self, data):
        """Send bytes that no client library would, and return all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(data)
            answer = b""
            with suppress(ConnectionError):
                while chunk := connection.recv(65536):
                    answer += chunk
            return answer

    def wait_for(self, condition, what="it"):
        """Wait until *condition* (of this server) is true, and return what it returned."""
        ends = time.monotonic() + PATIENCE
        while True:
            with suppress(ValueError):  # half a line
                found = condition(self)
                if found:
                    return found
            if time.monotonic() > ends:
                raise AssertionError(f"{what} did not happen; it said:\n{self.said()}")
            time.sleep(0.05)

    def said(self):
        """The end of its output: for messages."""
        return f"{self.stdout[-4000:]}\n-- stderr --\n{self.stderr[-4000:]}"

    def send(self, number):
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self):
        """Wait for its end, and return the exit code."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running; it said:\n{self.said()}") from None

    def stop(self, number=signal.SIGTERM):
        """Ask it to end and wait for that."""
        self.send(number)
        return self.wait()


def parsed(line):
    """Return the one JSON object that a line has to be."""
    try:
        found = json.loads(line)
    except ValueError as error:
        raise ValueError(f"no JSON: {line!r}") from error
    if not isinstance(found, dict):
        raise ValueError(f"no object: {line!r}")
    return found


def listens(port):
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


@contextmanager
def running(module, *arguments, cwd, logs, port=None, **extra):
    """Run ``python -m module arguments`` in *cwd*, with its output in the folder *logs*.

    ``{port}`` in an argument is the port; readiness is the caller's business.  Whatever happens, the
    process (its whole group: workers of a killed master too) is gone afterwards.
    """
    port = port or free_port()
    out, err = Path(logs) / "stdout.log", Path(logs) / "stderr.log"
    with out.open("ab") as stdout, err.open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *(one.format(port=port) for one in arguments)],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=unmeasured(PYTHONDONTWRITEBYTECODE="1", **extra),
            start_new_session=True,
        )
    try:
        yield WebServer(process, port, out, err)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


@contextmanager
def serving(module, *arguments, cwd, logs, **extra):
    """Do the same, and wait until the port is open."""
    with running(module, *arguments, cwd=cwd, logs=logs, **extra) as server:
        ends = time.monotonic() + PATIENCE
        while not listens(server.port):
            if server.process.poll() is not None or time.monotonic() > ends:
                raise AssertionError(f"the server is not there; it said:\n{server.said()}")
            time.sleep(0.05)
        yield server


def load(server):
    """Send what every server has to describe: an answer, an error, a path unknown, a hostile header."""
    assert server.get("/", User_Agent="a client/1.0")[0] == 200
    assert server.get("/broken")[0] == 500
    assert server.get("/nowhere?q=1")[0] == 404
    assert server.get("/forged", User_Agent=FORGERY + "%(h)s", Referer=FORGERY)[0] == 404
    server.raw(
        b"GET /split HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: "
        + FORGERY.encode()
        + b"\r\n%(h)s\r\n\r\n"
    )


def check(server, logger):
    """Assert what holds for every server once it has ended and :func:`load` was sent."""
    events = server.events  # raises if any line is not one JSON object
    counted = Counter(json.dumps(one, sort_keys=True) for one in events)
    assert [line for line, count in counted.items() if count > 1] == []
    access = [one for one in server.access() if one["path"] != "/split"]
    by_path = {one["path"]: one for one in access}
    assert sorted(one["path"] for one in access) == ["/", "/broken", "/forged", "/nowhere"]
    assert {path: one["status"] for path, one in by_path.items()} == {
        "/": 200, "/broken": 500, "/forged": 404, "/nowhere": 404,
    }  # fmt: skip
    for one in access:
        assert one["logger"] == logger
        assert one["event"] == "request"
        assert type(one["status"]) is int
        assert one["method"] == "GET"
        assert one["client_address"] == "127.0.0.1"
        assert one["http_version"] == "1.1"
        assert type(one.get("duration", 0.0)) is float
    assert by_path["/nowhere"]["query"] == "q=1"
    assert not any("x" in one for one in events)  # the forged field
    failed = [one for one in events if "exception" in one]
    assert [one["exception"]["message"] for one in failed] == ["the shelf is gone"]
    assert failed[0]["level"] == "error"
    assert len(server.named("order placed")) == 1
    return by_path
