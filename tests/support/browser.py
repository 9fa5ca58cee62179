"""A real Chromium without a screen, driven over its own protocol (CDP): no package beside websockets.

    with Browser(tmp_path) as browser:
        page = browser.open("http://127.0.0.1:8000/status/")
        page.wait("document.querySelector('.tree')")
        page.click("button.main")
        page.screenshot(tmp_path / "page.png")

It asks nobody but the page's server: what a page requests is in ``page.requests``.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from support.servers import needs
from websockets.sync.client import connect

_PATIENCE = 60.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-domain-reliability",
    "--metrics-recording-only",
    "--no-pings",
    "--disable-features=Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
)


class Browser:
    """One browser process; ``with`` ends it."""

    def __init__(self, folder):
        needs("chromium", "chromium")
        self._folder = Path(folder) / "chromium"
        self._folder.mkdir()
        home = self._folder / "home"
        home.mkdir()
        with (self._folder / "stderr").open("wb") as errors:
            self._process = self._start(errors, home)
        self._stack = ExitStack()
        try:
            connection = connect(
                self._address(),
                max_size=None,
                open_timeout=_PATIENCE,
                ping_interval=None,  # nobody reads between two calls
            )
            self._socket = self._stack.enter_context(connection)
        except BaseException:
            self._kill()
            raise
        self._last = 0
        self._pages = {}

    def _start(self, errors, home):
        return subprocess.Popen(
            [shutil.which("chromium"), *_FLAGS, f"--user-data-dir={self._folder / 'profile'}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home)},
            start_new_session=True,  # its children are in its group, and in no other
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with suppress(Exception):
            self.call("Browser.close")
        with suppress(Exception):
            self._stack.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._kill()

    def _kill(self):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_PATIENCE)

    def _address(self):
        note = self._folder / "profile" / "DevToolsActivePort"
        ends = time.monotonic() + _PATIENCE
        while time.monotonic() < ends:
            with suppress(FileNotFoundError, ValueError):
                port, path = note.read_text().split()
                return f"ws://127.0.0.1:{port}{path}"
            assert self._process.poll() is None, (self._folder / "stderr").read_text()[-2000:]
            time.sleep(0.05)
        raise AssertionError((self._folder / "stderr").read_text()[-2000:])

    def call(self, method, session=None, **parameters):
        """Call *method* of the protocol and return its result; events are handed to their pages."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=_PATIENCE))
            if answer.get("id") == message["id"]:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            page = self._pages.get(answer.get("sessionId"))
            if page is not None and "method" in answer:
                page.happened(answer["method"], answer["params"])

    def close_pages(self):
        """Close all tabs: each goes on refreshing otherwise."""
        while self._pages:
            _, page = self._pages.popitem()
            self.call("Target.closeTarget", targetId=page.target)

    def open(self, url=None, *, width=1280, height=900, dark=False, phone=False, scripts=True):
        """Open a tab, and *url* in it."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session, target)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.look(width, height, dark=dark, phone=phone)
        if not scripts:
            page.call("Emulation.setScriptExecutionDisabled", value=True)
        if url is not None:
            page.go(url)
        return page


class Page:
    """One tab.

    Attributes:
        requests: The addresses of all that it asked for.
        target: What the browser calls it.
        complaints: What was written to the console, exceptions, and what the browser refused.
    """

    def __init__(self, browser, session, target):
        self._browser = browser
        self.target = target
        self._session = session
        self.requests = []
        self.complaints = []
        self._loaded = 0

    def call(self, method, **parameters):
        """Call *method* of the protocol for this tab."""
        return self._browser.call(method, self._session, **parameters)

    def happened(self, method, event):
        """Take note of an event."""
        if method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded += 1
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(event["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(event["entry"]["text"])

    def look(self, width, height, *, dark=False, phone=False):
        """Set the size of the window, and which colours the user prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def go(self, url):
        """Go to *url* and wait until it is loaded."""
        self._loading(lambda: self.call("Page.navigate", url=url))

    def _loading(self, act):
        before = self._loaded
        act()
        self._until(lambda: self._loaded > before, "the page never finished loading")

    def evaluate(self, expression):
        """Return the value of a JavaScript expression (or of its promise)."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector="body"):
        """The visible text of an element."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    def wait(self, expression):
        """Wait until a JavaScript expression is true; survives a page that goes elsewhere meanwhile."""

        def holds():
            with suppress(AssertionError):  # between two documents
                return self.evaluate(f"Boolean({expression})")
            return False

        self._until(holds, f"never true: {expression}")

    def _until(self, holds, message):
        ends = time.monotonic() + _PATIENCE
        while not holds():
            assert time.monotonic() < ends, message
            time.sleep(0.05)
            self.call("Runtime.evaluate", expression="0")  # takes in what happened

    def type(self, selector, text):
        """Give *text* to an input as from the keyboard."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def click(self, selector, *, leaves=False):
        """Click on an element, with the mouse; wait for the next page if it *leaves* this one."""
        where = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{where}.scrollIntoView({{block: 'center'}})")
        box = self.evaluate(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
            f"({where}.getBoundingClientRect())"
        )

        def press():
            for kind in ("mousePressed", "mouseReleased"):
                self.call(
                    "Input.dispatchMouseEvent",
                    type=kind, x=box[0], y=box[1], button="left", clickCount=1,
                )  # fmt: skip

        if leaves:
            self._loading(press)
        else:
            press()

    def key(self, name):
        """Press a key such as ``Tab`` or ``Enter``."""
        text = {"text": "\r"} if name == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=name, code=name,
                  windowsVirtualKeyCode={"Tab": 9, "Enter": 13}[name], **text)  # fmt: skip
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name, code=name)

    def screenshot(self, path, *, whole=False):
        """Write what is to be seen (or the whole page) as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(answer["data"]))
