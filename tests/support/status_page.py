"""A client for pages under test: calls a WSGI or an ASGI application, and keeps cookies as a browser does."""

from __future__ import annotations

import asyncio
import io
import json
import re
from dataclasses import dataclass
from urllib.parse import urlencode

TOKEN = "correct-horse-battery"
HTML = {"Accept": "text/html"}


@dataclass(frozen=True)
class Answer:
    """What came back; names of headers are in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name):
        found = [value for key, value in self.headers if key == name]
        return found[0] if found else None

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


def call_wsgi(app, method, path, query, headers, body, client="192.0.2.7"):
    """Make one request to a WSGI application mounted at /status."""
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "/status",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REMOTE_ADDR": client,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    begun = []
    chunks = app(environ, lambda status, head: begun.append((status, head)))
    status, head = begun[0]
    return Answer(
        int(status[:3]), [(name.lower(), value) for name, value in head], b"".join(chunks)
    )


def call_asgi(app, method, path, query, headers, body, client="192.0.2.7"):
    """Make one request to an ASGI application mounted at /status."""
    scope = {
        "type": "http",
        "method": method,
        "root_path": "/status",
        "path": f"/status{path}",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": (client, 4711),
    }
    sent = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    head = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
    return Answer(sent[0]["status"], head, sent[1]["body"])


class Client:
    """Asks an application, by default as a browser that has a cookie once it got one."""

    def __init__(self, app, call=call_wsgi, host="app.example"):
        self._app = app
        self._call = call
        self._host = host
        self.cookie = None

    def ask(self, method, path="/", query="", headers=None, body=b""):
        """Make one request."""
        head = {"Host": self._host, **(headers or {})}
        if self.cookie and "Cookie" not in head:
            head["Cookie"] = self.cookie
        answer = self._call(self._app, method, path, query, head, body)
        for name, value in answer.headers:
            if name == "set-cookie":
                pair, _, rest = value.partition(";")
                self.cookie = None if "Max-Age=0" in rest else pair
        return answer

    def get(self, path="/", **more):
        return self.ask("GET", path, **more)

    def form(self, path, headers=None, **fields):
        """Send a form, as a browser does from the page itself."""
        head = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": f"https://{self._host}",
            "Sec-Fetch-Site": "same-origin",
            **(headers or {}),
        }
        head = {name: value for name, value in head.items() if value is not None}
        return self.ask("POST", path, headers=head, body=urlencode(fields).encode())

    def put(self, path, headers=None, **members):
        """Send JSON, as a program does that has the token."""
        head = {
            "Authorization": f"Bearer {TOKEN}",
            "Content-Type": "application/json",
            **(headers or {}),
        }
        return self.ask("PUT", path, headers=head, body=json.dumps(members).encode())

    def login(self, token=TOKEN):
        return self.form("/login", token=token)

    def csrf(self):
        """What the page's forms send along."""
        page = self.get("/", headers=HTML).text
        return re.search(r'name="csrf" value="([0-9a-f]+)"', page)[1]
