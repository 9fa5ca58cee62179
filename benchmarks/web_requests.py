"""Requests per second of a trivial FastAPI route under uvicorn, with one access line for each request.

Three servers, each in a process of its own, with the same route:

- ``uvicorn``: its own access log, plain text;
- ``ours``: ``RequestMiddleware`` (an id, bound and echoed, and an access event with its fields as JSON)
  into a ``QueueSink`` with a linger, and uvicorn's access log turned off;
- ``recipe``: asgi-correlation-id, and an access event by a ``@app.middleware("http")`` around
  structlog, as structlog's documentation and the examples for FastAPI have it.

Each writes to a file.  One client in a process of its own, the same for all, keeps a number of
connections busy: ``wrk`` if it is on the PATH, else a small one on asyncio.  Contestants take turns in
short rounds, and a ratio is the median of the rounds' ratios, so that a busy machine disturbs all of
them.  Afterwards the lines are counted: one for each request that was answered::

    python benchmarks/web_requests.py
    python benchmarks/web_requests.py --rounds 15 --seconds 2
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from fastapi import FastAPI

UVICORN, OURS, RECIPE = "uvicorn", "ours", "recipe"
TARGETS = {(OURS, UVICORN): 0.95, (OURS, RECIPE): 1.2}
PATH = "/items/42"
BODY = b'{"item_id":42}'
CONNECTIONS = 16
PATIENCE = 60.0


# -- the servers ----------------------------------------------------------------------------------


def make_app() -> FastAPI:
    """Make the application that all contestants have."""
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, int]:
        return {"item_id": item_id}

    return app


def uvicorn_app() -> tuple[Any, dict[str, Any]]:
    """Leave the access log to uvicorn."""
    return make_app(), {"access_log": True, "log_level": "info"}


def our_app() -> tuple[Any, dict[str, Any]]:
    """Have this package do it."""
    import pylog_struct
    from pylog_struct.sinks import QueueSink, StreamSink
    from pylog_struct.web import RequestMiddleware

    # With a linger the queue's thread wakes up twenty times a second, not for every event: what
    # the how-to page advises for servers.
    pylog_struct.configure(format="json", sink=QueueSink(StreamSink("stdout"), linger="50 ms"))
    return RequestMiddleware(make_app()), {"access_log": False, "log_config": None}


def recipe_app() -> tuple[Any, dict[str, Any]]:
    """Have asgi-correlation-id and structlog do it, as documented."""
    import structlog
    from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
    from fastapi import Request

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("INFO"),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    log = structlog.get_logger()
    app = make_app()

    @app.middleware("http")
    async def access(request: Request, call_next: Any) -> Any:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=correlation_id.get())
        started = time.perf_counter()
        response = await call_next(request)
        route = request.scope.get("route")
        log.info(
            "request",
            method=request.method,
            path=request.url.path,
            route=getattr(route, "path", None),
            status=response.status_code,
            duration=time.perf_counter() - started,
            response_bytes=int(response.headers.get("content-length", 0)),
            client_address=request.client.host,
            client_port=request.client.port,
            user_agent=request.headers.get("user-agent"),
            http_version=request.scope["http_version"],
            scheme=request.url.scheme,
        )
        return response

    app.add_middleware(CorrelationIdMiddleware)
    return app, {"access_log": False, "log_level": "warning"}


CONTESTANTS = {UVICORN: uvicorn_app, OURS: our_app, RECIPE: recipe_app}


def serve(contestant: str, port: int, http: str, loop: str) -> None:
    """Run one server until it is told to stop."""
    import uvicorn

    app, options = CONTESTANTS[contestant]()
    uvicorn.run(app, host="127.0.0.1", port=port, http=http, loop=loop, **options)


@dataclass
class Server:
    """A contestant in its process."""

    contestant: str
    port: int
    log: Path
    process: subprocess.Popen[bytes]
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Seconds of CPU for a request, of each burst: of all threads of the server."""
    answered: int = 0

    @classmethod
    def start(cls, contestant: str, folder: Path, options: argparse.Namespace) -> Server:
        """Start it, and wait until it answers."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        log = folder / f"{contestant}.log"
        command = [sys.executable, __file__, "--serve", contestant, "--port", str(port)]
        command += ["--http", options.http, "--loop", options.loop]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        made = cls(contestant, port, log, process)
        ends = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                if process.poll() is not None or time.monotonic() > ends:
                    made.stop()
                    sys.exit(f"{contestant} did not start:\n{log.read_text()}")
                time.sleep(0.05)
            else:
                return made

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def cpu_seconds(self) -> float:
        """Return what it has used so far."""
        used = psutil.Process(self.process.pid).cpu_times()
        return float(used.user + used.system)

    def lines(self) -> int:
        """Count its access lines; ours and the recipe's have to be JSON with the fields."""
        text = self.log.read_text()
        if self.contestant == UVICORN:
            return len(re.findall(rf'"GET {PATH} HTTP/1\.1" 200', text))
        events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        wanted = {"method": "GET", "path": PATH, "route": "/items/{item_id}", "status": 200}
        return sum(
            event.items() >= wanted.items() and bool(event["request_id"]) for event in events
        )


