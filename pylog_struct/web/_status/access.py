"""Who may see the status page, and who really sent a form: token or guard, sessions, forged requests."""

from __future__ import annotations

import hashlib
import hmac
import inspect
import secrets
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pylog_struct import diagnostics, fork
from pylog_struct.clock import SYSTEM_CLOCK, Clock
from pylog_struct.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.web._http import Request

__all__ = ["COOKIE", "TOKEN_MIN", "Access", "Throttle"]

COOKIE: Final = "pylog_status"
TOKEN_MIN: Final = 16
"""Characters of a token: what cannot be guessed at any rate that a server answers."""

_SESSION: Final = 12 * 3600  # seconds that a session lasts
_TRIES: Final = 10  # wrong tokens of one client before it has to wait
_PAUSE: Final = 60.0  # seconds that it waits, and after which its tries are forgotten
_CLIENTS: Final = 1000  # clients remembered


class Throttle:
    """Counts wrong tokens by client, so that guessing costs a lookup and nothing else.

    Threads: thread-safe.  Memory: ``_CLIENTS`` addresses; the one not seen for longest is forgotten.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._after_fork_in_child()
        fork.register(self)

    def _after_fork_in_child(self) -> None:
        self._lock = threading.Lock()  # guards the mapping
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Return the seconds that *client* has to wait before its next try."""
        with self._lock:
            tries, since = self._wrong.get(client, (0, 0.0))
            left = since + _PAUSE - self._clock.monotonic()
            return left if tries >= _TRIES and left > 0 else 0.0

    def wrong(self, client: str) -> None:
        """Count a wrong token."""
        with self._lock:
            now = self._clock.monotonic()
            tries, since = self._wrong.pop(client, (0, now))
            self._wrong[client] = (tries + 1, since) if now - since < _PAUSE else (1, now)
            while len(self._wrong) > _CLIENTS:
                self._wrong.popitem(last=False)


class Access:
    """Decides about a request.  One of *token* and *guard*.

    Args:
        owner: The function that the user called, for errors.
        token: The secret.
        guard: Request → True, or a name for the audit event; anything else refuses.
        clock: For sessions (time of day) and tries.

    Raises:
        ConfigError: neither or both, a token that can be guessed, or a guard that is no plain function.
    """

    def __init__(
        self,
        owner: str,
        token: str | None,
        guard: Callable[[Request], object] | None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if (token is None) == (guard is None):
            given = "neither" if token is None else "both"
            msg = (
                f"{owner}: {given} of token and guard given; the page shows log lines and changes"
                f' levels, so pass one: token="…" (a secret of {TOKEN_MIN} or more characters) or'
                " guard=function (request -> True, or the user's name)"
            )
            raise ConfigError(msg)
        if token is not None and (not isinstance(token, str) or len(token.strip()) < TOKEN_MIN):
            what = "empty" if token == "" else "too short" if isinstance(token, str) else "no text"
            msg = (
                f"{owner}.token: it is {what}; use {TOKEN_MIN} or more characters, such as"
                " secrets.token_urlsafe() returns, from the environment and not from the source"
            )
            raise ConfigError(msg)
        if guard is not None and (not callable(guard) or _is_async(guard)):
            msg = (
                f"{owner}.guard: {guard!r} is no plain function; use one of a request that returns"
                " True or the user's name (an async one would always count as a yes)"
            )
            raise ConfigError(msg)
        self._guard = guard
        self._clock = clock
        self._throttle = Throttle(clock)
        self._digest = b"" if token is None else _digest(token)
        # Not the token: a signature must not be of use for anything else.
        self._key = hmac.digest(self._digest, b"pylog_struct status session", "sha256")

    @property
    def by_token(self) -> bool:
        """Whether people log in with a token."""
        return self._guard is None

    def identity(self, request: Request) -> str | None:
        """Return who sent *request*, or None if nobody who may."""
        if self._guard is not None:
            return self._ask(self._guard, request)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return "token" if self.token_is_right(request, given.strip()) else None
        return "token" if self._session_is_good(session(request)) else None

    def _ask(self, guard: Callable[[Request], object], request: Request) -> str | None:
        try:
            answer = guard(request)
        except Exception as error:
            diagnostics.report("status guard", "the status page's guard failed: refused", error)
            return None
        if answer is True:
            return "guard"
        if inspect.iscoroutine(answer):
            answer.close()  # not awaited on purpose: it says nothing
        return answer if isinstance(answer, str) and answer else None

    def wait(self, request: Request) -> float:
        """Seconds that the client has to wait before its next try with a token."""
        return self._throttle.wait(request.client)

    def token_is_right(self, request: Request, given: str) -> bool:
        """Whether *given* is the token; takes the same time whatever it is."""
        if self._guard is not None or self.wait(request):
            return False
        if hmac.compare_digest(_digest(given), self._digest):
            return True
        self._throttle.wrong(request.client)
        return False

    # -- sessions: signed, so that every worker knows them and none remembers them ------------------

    def new_session(self) -> str:
        """Return the value of a cookie that stands for the right token."""
        ends = f"{int(self._clock.time()) + _SESSION}.{secrets.token_urlsafe(12)}"
        return f"{ends}.{self._signature(ends)}"

    def _signature(self, text: str) -> str:
        return hmac.digest(self._key, text.encode("utf-8", "replace"), "sha256").hex()

    def _session_is_good(self, value: str) -> bool:
        text, _, signature = value.rpartition(".")
        if not hmac.compare_digest(self._signature(text).encode(), signature.encode()):
            return False
        return int(text.partition(".")[0]) > self._clock.time()

    # -- forged requests --------------------------------------------------------------------------

    def is_forged(self, request: Request, sent: str | None) -> bool:
        """Whether another site may have made a browser send a request that changes something.

        Args:
            request: The request.
            sent: The form's ``csrf`` field; None for a request that no form can send.
        """
        headers = request.headers
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is not None:  # the browser says it, and no script can change it
            if site != "same-origin":
                return True
        elif origin is not None and _host(origin) != headers.get("host", "").lower():
            return True
        if sent is None:
            return False
        own = session(request)
        return not own or not hmac.compare_digest(
            csrf(own).encode(), sent.encode("utf-8", "replace")
        )


def session(request: Request) -> str:
    """Return the value of our cookie, or nothing; cookies of others may be as odd as they like."""
    for part in request.headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value[:300]
    return ""


def csrf(own: str) -> str:
    """Return what a form of the session *own* has to send along: nobody else can read it."""
    return hmac.digest(own.encode("utf-8", "replace"), b"pylog_struct status form", "sha256").hex()


def cookie(value: str, request: Request, *, age: int = _SESSION) -> tuple[str, str]:
    """Return the header that sets our cookie, for the folder of this page only.

    Without ``Path`` the browser takes the folder of the address that it asked for: the only one that
    knows it, behind a proxy that rewrites paths.
    """
    secure = "; Secure" if _is_https(request) else ""
    text = f"{COOKIE}={value}; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"
    return "Set-Cookie", text


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_https(request: Request) -> bool:
    forwarded = request.headers.get("x-forwarded-proto", "")
    origin = request.headers.get("origin", "")
    return forwarded.startswith("https") or origin.startswith("https:")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.strip().encode("utf-8", "surrogatepass")).digest()


def _is_async(guard: Any) -> bool:
    return inspect.iscoroutinefunction(guard) or inspect.iscoroutinefunction(
        getattr(guard, "__call__", None)  # noqa: B004 - an object with an async __call__
    )
