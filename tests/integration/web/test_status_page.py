"""The status page in a real browser: what is seen, with and without scripts, and what is asked for."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest
from support.browser import Browser
from support.process import environment
from support.servers import free_port
from support.status_page import TOKEN

pytestmark = pytest.mark.slow  # all together

PATIENCE = 60.0
ROW = "document.querySelector('.levels tbody tr:nth-child(2)')"

# The contrast of each piece of text with what is behind it, as WCAG 2 defines it.
CONTRAST = """
(() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  const pixel = (...colours) => {
    brush.clearRect(0, 0, 1, 1);
    for (const colour of colours) { brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1); }
    return [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest("script, style, .unseen, option")) continue;
    const behind = [];
    for (let at = element; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    const back = pixel("white", ...behind);
    const front = pixel("white", ...behind, getComputedStyle(element).color);
    const [high, low] = [light(front), light(back)].sort((a, b) => b - a);
    found.push([(high + 0.05) / (low + 0.05), text]);
  }
  return found.sort((a, b) => a[0] - b[0]);
})()
"""


def answer(url, method="GET", **headers):
    """Status and text of an answer."""
    asked = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE) as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@contextmanager
def serving(*command):
    """Run a server on a free port, until it answers; yields its address."""
    port = free_port()
    words = [sys.executable, "-m", *(word.replace("PORT", str(port)) for word in command)]
    with subprocess.Popen(
        words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            ends = time.monotonic() + PATIENCE
            while True:
                try:
                    answer(f"{url}/health/live")
                    break
                except OSError:
                    said = "" if process.poll() is None else process.stderr.read()
                    assert process.poll() is None, said
                    assert time.monotonic() < ends
                    time.sleep(0.05)
            yield url
        finally:
            process.terminate()
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


@pytest.fixture(scope="module", name="server")
def _server():
    command = "uvicorn support.status_server:asgi --host 127.0.0.1 --port PORT --log-level warning"
    with serving(*command.split()) as url:
        yield url


@pytest.fixture(scope="module", name="chromium")
def _chromium(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(name="browser")
def _browser(chromium):
    yield chromium
    chromium.close_pages()


@pytest.fixture(name="do")
def _do(server):
    def do(what, **fields):
        status, text = answer(f"{server}/{what}?{urlencode(fields)}", "POST")
        assert status == 200
        return text

    yield do
    do("fail/no")


def log_in(browser, server, **look):
    """Open the page, and log in with keyboard and mouse."""
    page = browser.open(f"{server}/status/", **look)
    if page.evaluate("document.querySelector('input[name=token]') !== null"):
        page.type("input[name=token]", TOKEN)
        page.click("button.main", leaves=True)
    page.complaints.clear()  # Chromium puts every 401 onto its console
    return page


def levels(server):
    return json.loads(answer(f"{server}/status/level", Authorization=f"Bearer {TOKEN}")[1])


def revert_all(server):
    for name in (*levels(server)["loggers"], "root"):
        answer(
            f"{server}/status/level?{urlencode({'logger': name})}",
            "DELETE", Authorization=f"Bearer {TOKEN}",
        )  # fmt: skip


def events(server, name):
    lines = answer(f"{server}/lines")[1].splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


# -- in the browser ---------------------------------------------------------------------------------


def test_the_token_opens_the_page_and_stays_out_of_reach(browser, server):
    page = log_in(browser, server)
    assert page.evaluate("location.pathname + location.search") == "/status/"
    assert page.evaluate("document.cookie") == ""  # HttpOnly
    assert "browser-test" in page.text("h1")
    assert page.evaluate("document.querySelectorAll('.tree article').length") == 4
    assert page.evaluate("document.documentElement.outerHTML").count(TOKEN) == 0
    assert all(url.startswith((f"{server}/status/", "data:")) for url in page.requests)
    assert not page.complaints


def test_it_goes_on_by_itself_and_asks_nobody_else(browser, server, do):
    active = "document.querySelector('.tree li.active .name').textContent"
    page = log_in(browser, server)
    ends = time.monotonic() + PATIENCE
    while page.evaluate(active) != "failing":  # another test may have left it on the second
        assert time.monotonic() < ends
        do("log/info")
        do("flush")
        page.go(f"{server}/status/")
    do("fail/yes")
    do("log/warning", event="needs the second")
    do("flush")
    page.wait("document.querySelector('.banner.degraded')")
    page.wait(f"{active} === 'second'")
    assert "Not on the first choice: failover." in page.text(".banner")
    assert "injected fault" in page.text(".last-error")
    assert "live" in page.text("#state")
    assert {url.removeprefix(server) for url in page.requests if not url.startswith("data:")} <= {
        "/status/", "/status/login", "/status/live",
    }  # fmt: skip
    assert not page.complaints


def test_everything_is_there_without_scripts(browser, server, do):
    do("log/error", event="seen without scripts")
    page = log_in(browser, server, scripts=False)
    words = page.text()
    for expected in ("browser-test", "queue", "failover", "second", "places", "all other loggers"):
        assert expected in words
    assert "seen without scripts" in words
    assert page.evaluate("document.querySelector('#pause').checkVisibility()") is False
    page.click("#refresh", leaves=True)  # in place of refreshing by itself
    assert page.evaluate("document.querySelectorAll('.tree article').length") == 4

    page.type(".change input[name=logger]", "no.scripts")
    page.click(".change button.main", leaves=True)
    assert "no.scripts" in page.text(".levels")
    page.click("#revert-no\\.scripts", leaves=True)
    assert "no.scripts" not in page.text(".levels")


def test_a_level_is_changed_and_reverted_with_the_keyboard_and_the_log_says_so(browser, server):
    page = log_in(browser, server)
    page.type(".change input[name=logger]", "server.test")
    page.key("Tab")
    page.key("Tab")
    page.key("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Change"
    page._loading(lambda: page.key("Enter"))
    page.wait(ROW)
    assert page.text(".levels tbody tr:nth-child(2)").split()[:2] == ["server.test", "debug"]
    assert levels(server)["loggers"]["server.test"]["level"] == "debug"
    answer(f"{server}/log/debug?event=heard", "POST")
    answer(f"{server}/flush", "POST")
    assert len(events(server, "heard")) == 1
    (changed,) = [e for e in events(server, "level.changed") if e["target"] == "server.test"]
    assert (changed["by"], changed["client"], changed["duration"]) == ("token", "127.0.0.1", 600.0)
    page.click("#revert-server\\.test", leaves=True)
    assert levels(server)["loggers"] == {}


def test_a_refresh_keeps_what_the_reader_opened_and_stands_on_and_moves_nothing(
    browser, server, do
):
    do("log/error", event="to be opened")
    page = log_in(browser, server)
    page.click("summary")
    page.evaluate("document.querySelector('summary').focus()")
    page.evaluate("document.querySelector('#live').firstChild.stale = true")
    where = "[...document.querySelectorAll('h2')].map((h) => h.getBoundingClientRect().top)"
    before = page.evaluate(where)
    page.wait("!document.querySelector('#live').firstChild.stale")
    assert page.evaluate("document.querySelector('details').open")
    assert page.evaluate("document.activeElement.localName") == "summary"
    assert page.evaluate(where) == before


def test_paused_it_stands_still(browser, server):
    page = log_in(browser, server)
    page.click("#pause")
    page.wait("document.querySelector('#state').textContent === 'paused'")
    page.evaluate("document.querySelector('#live').firstChild.stale = true")
    asked = len(page.requests)
    page.evaluate("new Promise((done) => setTimeout(done, 2500))")
    assert page.evaluate("document.querySelector('#live').firstChild.stale")
    assert len(page.requests) == asked
    page.click("#pause")
    page.wait("!document.querySelector('#live').firstChild.stale")


def test_hostile_content_is_text(browser, server, do):
    script = "<img src=x onerror='window.hurt = 1'><script>window.hurt = 1</script>"
    do("log/critical", event=script)
    page = log_in(browser, server)
    page.wait("document.querySelector('.errors')")
    assert script in page.text(".errors")
    page.evaluate("document.querySelector('#live').firstChild.stale = true")
    page.wait("!document.querySelector('#live').firstChild.stale")  # nor when it came by a refresh
    assert page.evaluate("window.hurt") is None
    assert page.evaluate("document.querySelectorAll('#live img, #live script').length") == 0
    assert not page.complaints


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_text_can_be_read(browser, server, do, dark):
    revert_all(server)
    do("fail/yes")
    do("log/error", event="for its colours")
    do("flush")
    page = log_in(browser, server, dark=dark)
    page.evaluate("document.querySelector('.levels').closest('section').scrollIntoView()")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(14, 17, 21)") is dark
    weakest = page.evaluate(CONTRAST)
    assert len(weakest) > 80
    assert weakest[0][0] >= 4.5, weakest[:5]


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_it_fits_on_every_screen(browser, server, width):
    asked = urllib.request.Request(
        f"{server}/status/level",
        json.dumps({"level": "error", "logger": "a.logger.with.a.long.name"}).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        method="PUT",
    )
    urllib.request.urlopen(asked, timeout=PATIENCE).close()
    page = log_in(browser, server, width=width, height=780, phone=width < 500)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    outside = page.evaluate(
        "[...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() &&"
        " !e.closest('svg, .unseen, pre') && e.getBoundingClientRect().right > innerWidth + 1)"
        ".map((e) => e.outerHTML.slice(0, 80))"
    )
    assert outside == []
    tallest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('button')].map((b) => b.offsetHeight))"
    )
    assert tallest < 50  # no word is broken over several lines
    broken = page.evaluate(
        "[...document.querySelectorAll('.level, .pill, .until, .act')]"
        ".filter((e) => e.innerText && e.offsetHeight > 50).map((e) => e.innerText)"
    )
    assert broken == []
    badges = page.evaluate(
        "[...document.querySelectorAll('.level')].map((e) => e.getClientRects()[0].height)"
    )
    assert max(badges) < 30, badges  # one line each
    revert_all(server)
    if width < 500:  # fingers
        small = page.evaluate(
            "[...document.querySelectorAll('button, input, select, summary')]"
            ".filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 32).length"
        )
        assert small == 0


def test_what_is_drawn_is_said_in_words_too(browser, server):
    page = log_in(browser, server)
    assert page.evaluate(
        "[...document.querySelectorAll('svg')].every((s) => s.getAttribute('role') === 'img'"
        " && s.getAttribute('aria-label').length > 10)"
    )
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input:not([hidden]):not([type=hidden]), select')]"
        ".filter((e) => !e.closest('label')).length"
    )
    assert unnamed == 0
    assert page.evaluate("document.documentElement.lang") == "en"
    ranks = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map((h) => Number(h.localName[1]))"
    )
    assert ranks[0] == 1
    assert all(below <= above + 1 for above, below in itertools.pairwise(ranks))


def test_another_site_cannot_frame_or_use_it(browser, server):
    log_in(browser, server)
    other = server.replace("127.0.0.1", "localhost")  # another origin on the same server
    page = browser.open(f"{other}/health/live")
    page.evaluate(
        "new Promise((done) => { const frame = document.createElement('iframe');"
        f" frame.src = '{server}/status/'; frame.onload = done; document.body.append(frame) }})"
    )
    assert page.evaluate("document.querySelector('iframe').contentDocument") is None
    assert any("frame" in text.lower() for text in page.complaints), page.complaints
    before = levels(server)
    page.evaluate(
        f"fetch('{server}/status/level', {{method: 'POST', mode: 'no-cors', credentials: 'include',"
        " headers: {'Content-Type': 'application/x-www-form-urlencoded'},"
        " body: 'level=debug&duration=60'}).then(() => 0, () => 0)"
    )
    assert levels(server)["level"] == before["level"]


# -- several processes ------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_worker_of_a_preloaded_server_shows_itself_and_knows_the_session():
    pytest.importorskip("gunicorn")
    command = (
        "gunicorn support.status_server:wsgi --preload --workers 2 --bind 127.0.0.1:PORT"
        " --no-control-socket --log-level error"
    )
    with serving(*command.split()) as server:
        head = {"Content-Type": "application/x-www-form-urlencoded"}
        asked = urllib.request.Request(
            f"{server}/status/login", urlencode({"token": TOKEN}).encode(), head, method="POST"
        )
        opener = urllib.request.build_opener(_Stay)
        with pytest.raises(urllib.error.HTTPError) as moved:
            opener.open(asked, timeout=PATIENCE)
        assert moved.value.code == 303
        cookie = moved.value.headers["Set-Cookie"].partition(";")[0]
        moved.value.close()

        seen = {}
        ends = time.monotonic() + PATIENCE
        while len(seen) < 2 or any(rate is None for rate in seen.values()):
            assert time.monotonic() < ends, seen
            status, text = answer(f"{server}/status/data", Cookie=cookie)
            assert status == 200
            data = json.loads(text)
            assert data["reasons"] == ["not_configured"] or data["sinks"]
            rate = data["sinks"][0]["in_per_second"] if data["sinks"] else 0.0
            seen[data["process"]["pid"]] = rate
            time.sleep(0.05)
        assert answer(f"{server}/health/live")[0] == 200


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows nothing."""

    def redirect_request(self, *_):
        return None
