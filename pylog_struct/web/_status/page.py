"""The status page around its live part: head, levels, the last errors, the login form."""

from __future__ import annotations

import os
import platform
import secrets
import socket
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pylog_struct.active import ACTIVE
from pylog_struct.metrics import is_multiprocess
from pylog_struct.web._http import Response
from pylog_struct.web._status import units
from pylog_struct.web._status.errors import ERRORS, LINE, group
from pylog_struct.web._status.html import Html, element, join
from pylog_struct.web._status.levels import current_levels, level_text, logger_names
from pylog_struct.web._status.look import Look
from pylog_struct.web._status.view import everything

if TYPE_CHECKING:
    from pylog_struct.web._status.levels import Levels

__all__ = ["fragment", "html_response", "login_page", "status_page"]

REFRESH: Final = 2000
"""Milliseconds between two refreshes by the page's script."""

_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_DURATIONS: Final[tuple[float, ...]] = (60, 600, 3600, 8 * 3600, 24 * 3600)
_STATIC: Final = Path(__file__).parent / "_static"


def html_response(page: Html, nonce: str, status: int = 200, *more: tuple[str, str]) -> Response:
    """Return *page* with the headers that keep everything else out of it."""
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}';"
        " connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    )
    headers = (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy),
        ("X-Frame-Options", "DENY"),
        *SECURITY,
    )
    return Response(status, (*headers, *more), page.encode("utf-8", "replace"))


SECURITY: Final = (
    ("Cache-Control", "no-store"),
    # Not "no-referrer": with that, browsers send "Origin: null" along with a form.
    ("Referrer-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


@cache
def _static(name: str) -> Html:
    """Return a file of the page; it is part of this package, so it is HTML as it stands."""
    return Html((_STATIC / name).read_text("utf-8"))


def _frame(title: str, nonce: str, *body: object, script: bool, live: bool = False) -> Html:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="robots", content="noindex"),
        element("title", title),
        element("link", rel="icon", href=_ICON),
        element("style", _static("status.css"), nonce=nonce),
    )
    end = element("script", _static("status.js"), nonce=nonce) if script else None
    page = element("body", *body, end, data_refresh=REFRESH if live else None)
    return Html(f"<!doctype html>{element('html', head, page, lang='en')}")


_ICON: Final = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect width='16' height='16' rx='4' fill='%232458d6'/%3E%3Cpath d='M4 5h8M4 8h8M4 11h5'"
    " stroke='white' stroke-width='1.6' stroke-linecap='round'/%3E%3C/svg%3E"
)


def service_name() -> str:
    """Return what ``configure(service=…)`` said, or nothing."""
    service = {} if ACTIVE.pipeline is None else ACTIVE.pipeline._static
    name = service.get("service", "")
    if isinstance(name, dict):
        name = name.get("name", "")
    return str(name)[:100]


# -- the page ---------------------------------------------------------------------------------------


def status_page(
    title: str,
    levels: Levels | None,
    csrf: str,
    *,
    problem: str = "",
    can_leave: bool = False,
) -> tuple[Html, str]:
    """Return the whole page, and its nonce.

    Args:
        title: What it is about; by default the service.
        levels: What changes levels; None if the page only shows them.
        csrf: What forms send along.
        problem: What was wrong with the form that was sent.
        can_leave: Whether there is a session to end.
    """
    nonce = secrets.token_urlsafe(16)
    name = title or service_name() or "Logging"
    process = (
        f"process {os.getpid()} on {socket.gethostname()}",
        f"Python {platform.python_version()}",
    )
    leave = (
        element(
            "form",
            element("input", type="hidden", name="csrf", value=csrf),
            element("button", "Log out", class_="plain"),
            method="post",
            action="logout",
        )
        if can_leave
        else None
    )
    head = element(
        "header",
        element(
            "div",
            element("h1", name, element("span", "log pipeline", class_="sub")),
            element("p", *(element("span", part) for part in process), class_="process"),
        ),
        element(
            "div",
            element("span", "as of this moment", id="state", class_="state"),
            element("button", "Pause", id="pause", type="button", class_="plain", hidden=True),
            element("a", "Refresh", id="refresh", href="./", class_="plain"),
            leave,
            class_="tools",
        ),
        class_="top",
    )
    body = element(
        "main",
        element("div", fragment(levels, csrf, problem=problem), id="live"),
        _change_form(levels, csrf) if levels is not None else None,
    )
    foot = element("footer", element("p", *_scope()))
    return _frame(f"{name}: log pipeline", nonce, head, body, foot, script=True, live=True), nonce


def _scope() -> list[object]:
    words: list[object] = [
        f"Everything here is about process {os.getpid()}: numbers, levels, errors."
    ]
    words.append(" Under several workers each one shows itself, and a reload may reach another.")
    if is_multiprocess():
        words.append(" The metrics endpoint adds all of them up (PROMETHEUS_MULTIPROC_DIR is set).")
    return words


def fragment(levels: Levels | None, csrf: str, *, problem: str = "") -> Html:
    """Return the part of the page that is made anew at each refresh."""
    return join((
        everything(Look.take()),
        _errors(),
        _levels(levels, csrf, problem),
    ))  # fmt: skip


