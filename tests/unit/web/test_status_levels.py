"""Levels over HTTP: GET, PUT and DELETE with JSON, the page's form, limits, and the audit event."""

from __future__ import annotations

import logging
from datetime import datetime

import pytest
from support.events import memory_pipeline
from support.status_page import HTML, TOKEN, Client

import pylog_struct
from pylog_struct import manager as managers
from pylog_struct.active import ACTIVE
from pylog_struct.testing import FakeClock
from pylog_struct.web import status_wsgi_app

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(name="client")
def _client():
    return Client(status_wsgi_app(token=TOKEN))


def audit(sink):
    return [event for event in sink.events if event["event"].startswith("level.")]


def test_get_says_the_level_as_zap_does_and_the_rest_beside_it(client):
    memory_pipeline(level="WARNING")
    pylog_struct.set_level("DEBUG", logger="app.db")
    answer = client.get("/level", headers=BEARER)
    assert answer["content-type"] == "application/json"
    assert answer["cache-control"] == "no-store"
    assert answer.json == {
        "level": "warning",
        "expires_in": None,
        "loggers": {"app.db": {"level": "debug", "expires_in": None}},
    }


def test_put_changes_a_level_for_a_while_and_the_log_says_who_did_it(client):
    sink = memory_pipeline(level="INFO")
    bound = pylog_struct.get_logger("app.db").bind(a=1)
    answer = client.put(
        "/level", level="debug", logger="app", duration="5 min",
        headers={"X-Forwarded-For": "203.0.113.9"},
    )  # fmt: skip
    assert answer.status == 200
    app = answer.json["loggers"]["app"]
    assert app["level"] == "debug"
    assert 290 < app["expires_in"] <= 300
    bound.debug("heard")
    logging.getLogger("app.x").debug("heard too")
    first, *heard = sink.events
    assert [event["event"] for event in heard] == ["heard", "heard too"]

    until = datetime.fromisoformat(first.pop("until")).timestamp()
    then = datetime.fromisoformat(first.pop("timestamp")).timestamp()
    assert until - then == pytest.approx(300, abs=2)
    assert first == {
        "level": "warning", "logger": "pylog_struct", "event": "level.changed",
        "target": "app", "to": "debug", "from": "info", "by": "token", "client": "192.0.2.7",
        "forwarded_for": "203.0.113.9", "duration": 300.0,
    }  # fmt: skip


def test_a_change_that_silences_the_log_is_in_the_log_all_the_same(client):
    sink = memory_pipeline(level="INFO")
    assert client.put("/level", level="critical").status == 200
    pylog_struct.get_logger("x").error("silenced")
    assert [event["event"] for event in sink.events] == ["level.changed"]
    assert audit(sink)[0]["target"] == "root"
    assert audit(sink)[0]["duration"] == 600.0  # ten minutes unless somebody says


def test_it_reverts_by_itself(client):
    sink = memory_pipeline(level="INFO")
    clock = FakeClock()
    levels = managers.current_manager()._levels
    levels._clock = clock
    client.put("/level", level="debug", duration=30)
    log = pylog_struct.get_logger("x")
    log.debug("heard")
    clock.advance(30)
    levels.poll(0.0)
    log.debug("not heard")
    assert [event["event"] for event in sink.events] == ["level.changed", "heard"]


def test_delete_reverts_at_once(client):
    sink = memory_pipeline(level="INFO")
    client.put("/level", level="debug", logger="app", duration=60)
    client.put("/level", level="error", duration=60)
    for query in ("logger=app", "logger=root"):
        answer = client.ask("DELETE", "/level", query=query, headers=BEARER)
        assert answer.status == 200
    assert answer.json == {"level": "info", "expires_in": None, "loggers": {}}
    said = [(event["event"], event["target"], event["to"]) for event in audit(sink)]
    assert said[2:] == [("level.reverted", "app", "error"), ("level.reverted", "root", "info")]
    again = client.ask("DELETE", "/level", query="logger=app", headers=BEARER)
    assert again.status == 400
    assert "was not changed for a while" in again.json["error"]


def test_delete_takes_json_too(client):
    memory_pipeline()
    client.put("/level", level="error", logger="app")
    head = {**BEARER, "Content-Type": "application/json"}
    answer = client.ask("DELETE", "/level", headers=head, body=b'{"logger": "app"}')
    assert answer.json["loggers"] == {}


def test_a_change_stands_though_its_event_cannot_be_made(client, monkeypatch, capsys):
    memory_pipeline(level="INFO")

    def broken(*_):
        raise RuntimeError("no notice")

    monkeypatch.setattr(ACTIVE.pipeline, "notice", broken)
    assert client.put("/level", level="error").status == 200
    assert "level.changed by token not logged (RuntimeError: no notice)" in capsys.readouterr().err