# -- the client -----------------------------------------------------------------------------------


class Connection(asyncio.Protocol):
    """Sends a request, waits for the end of its answer, and sends the next one."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.answered = 0
        self.going = True
        self.rest = b""
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        if not data.endswith(BODY):
            self.rest = data
            return
        assert data.startswith(b"HTTP/1.1 200"), data
        self.rest = b""
        self.answered += 1
        if self.going:
            self.transport.write(self.request)
        else:
            self.transport.close()
            self.closed.set_result(None)


async def drive(port: int, seconds: float) -> dict[str, float]:
    """Keep the connections busy for so long; count what was answered."""
    loop = asyncio.get_running_loop()
    request = (
        f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: web-requests\r\n"
        "Accept: */*\r\n\r\n"
    ).encode()
    started = time.perf_counter()
    each = [
        (await loop.create_connection(lambda: Connection(request), "127.0.0.1", port))[1]
        for _ in range(CONNECTIONS)
    ]
    await asyncio.sleep(seconds)
    answered = sum(one.answered for one in each)
    elapsed = time.perf_counter() - started
    for one in each:
        one.going = False
    await asyncio.gather(*(one.closed for one in each))
    total = sum(one.answered for one in each)
    return {"rate": answered / elapsed, "answered": total}


def load(server: Server, seconds: float, *, keep: bool) -> None:
    """Run the client against one server, and note the rate."""
    wrk = shutil.which("wrk")
    url = f"http://127.0.0.1:{server.port}{PATH}"
    if wrk:
        command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", url]
    else:
        command = [sys.executable, __file__, "--drive", str(server.port)]
        command += ["--seconds", str(seconds)]
    before = server.cpu_seconds()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    used = server.cpu_seconds() - before
    if done.returncode:
        sys.exit(f"the client failed:\n{done.stdout}\n{done.stderr}")
    if wrk:
        rate = float(re.findall(r"Requests/sec:\s+([0-9.]+)", done.stdout)[0])
        answered = int(re.findall(r"([0-9]+) requests in", done.stdout)[0])
    else:
        found = json.loads(done.stdout)
        rate, answered = found["rate"], found["answered"]
    server.answered += answered
    if keep:
        server.rates.append(rate)
        server.cpu.append(used / answered)


# -- the contest ----------------------------------------------------------------------------------


def main() -> int:
    """Measure in turns, and say whether the targets are reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.5, help="of one burst")
    parser.add_argument("--http", default="auto", help="uvicorn's: h11, httptools, auto")
    parser.add_argument("--loop", default="auto", help="uvicorn's: asyncio, uvloop, auto")
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    parser.add_argument("--serve", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--drive", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.port, options.http, options.loop)
        return 0
    if options.drive:
        print(json.dumps(asyncio.run(drive(options.drive, options.seconds))))
        return 0
    with TemporaryDirectory() as home, ExitStack() as stack:
        servers: dict[str, Server] = {}
        for name in CONTESTANTS:
            servers[name] = Server.start(name, Path(home), options)
            stack.callback(servers[name].stop)
        for server in servers.values():
            load(server, options.seconds, keep=False)
        order = list(servers.values())
        for _ in range(options.rounds):
            for server in order:
                load(server, options.seconds, keep=True)
            order.append(order.pop(0))
        stack.pop_all().close()  # and wait for the last lines
        return report(servers, options)


def report(servers: dict[str, Server], options: argparse.Namespace) -> int:
    """Print rates and ratios; return how many targets were missed."""
    client = "wrk" if shutil.which("wrk") else "asyncio client"
    print(f"{client}, {CONNECTIONS} connections, {os.cpu_count()} CPUs, http={options.http}")
    print("\n| contestant | requests/s | slowest to fastest | CPU µs/request | lines / answers |")
    print("|---|---:|---:|---:|---:|")
    missed = 0
    for name, server in servers.items():
        rates = sorted(server.rates)
        lines = server.lines()
        if client != "wrk" and lines != server.answered:  # wrk leaves requests unfinished
            missed += 1
        print(
            f"| {name} | {statistics.median(rates):,.0f} | {rates[0]:,.0f} to {rates[-1]:,.0f}"
            f" | {statistics.median(server.cpu) * 1e6:.0f} | {lines} / {server.answered} |"
        )
    ratios = {}
    print()
    for (mine, theirs), wanted in TARGETS.items():
        pairs = zip(servers[mine].rates, servers[theirs].rates, strict=True)
        ratio = ratios[f"{mine}/{theirs}"] = statistics.median(one / two for one, two in pairs)
        verdict = "PASS" if ratio >= wanted else "FAIL"
        missed += verdict == "FAIL"
        print(f"{mine} / {theirs}, median of the rounds: {ratio:.3f} (wanted {wanted}): {verdict}")
    if options.json:
        rates_of = {name: server.rates for name, server in servers.items()}
        options.json.write_text(json.dumps({"rates": rates_of, "ratios": ratios}, indent=1) + "\n")
    return missed


if __name__ == "__main__":
    sys.exit(main())