# -- levels -----------------------------------------------------------------------------------------


def _levels(levels: Levels | None, csrf: str, problem: str) -> Html:
    rows: list[Html] = []
    for one in current_levels():
        name = element("code", one.logger) if one.logger else element("span", "all other loggers")
        until = "until changed" if one.left is None else f"{units.span(one.left)} left"
        undo = None
        if levels is not None and one.left is not None:
            undo = element(
                "form",
                element("input", type="hidden", name="csrf", value=csrf),
                element("input", type="hidden", name="logger", value=one.logger),
                element("input", type="hidden", name="action", value="revert"),
                element("button", "Revert", class_="plain", id=f"revert-{one.logger or 'root'}"),
                method="post",
                action="level",
            )
        rows.append(
            element(
                "tr",
                element("th", name, scope="row"),
                element("td", _level(level_text(one.level))),
                element("td", until, class_="until" if one.left is None else "until warn"),
                element("td", undo, class_="act"),
            )
        )
    head = element(
        "tr",
        element("th", "Logger", scope="col"),
        element("th", "From level", scope="col"),
        element("th", "Until", scope="col"),
        element("th", element("span", "Change", class_="unseen"), scope="col"),
    )
    return element(
        "section",
        element("h2", "Levels"),
        element("p", problem, class_="problem", role="alert") if problem else None,
        element("table", element("thead", head), element("tbody", *rows), class_="levels"),
        id="levels",
    )


def _level(name: str) -> Html:
    known = name if name in _LEVELS else "other"
    return element("span", name, class_=f"level {known}")


def _change_form(levels: Levels, csrf: str) -> Html:
    names = element(
        "datalist", *(element("option", value=name) for name in logger_names()), id="loggers"
    )
    choices = [number for number in _DURATIONS if number <= levels.most] or [levels.most]
    return element(
        "form",
        element("h3", "Change a level for a while"),
        element("input", type="hidden", name="csrf", value=csrf),
        element(
            "label",
            element("span", "Logger"),
            element(
                "input", name="logger", list="loggers", placeholder="all other loggers",
                maxlength=200, autocomplete="off", spellcheck="false", autocapitalize="none",
            ),
        ),
        element(
            "label",
            element("span", "Level"),
            element("select", *(element("option", name, value=name) for name in _LEVELS), name="level"),
        ),
        element(
            "label",
            element("span", "For"),
            element(
                "select",
                *(
                    element("option", units.span(number), value=f"{number:g}", selected=number == levels.default)
                    for number in choices
                ),
                name="duration",
            ),
        ),
        element("button", "Change", class_="main"),
        element(
            "p",
            "It reverts by itself. An event in the log says who changed what, and until when.",
            class_="quiet",
        ),
        names,
        method="post",
        action="level",
        class_="change",
    )  # fmt: skip


# -- errors -----------------------------------------------------------------------------------------


def _errors() -> Html:
    records = ERRORS.newest()
    groups = group(records, 20)
    if not groups:
        body = element(
            "div",
            element("h3", "No errors"),
            element("p", "Nothing was logged at error or above since this page was set up."),
            class_="empty",
        )
    else:
        now = time.time()
        items = [
            element(
                "details",
                element(
                    "summary",
                    _level(one.level),
                    element("span", one.event, class_="event"),
                    element("span", one.logger, class_="logger"),
                    element("span", f"{one.number}\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}" if one.number > 1 else "", class_="times"),
                    element(
                        "time", units.ago(now - one.at),
                        datetime=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.at)),
                    ),
                ),
                element("pre", _pretty(one.line), tabindex=0),
                id=f"error-{hash((one.event, one.logger, one.level)) & 0xFFFFFFFF:x}",
            )
            for one in groups
        ]  # fmt: skip
        body = element("div", *items, class_="errors")
    title = "Last errors"
    note = f"the last {len(records)}, by what they say" if len(records) > len(groups) else None
    heading = element("h2", title, element("span", note, class_="note") if note else None)
    return element("section", heading, body, id="errors")


def _pretty(line: str) -> str:
    """A JSON object with one member a line; anything else, and what was cut, as it is."""
    import orjson  # noqa: PLC0415 - only where there are errors

    if len(line) < LINE:
        try:
            return orjson.dumps(orjson.loads(line), option=orjson.OPT_INDENT_2).decode()
        except ValueError:
            return line
    return f"{line} …"


# -- login ------------------------------------------------------------------------------------------


def login_page(problem: str = "") -> tuple[Html, str]:
    """Return the form that asks for the token, and its nonce.  It says nothing about the pipeline."""
    nonce = secrets.token_urlsafe(16)
    form = element(
        "form",
        element("h1", "Log pipeline"),
        element("p", problem, class_="problem", role="alert") if problem else None,
        # For password managers: they want to know whose it is.
        element("input", name="username", autocomplete="username", value="status", hidden=True),
        element(
            "label",
            element("span", "Access token"),
            element(
                "input", type="password", name="token", autocomplete="current-password",
                required=True, autofocus=True,
            ),
        ),
        element("button", "Show the status", class_="main"),
        method="post",
        action="login",
        class_="login",
    )  # fmt: skip
    return _frame("Log pipeline", nonce, element("main", form), script=False), nonce
