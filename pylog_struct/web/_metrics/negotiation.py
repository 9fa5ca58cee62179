"""What a scraper asks for, in its headers and its query.

Source: RFC 9110 (Accept, Accept-Encoding, Allow); prometheus-client chooses among its own formats.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from prometheus_client.exposition import choose_encoder

from pylog_struct import diagnostics
from pylog_struct.web._http import Response, plain
from pylog_struct.web._metrics.scrape import encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylog_struct.web._http import Page, Request
    from pylog_struct.web._metrics.scrape import Scraper

__all__ = ["accepts_gzip", "chosen_encoder", "metrics_page"]

_ALLOW: Final = ("Allow", "GET, HEAD, OPTIONS")
_GZIP_LEVEL: Final = 6


def metrics_page(scraper: Scraper, *, compress: bool = True) -> Page:
    """Return the page that answers scrapes, whatever its path is."""

    def page(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(200, (_ALLOW,))
        if request.method not in {"GET", "HEAD"}:
            return plain(405, f"{request.method[:20]} makes no sense here", _ALLOW)
        encoder, content_type = chosen_encoder(request.headers.get("accept", ""))
        wanted = parse_qs(request.query).get("name[]")
        try:
            families = scraper.families(frozenset(wanted) if wanted else None)
        except OSError as error:
            diagnostics.report("scrape directory", "scrape: PROMETHEUS_MULTIPROC_DIR", error)
            return plain(500, f"PROMETHEUS_MULTIPROC_DIR cannot be read: {error.strerror}")
        body = encoded(encoder, families)
        headers = [
            ("Content-Type", content_type),
            ("Cache-Control", "no-store"),
            ("Vary", "Accept, Accept-Encoding"),
        ]
        if compress and accepts_gzip(request.headers.get("accept-encoding", "")):
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        return Response(200, tuple(headers), body)

    return page


def _weighed(header: str) -> list[tuple[str, float]]:
    """Return the values of a header and their weights, in its order."""
    found = []
    for part in header.split(","):
        value, *parameters = (each.strip() for each in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            name, _, text = parameter.partition("=")
            if name.strip().lower() == "q":
                try:
                    weight = float(text)
                except ValueError:
                    weight = 0.0
        if value:
            found.append((part.strip(), weight))
    return found


def accepts_gzip(header: str) -> bool:
    """Whether an answer may be compressed: ``gzip;q=0`` says that it may not."""
    weights = {
        value.partition(";")[0].strip().lower(): weight for value, weight in _weighed(header)
    }
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def chosen_encoder(header: str) -> tuple[Callable[[Any], bytes], str]:
    """Return the encoder and content type for an Accept header: the best one that we have.

    prometheus-client takes the first format that it knows and does not look at weights, so it gets
    them in their order, down to where the classic format is what is wanted.
    """
    wanted = []
    weighed = [(value, weight) for value, weight in _weighed(header) if weight > 0]
    for value, _ in sorted(weighed, key=lambda one: -one[1]):
        kind, *parameters = (each.strip() for each in value.split(";"))
        newer = any(
            parameter.startswith("version=") and not parameter.startswith("version=0.")
            for parameter in parameters
        )
        if kind.lower() in {"*/*", "text/*"} or (kind.lower() == "text/plain" and not newer):
            break
        wanted.append(value)
    try:
        return choose_encoder(",".join(wanted))
    except (ValueError, TypeError):  # a version that is none
        return choose_encoder("")
