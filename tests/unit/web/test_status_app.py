"""The status page as an application: access, headers, what it shows, and hostile content."""

from __future__ import annotations

import re
import threading
from html.parser import HTMLParser

import pytest
from support.events import memory_pipeline
from support.queue_sinks import FailingSink
from support.status_page import HTML, TOKEN, Client, call_asgi, call_wsgi

import pylog_struct
from pylog_struct import ConfigError
from pylog_struct.ledger import DropReason
from pylog_struct.record import Record
from pylog_struct.sinks import FailoverSink, FanOutSink, MemorySink, QueueSink
from pylog_struct.web import status_asgi_app, status_wsgi_app
from pylog_struct.web._status import reading as status_reading
from pylog_struct.web._status.errors import ERRORS

BEARER = {"Authorization": f"Bearer {TOKEN}"}
log = pylog_struct.get_logger("app.test")


@pytest.fixture(autouse=True)
def _no_errors_of_others():
    ERRORS._ring.clear()


@pytest.fixture(name="client", params=["asgi", "wsgi"])
def _client(request):
    if request.param == "asgi":
        return Client(status_asgi_app(token=TOKEN), call_asgi)
    return Client(status_wsgi_app(token=TOKEN), call_wsgi)


class Outline(HTMLParser):
    """Checks that what is opened is closed, and lists elements."""

    VOID = frozenset({"input", "link", "meta", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


# -- access -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [status_asgi_app, status_wsgi_app])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, ": neither of token and guard given"),
        ({"token": "short"}, ".token: it is too short"),
        ({"token": TOKEN, "title": 7}, ".title: 7 is no text"),
        ({"token": TOKEN, "changes": "no"}, ".changes: 'no' is neither True nor False"),
        ({"token": TOKEN, "max_duration": 0}, ".max_duration: 0 is no duration"),
    ],
)
def test_nonsense_is_refused_when_it_is_built(make, arguments, words):
    with pytest.raises(ConfigError) as caught:
        make(**arguments)
    assert f"{make.__name__}{words}" in str(caught.value)


@pytest.mark.parametrize("path", ["/", "/live", "/data", "/level", "/logout", "/nonsense", "/a/b/"])
def test_without_the_token_nothing_is_told(client, path):
    memory_pipeline(service="secret-service")
    log.error("secret error")
    for headers in ({}, HTML, {"Authorization": "Bearer wrong"}, {"Cookie": "pylog_status=x.y.z"}):
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = client.ask(method, path, headers=headers)
            assert answer.status == 401
            assert answer["www-authenticate"].startswith("Bearer")
            assert answer["cache-control"] == "no-store"
            assert "secret" not in answer.text
            assert "memory" not in answer.text


def test_the_login_form_exchanges_the_token_for_a_cookie(client):
    memory_pipeline()
    form = client.get("/", headers=HTML)
    assert form.status == 401
    assert 'name="token"' in form.text
    assert 'type="password"' in form.text
    Outline(form.text)

    wrong = client.login("wrong")
    assert wrong.status == 401
    assert "That is not the token." in wrong.text
    assert client.cookie is None

    right = client.login()
    assert (right.status, right["location"]) == (303, "./")
    assert "HttpOnly; SameSite=Strict; Secure" in right["set-cookie"]
    assert TOKEN not in right["set-cookie"]
    assert client.get("/").status == 200
    assert client.get("/login")["location"] == "./"


def test_a_token_in_the_address_is_not_taken(client):
    memory_pipeline()
    assert client.get("/", query=f"token={TOKEN}").status == 401


def test_logging_out_takes_the_cookie_back(client):
    memory_pipeline()
    client.login()
    csrf = client.csrf()
    assert client.get("/logout").status == 405
    assert client.form("/logout", csrf="wrong").status == 403
    assert client.form("/logout", csrf=csrf).status == 303
    assert client.cookie is None


def test_a_login_sent_by_another_site_is_refused(client):
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert client.form("/login", token=TOKEN, headers=headers).status == 403


def test_guessing_is_answered_with_429(client):
    for _ in range(10):
        assert client.login("wrong").status == 401
    for answer in (client.login(), client.get("/", headers=BEARER)):
        assert answer.status == 429
        assert 0 < int(answer["retry-after"]) <= 61
    assert client.cookie is None


