"""A FastAPI application that does all that a request can do, and a real uvicorn to serve it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import contextmanager

import structlog
import uvicorn
from fastapi import BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse

from pylog_struct.web.executor import ContextExecutor

PATIENCE = 60.0
log = structlog.get_logger("handler")
pool = ContextExecutor(max_workers=2)


def dependency():
    log.info("sync dependency")


def make_app():
    app = FastAPI()

    @app.get("/async/{item}")
    async def async_route(item: int):
        log.info("async route")
        return {"item": item}

    @app.get("/sync", dependencies=[Depends(dependency)])
    def sync_route():
        log.info("sync route")
        return "ok"

    @app.get("/threads")
    async def threads():
        await asyncio.to_thread(log.info, "to_thread")
        await asyncio.get_running_loop().run_in_executor(pool, log.info, "executor")
        await asyncio.create_task(log.ainfo("task"))
        return "ok"

    @app.get("/background")
    async def background(tasks: BackgroundTasks):
        tasks.add_task(log.info, "in the background")
        return "ok"

    @app.get("/boom")
    async def boom():
        log.info("before the end")
        raise ValueError("boom")

    @app.get("/boom/stream")
    async def boom_stream():
        async def parts():
            yield b"x" * 10
            raise ValueError("boom")

        return StreamingResponse(parts())

    @app.get("/stream")
    async def stream(forever: bool = False):
        async def parts():
            number = 0
            while forever or number < 5:
                number += 1
                yield b"x" * 100
                await asyncio.sleep(0.01)

        return StreamingResponse(parts())

    @app.get("/wait")
    async def wait(request: Request):
        while not await request.is_disconnected():  # noqa: ASYNC110 - all that there is
            await asyncio.sleep(0.01)
        log.info("the client left")

    @app.post("/echo")
    async def echo(request: Request):
        return len(await request.body())

    @app.get("/mix/{number}")
    async def mix(number: int):
        structlog.contextvars.bind_contextvars(user=number)
        for _ in range(3):
            log.info("step", number=number)
            await asyncio.sleep(0.005)
        await asyncio.to_thread(log.info, "step", number=number)
        return number

    @app.websocket("/ws/{room}")
    async def chat(socket: WebSocket, room: str):
        await socket.accept()
        log.info("accepted", room=room)
        while True:
            text = await socket.receive_text()
            if text == "boom":
                raise ValueError("boom")
            if text == "bye":
                await socket.close(4000)
                return
            await socket.send_text(text.upper())

    return app


class Server:
    """uvicorn in a thread of the test, on a port of its own."""

    def __init__(self, app, **options):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        options = {"loop": "asyncio", "timeout_graceful_shutdown": 5, **options}
        config = uvicorn.Config(app, log_config=None, **options)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": [self.listener]}, name="uvicorn"
        )

    def start(self):
        self.thread.start()
        until(lambda: self.server.started)

    def stop(self):
        self.server.should_exit = True
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        self.listener.close()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def ask(self, request):
        """Send bytes; return the response's head, and its body, up to the end of the connection."""
        with self.connect() as connection:
            connection.sendall(request)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        return status, headers, body

    def get(self, path, *headers, method="GET", body=b""):
        """Make one request on a connection of its own."""
        lines = [f"{method} {path} HTTP/1.1", "Host: test", "Connection: close", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join(lines).encode("latin-1")
        return self.ask(head + b"\r\n\r\n" + body)


@contextmanager
def serving(app, **options):
    """Serve *app* as long as the block runs."""
    server = Server(app, **options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def until(condition):
    """Wait for *condition*, and return what it returned."""
    ends = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.005)
    return found
