"""Who may see the page: the token, sessions, guards that fail, and forged requests."""

from __future__ import annotations

import pytest

from pylog_struct import ConfigError
from pylog_struct.testing import FakeClock
from pylog_struct.web._http import Request
from pylog_struct.web._status.access import COOKIE, Access, Throttle, cookie, csrf, session

TOKEN = "correct-horse-battery"


def request(client="192.0.2.7", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("GET", "/", "", {"host": "app.example", **named}, b"", client)


def bearer(token, **more):
    return request(authorization=f"Bearer {token}", **more)


@pytest.fixture(name="clock")
def _clock():
    return FakeClock()


@pytest.fixture(name="access")
def _access(clock):
    return Access("status_asgi_app", TOKEN, None, clock)


async def async_guard(request):
    return True


class AsyncGuard:
    async def __call__(self, request):
        return True


@pytest.mark.parametrize(
    ("token", "guard", "words"),
    [
        (None, None, "neither of token and guard given"),
        (TOKEN, lambda request: True, "both of token and guard given"),
        ("", None, "it is empty"),
        ("short", None, "it is too short"),
        (" " * 40, None, "it is too short"),
        (1234567890123456, None, "it is no text"),
        (None, "not callable", "is no plain function"),
        (None, async_guard, "would always count as a yes"),
        (None, AsyncGuard(), "would always count as a yes"),
    ],
)
def test_without_a_proper_guard_it_is_not_built(token, guard, words):
    with pytest.raises(ConfigError, match=r"^status_asgi_app") as caught:
        Access("status_asgi_app", token, guard)
    assert words in str(caught.value)


def test_a_token_that_is_refused_is_not_repeated():
    with pytest.raises(ConfigError) as caught:
        Access("status_asgi_app", "sesame", None)
    assert "sesame" not in str(caught.value)


def test_only_the_token_is_the_token(access):
    assert access.identity(bearer(TOKEN)) == "token"
    assert access.identity(request(authorization=f"bearer  {TOKEN} ")) == "token"
    for wrong in ("", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\ud800" * 20, "x" * 100_000):
        assert access.identity(bearer(wrong)) is None
    for header in (f"Basic {TOKEN}", TOKEN, "", "Bearer"):
        assert access.identity(request(authorization=header)) is None
    assert access.identity(request()) is None


def test_guessing_ends_after_ten_tries_for_a_minute_and_only_for_who_guesses(access, clock):
    for _ in range(10):
        assert not access.token_is_right(request(), "wrong")
    assert access.identity(bearer(TOKEN)) is None  # the right one is not even looked at
    assert 0 < access.wait(request()) <= 60
    assert access.identity(bearer(TOKEN, client="198.51.100.1")) == "token"
    assert access.identity(request(cookie=f"{COOKIE}={access.new_session()}")) == "token"
    clock.advance(60)
    assert access.identity(bearer(TOKEN)) == "token"


def test_a_throttle_remembers_so_many_clients(monkeypatch, clock):
    monkeypatch.setattr("pylog_struct.web._status.access._CLIENTS", 5)
    throttle = Throttle(clock)
    for number in range(100):
        for _ in range(10):
            throttle.wrong(str(number))
    assert len(throttle._wrong) == 5
    assert throttle.wait("99")
    assert not throttle.wait("3")


def test_a_session_holds_in_every_process_with_the_same_token_and_ends(access, clock):
    value = access.new_session()
    other = Access("status_wsgi_app", TOKEN, None, clock)
    assert other.identity(request(cookie=f"a=b; {COOKIE}={value}")) == "token"
    changed = Access("status_wsgi_app", TOKEN + "!", None, clock)
    assert changed.identity(request(cookie=f"{COOKIE}={value}")) is None
    clock.advance(12 * 3600)
    assert access.identity(request(cookie=f"{COOKIE}={value}")) is None


@pytest.mark.parametrize("value", ["", "x", "..", "9999999999.a.b", "9999999999.a.", "é.é.é"])
def test_a_forged_session_is_none(access, value):
    assert access.identity(request(cookie=f"{COOKIE}={value}")) is None


def test_a_session_with_a_longer_life_is_forged(access):
    ends, nonce, signature = access.new_session().split(".")
    longer = f"{int(ends) + 1}.{nonce}.{signature}"
    assert access.identity(request(cookie=f"{COOKIE}={longer}")) is None


@pytest.mark.parametrize(
    ("answer", "identity"),
    [
        (True, "guard"), ("ada", "ada"), (False, None), (None, None), ("", None), (1, None),
        ({"user": "ada"}, None),
    ],
)  # fmt: skip
def test_a_guard_says_yes_by_true_or_a_name_and_nothing_else(answer, identity):
    access = Access("status_asgi_app", None, lambda request: answer)
    assert access.identity(request()) == identity
    assert access.identity(bearer(TOKEN)) == identity  # no token will do instead


def test_a_guard_that_fails_refuses_and_says_so_on_stderr(capsys):
    def guard(request):
        raise KeyError("user")

    access = Access("status_asgi_app", None, guard)
    assert access.identity(request()) is None
    assert "guard failed: refused (KeyError: 'user')" in capsys.readouterr().err


def test_a_guard_that_turns_out_to_be_async_refuses():
    access = Access("status_asgi_app", None, lambda request: async_guard(request))
    assert access.identity(request()) is None  # and no warning that nobody awaited it


def test_a_guard_sees_the_request():
    access = Access("x", None, lambda request: request.headers.get("x-user") or False)
    assert access.identity(request(x_user="ada")) == "ada"
    assert access.identity(request()) is None


@pytest.mark.parametrize(
    ("headers", "forged"),
    [
        ({}, False),
        ({"sec_fetch_site": "same-origin"}, False),
        ({"sec_fetch_site": "same-origin", "origin": "https://before.the.proxy"}, False),
        ({"sec_fetch_site": "same-site"}, True),
        ({"sec_fetch_site": "cross-site", "origin": "https://app.example"}, True),
        ({"sec_fetch_site": "none"}, True),
        ({"origin": "https://app.example"}, False),
        ({"origin": "http://APP.example"}, False),
        ({"origin": "https://evil.example"}, True),
        ({"origin": "https://app.example.evil.example"}, True),
        ({"origin": "null"}, True),
        ({"origin": "https://[broken"}, True),
    ],
)
def test_a_request_from_another_site_is_forged(access, headers, forged):
    assert access.is_forged(request(**headers), None) is forged


def test_a_form_needs_what_only_the_page_of_the_same_session_says(access):
    own = access.new_session()
    mine = request(cookie=f"{COOKIE}={own}")
    assert not access.is_forged(mine, csrf(own))
    assert access.is_forged(mine, "")
    assert access.is_forged(mine, csrf(access.new_session()))
    assert access.is_forged(mine, "\udc80é")
    assert access.is_forged(request(), csrf(""))  # without a session there is nothing to bind it to


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites():
    name, plain = cookie("value", request())
    assert name == "Set-Cookie"
    assert plain == f"{COOKIE}=value; Max-Age=43200; HttpOnly; SameSite=Strict"
    for headers in ({"origin": "https://app.example"}, {"x_forwarded_proto": "https"}):
        assert cookie("value", request(**headers))[1].endswith("; Secure")


def test_odd_cookies_of_others_are_in_nobodys_way():
    assert session(request(cookie=f'a,b=1; ;x; {COOKIE}=mine; c="')) == "mine"


@pytest.mark.parametrize("header", ["", "broken", "a b=c", "\x00", f"{COOKIE}", "=;=;="])
def test_odd_cookies_are_no_session(header):
    assert session(request(cookie=header)) == ""