def test_behind_a_guard_who_may_not_gets_403_and_there_is_no_login():
    memory_pipeline()
    client = Client(status_wsgi_app(guard=lambda request: request.client == "127.0.0.1"))
    for path in ("/", "/login", "/data"):
        answer = client.get(path, headers=HTML)
        assert (answer.status, answer.text) == (403, "not allowed\n")
    allowed = Client(status_wsgi_app(guard=lambda request: True))
    assert allowed.get("/").status == 200
    assert allowed.get("/login").status == 404
    assert "Log out" not in allowed.get("/").text


# -- the answers ------------------------------------------------------------------------------------


def test_the_page_is_one_self_contained_document_that_nothing_gets_into(client):
    memory_pipeline()
    answer = client.get("/", headers=BEARER)
    policy = answer["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", policy)[1]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer["x-frame-options"] == "DENY"
    assert answer["x-content-type-options"] == "nosniff"
    assert answer["referrer-policy"] == "same-origin"
    assert answer["cache-control"] == "no-store"
    assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in answer.text

    elements = Outline(answer.text).elements
    for tag, attributes in elements:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if tag in {"script", "style"}:
            assert attributes == {"nonce": nonce}
        for name in ("href", "src", "action"):
            assert not attributes.get(name, "").startswith(("/", "http"))
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert client.get("/", headers=BEARER)["content-security-policy"] != policy  # a new nonce


def test_the_numbers_are_in_the_page_itself(client):
    failing = FailingSink()
    pylog_struct.configure(
        service={"name": "shop"},
        sink=QueueSink(FailoverSink([failing, MemorySink(name="spare")], retry_interval=60)),
    )
    for _ in range(20):
        log.info("x")
    log.error("it broke", order_id=7)
    pylog_struct.flush()
    page = client.get("/", headers=BEARER).text
    text = re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script).*?</\1>", " ", page, flags=re.DOTALL))
    words = " ".join(text.split())
    for expected in (
        "shop log pipeline",
        "Degraded Not on the first choice: failover . Calls failed in the last minute at memory .",
        "0 of 4,096 places",
        "memory failed",
        "spare memory active",
        "switches 1",
        "SinkUnavailableError: down",
        "error it broke app.test",
        "all other loggers info until changed",
    ):
        assert expected in words, words
    assert page.count('role="img"') == 4 + 4 + 1  # four numbers, four sinks, one bar


def test_without_a_configuration_the_page_says_so(client):
    page = client.get("/", headers=BEARER)
    assert page.status == 200
    assert "Nothing is configured in this process" in page.text
    assert "No errors" in page.text
    assert ">notset</span>" in page.text
    data = client.get("/data", headers=BEARER).json
    assert (data["status"], data["reasons"], data["sinks"]) == ("failing", ["not_configured"], [])


def test_after_shutdown_the_last_state_is_still_there(client):
    memory_pipeline()
    log.info("one")
    pylog_struct.shutdown()
    assert "was shut down" in client.get("/", headers=BEARER).text
    data = client.get("/data", headers=BEARER).json
    assert data["reasons"] == ["shut_down"]
    assert data["sinks"][1]["written"] == 1


def test_the_same_as_json(client):
    pylog_struct.configure(sink=FailoverSink([FailingSink(), MemorySink(name="spare")]))
    log.error("it broke")
    log.error("it broke")
    data = client.get("/data", headers=BEARER).json
    assert data["status"] == "degraded"
    assert data["reasons"] == ["on_alternative", "sink_errors"]
    assert [(sink["name"], sink["parent"]) for sink in data["sinks"]] == [
        ("locked", None), ("failover", "locked"), ("memory", "failover"), ("spare", "failover"),
    ]  # fmt: skip
    for sink in data["sinks"]:
        assert sink["received"] == sink["written"] + sink["dropped"] + sink["waiting"]
    assert data["errors"][0]["number"] == 2


def test_the_live_part_is_what_the_page_has_in_it(client):
    memory_pipeline()
    client.login()
    client.get("/")
    live = client.get("/live").text
    Outline(live)
    assert live.startswith('<p class="banner ok" role="status">')
    assert "<html" not in live


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/", 200), ("POST", "/", 405), ("PUT", "/data", 405), ("PATCH", "/level", 405),
        ("GET", "/nonsense", 404), ("GET", "/nonsense/", 200), ("GET", "", 308),
    ],
)  # fmt: skip
def test_methods_and_paths(client, method, path, status):
    memory_pipeline()
    answer = client.ask(method, path, headers=BEARER)
    assert answer.status == status
    if method == "HEAD":
        assert answer.body == b""
    if path == "":
        assert answer["location"] == "status/"  # relative: whatever stands in front


