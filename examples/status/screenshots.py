"""Take the pictures of docs/how-to/status-page.md: the example during a fault, in a real Chromium.

    python examples/status/screenshots.py docs/images

It takes six minutes: the plots show five of them.  Chromium (Debian's `chromium`) and the packages
`websockets` and `pillow` are needed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from support.browser import Browser, Page  # noqa: E402 - it is there now
from support.servers import free_port  # noqa: E402

TOKEN = "open-sesame-0123456789"
STEPS = ((200, "down"), (50, "up"), (60, "down"), (35, None))
"""Seconds to wait, and what happens to the collector then."""


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        environment = {
            **os.environ,
            "STATUS_TOKEN": TOKEN,
            "PORT": str(port),
            "STATUS_LOGS": f"{folder}/logs",
        }
        app = subprocess.Popen([sys.executable, HERE / "app.py"], env=environment)
        try:
            for seconds, state in STEPS:
                time.sleep(seconds)
                if state:
                    url = f"http://127.0.0.1:{port}/collector/{state}"
                    urllib.request.urlopen(urllib.request.Request(url, method="POST")).close()
            with Browser(folder) as browser:
                take(browser.open(), f"http://127.0.0.1:{port}/status/", target)
        finally:
            app.send_signal(signal.SIGTERM)
            app.wait(30)


def take(page: Page, url: str, target: Path) -> None:
    page.go(url)
    page.type("input[name=token]", TOKEN)
    page.click("button.main", leaves=True)
    page.type(".change input[name=logger]", "shop.orders")
    page.click(".change button", leaves=True)
    for name, look in {
        "light": {"width": 1180},
        "dark": {"width": 1180, "dark": True},
        "phone": {"width": 390, "phone": True},
    }.items():
        page.look(height=900, **look)
        page.go(url)
        page.wait("document.querySelector('#state.live')")
        height = page.evaluate("document.documentElement.scrollHeight")
        page.look(height=min(height, 1700 if "phone" not in look else 1500), **look)
        path = target / f"status-{name}.png"
        page.screenshot(path)
        # A page has few colours: 255 are enough, and half the bytes.
        Image.open(path).convert("RGB").quantize(255, dither=Image.Dither.NONE).save(
            path, optimize=True
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