def test_a_level_without_a_name_is_shown_as_its_number(client):
    memory_pipeline()
    assert client.put("/level", level=25).json["level"] == "25"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "level: None is no level"),
        ({"level": "loud"}, "level: 'loud' is no level"),
        ({"level": 1.5}, "level: 1.5 is no level"),
        ({"level": -1}, "level: -1 is no level"),
        ({"level": 101}, "level: 101 is beyond"),
        ({"level": True}, "level: True is no level"),
        ({"level": "debug", "duration": 0}, "duration: 0 is no duration"),
        ({"level": "debug", "duration": "soon"}, "duration: 'soon' is no duration"),
        ({"level": "debug", "duration": 1e300}, "duration: 1e+300 is no duration"),
        ({"level": "debug", "duration": "25 h"}, "longer than the 86400 seconds"),
        ({"level": "debug", "logger": 7}, "logger: no name"),
        ({"level": "debug", "logger": "x" * 201}, "logger: no name"),
        ({"level": "debug", "logger": "a\nb"}, "logger: no name"),
        ({"level": "debug", "lgger": "a"}, "unknown member 'lgger'"),
    ],
)
def test_nonsense_is_refused_in_words_and_changes_nothing(client, members, words):
    sink = memory_pipeline(level="INFO")
    answer = client.put("/level", **members)
    assert answer.status == 400
    assert words in answer.json["error"]
    assert client.get("/level", headers=BEARER).json["level"] == "info"
    assert not sink.events


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("text/plain", b'{"level":"debug"}', "use application/json"),
        ("application/json", b"{", "no JSON"),
        ("application/json", b"\xff", "no JSON"),
        ("application/json", b'["debug"]', "no object"),
    ],
)
def test_other_bodies_are_refused(client, kind, body, words):
    memory_pipeline()
    answer = client.ask("PUT", "/level", headers={**BEARER, "Content-Type": kind}, body=body)
    assert answer.status == 400
    assert words in answer.json["error"]


def test_a_long_body_is_not_even_read(client):
    memory_pipeline()
    assert client.put("/level", level="x" * 100_000).status == 413


def test_there_are_so_many_changes_at_once(client):
    memory_pipeline()
    for number in range(100):
        assert client.put("/level", level="debug", logger=f"l{number}").status == 200
    answer = client.put("/level", level="debug", logger="one-too-many")
    assert answer.status == 400
    assert "revert one first" in answer.json["error"]
    assert client.put("/level", level="info", logger="l7").status == 200


def test_before_configure_and_after_shutdown_there_is_nothing_to_change(client):
    for _ in range(2):
        answer = client.put("/level", level="debug")
        assert answer.status == 400
        assert "nothing is configured in this process, or it was shut down" in answer.json["error"]
        memory_pipeline()
        pylog_struct.shutdown()


def test_a_page_without_changes_only_shows():
    client = Client(status_wsgi_app(token=TOKEN, changes=False))
    memory_pipeline()
    answer = client.put("/level", level="debug")
    assert (answer.status, answer["allow"]) == (405, "GET, HEAD")
    assert client.get("/level", headers=BEARER).status == 200
    page = client.get("/", headers={**BEARER, **HTML}).text
    assert "<h2>Levels" in page
    assert 'action="level"' not in page


def test_the_longest_duration_is_the_users_to_say():
    client = Client(status_wsgi_app(token=TOKEN, max_duration="2 min"))
    memory_pipeline()
    assert client.put("/level", level="debug", duration=121).status == 400
    assert 100 < client.put("/level", level="debug").json["expires_in"] <= 120


# -- the form ---------------------------------------------------------------------------------------


def test_the_form_changes_and_reverts(client):
    sink = memory_pipeline()
    client.login()
    csrf = client.csrf()
    answer = client.form("/level", csrf=csrf, logger="app", level="error", duration="60")
    assert (answer.status, answer["location"]) == (303, "./#levels")
    assert client.get("/level").json["loggers"]["app"]["level"] == "error"
    page = client.get("/", headers=HTML).text
    assert 'value="revert"' in page
    answer = client.form("/level", csrf=csrf, logger="app", action="revert")
    assert answer.status == 303
    assert client.get("/level").json["loggers"] == {}
    assert [event["event"] for event in audit(sink)] == ["level.changed", "level.reverted"]


def test_the_form_says_what_was_wrong_without_repeating_markup(client):
    memory_pipeline()
    client.login()
    answer = client.form("/level", csrf=client.csrf(), level="<script>x</script>")
    assert answer.status == 400
    assert "level: &#x27;&lt;script&gt;x&lt;/script&gt;&#x27; is no level" in answer.text


@pytest.mark.parametrize(
    ("csrf", "headers"),
    [
        (False, {}),
        (True, {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}),
        (True, {"Origin": "https://evil.example", "Sec-Fetch-Site": None}),
        (True, {"Content-Type": "text/plain"}),
    ],
)
def test_a_form_of_another_site_changes_nothing(client, csrf, headers):
    sink = memory_pipeline(level="INFO")
    client.login()
    fields = {"csrf": client.csrf()} if csrf else {}
    answer = client.form("/level", headers=headers, level="debug", **fields)
    assert answer.status == 403
    assert not sink.events
    assert client.get("/level").json["level"] == "info"


def test_a_put_of_another_site_changes_nothing_though_the_browser_sends_the_cookie(client):
    memory_pipeline(level="INFO")
    client.login()
    headers = {"Authorization": "", "Sec-Fetch-Site": "cross-site"}
    assert client.put("/level", level="debug", headers=headers).status in {401, 403}
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert client.put("/level", level="debug", headers=headers).status == 403
    assert client.get("/level").json["level"] == "info"


def test_the_guards_name_for_the_user_is_in_the_audit_event():
    def guard(request):
        return request.headers.get("x-user")

    sink = memory_pipeline()
    client = Client(status_wsgi_app(guard=guard))
    answer = client.put("/level", level="error", headers={"X-User": "ada"})
    assert answer.status == 200
    assert audit(sink)[0]["by"] == "ada"


def test_a_form_behind_a_guard_is_bound_to_the_browser_too():
    memory_pipeline(level="INFO")
    client = Client(status_wsgi_app(guard=lambda request: True))
    csrf = client.csrf()
    assert client.form("/level", csrf=csrf, level="error").status == 303
    stranger = Client(status_wsgi_app(guard=lambda request: True))
    stranger.csrf()
    assert stranger.form("/level", csrf=csrf, level="debug").status == 403
    assert client.get("/level").json["level"] == "error"