def words_of(client):
    page = client.get("/live", headers=BEARER).text
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_what_only_one_kind_of_sink_knows_is_shown(client):
    sink = MemorySink(name="main")
    pylog_struct.configure(sink=QueueSink(sink, dead_letter=MemorySink(name="dead")))
    for detail, number in {
        "rollovers.size": 3, "rollovers.time": 12_000, "archives_deleted.max_files": 1,
        "failover.all_failed": 2, "spool.records": 5, "spool.bytes": 2048, "fanout.backlog.x": 7,
        "retry.attempts": 9, "worker.restarts": 1,
    }.items():  # fmt: skip
        sink.ledger.set(detail, number)
    sink.ledger.refused([Record(20, b"x"), Record(30, b"y")], DropReason.QUEUE_FULL)
    sink.ledger.refused([Record(20, b"x")], DropReason.FILTERED)
    words = words_of(client)
    for expected in (
        "roll-overs 3 by size, 12.0\xa0k by time".replace("\xa0", " "),
        "archives deleted 1 by max files",
        "all failed 2 times",
        "on disk 5 records, 2.0 KiB",
        "backlog 7",
        "retries 9",
        "worker restarts 1",
        "dropped: queue full 1 warning, 1 info",
        "dropped: filtered 1 info",
        "dead memory dead letters",
    ):
        assert expected in words, words


def test_a_sink_that_does_not_answer_is_shown_as_such(client, monkeypatch):
    monkeypatch.setattr(status_reading, "PATIENCE", 0.01)
    sink = MemorySink()
    pylog_struct.configure(sink=sink)
    held, done = threading.Event(), threading.Event()

    def hold():
        with sink.ledger.lock:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    words = words_of(client)
    data = client.get("/data", headers=BEARER).json
    done.set()
    thread.join()
    assert "No answer in time from memory ." in words
    assert "It did not answer in time." in words
    assert data["sinks"][1]["reasons"] == ["unreadable"]


def test_of_many_sinks_in_trouble_the_banner_names_three(client):
    sinks = [MemorySink() for _ in range(5)]
    pylog_struct.configure(sink=FanOutSink(sinks))
    for sink in sinks:
        sink.ledger.failed(OSError("no"))
    assert (
        "Calls failed in the last minute at memory , memory-2 , memory-3 and 2 more."
        in words_of(client)
    )


def test_a_form_with_too_many_fields_is_no_form(client):
    fields = {f"f{number}": "x" for number in range(50)}
    assert client.form("/login", token=TOKEN, **fields).status == 401


# -- hostile content --------------------------------------------------------------------------------

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"


class Hostile(MemorySink):
    type_name = f"memory{SCRIPT}"


def test_what_is_logged_or_raised_or_named_cannot_become_markup(client):
    sink = Hostile()
    sink.name = f"name{SCRIPT}"
    sink.named_by_user = True
    sink.ledger.failed(OSError(SCRIPT))
    sink.ledger.count(f"rollovers.{SCRIPT}")
    pylog_struct.configure(sink=sink, service=SCRIPT)
    pylog_struct.set_level("DEBUG", logger=SCRIPT, duration=60)
    evil = pylog_struct.get_logger(SCRIPT)
    evil.error(SCRIPT, **{SCRIPT: SCRIPT}, control="\x00\x1b[31m\u202e")
    for path in ("/", "/live"):
        page = client.get(path, headers=BEARER).text
        elements = Outline(page).elements
        assert not [tag for tag, _ in elements if tag == "img"]
        assert len([tag for tag, _ in elements if tag == "script"]) == (path == "/")
        assert not [name for _, found in elements for name in found if name.startswith("on")]
        assert page.count("&lt;script&gt;") > 5
        assert not {"\x00", "\x1b", "\u202e"} & set(page)


def test_lines_that_are_no_json_or_not_even_utf8_are_shown(client):
    pylog_struct.configure(sink=MemorySink(), format=lambda logger, name, event: b"\xff<b>\x00")
    log.error("x")
    assert "\ufffd&lt;b&gt;" in client.get("/", headers=BEARER).text


def test_a_very_long_line_is_cut(client):
    memory_pipeline()
    log.error("long", text="x" * 100_000)
    page = client.get("/", headers=BEARER).text
    assert len(page) < 100_000
    assert "…" in page


def test_under_several_processes_it_says_that_it_is_one_of_them(client, monkeypatch):
    memory_pipeline()
    assert "Under several workers each one shows itself" in client.get("/", headers=BEARER).text
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "anywhere")
    assert "The metrics endpoint adds all of them up" in client.get("/", headers=BEARER).text
