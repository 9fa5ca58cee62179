"""The metrics endpoint: an ASGI or WSGI application that answers scrapes, with one worker or many."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pylog_struct.errors import ConfigError
from pylog_struct.web._http import asgi_app, wsgi_app
from pylog_struct.web._metrics.negotiation import metrics_page
from pylog_struct.web._metrics.scrape import Scraper, directory_of
from pylog_struct.web._multiprocess.directory import fold_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pylog_struct.web._http import ASGIApp, WSGIApp
    from pylog_struct.web._metrics.scrape import Collector

__all__ = ["fold_dead_workers", "metrics_asgi_app", "metrics_wsgi_app"]


def metrics_asgi_app(
    registry: Collector | Sequence[Collector] | None = None,
    *,
    collectors: Iterable[Collector] = (),
    multiprocess_dir: str | os.PathLike[str] | None = None,
    fold: bool = True,
    compress: bool = True,
) -> ASGIApp:
    """Return an ASGI 3 application that answers scrapes, at whatever path it is mounted.

    GET and HEAD are answered with 200 and without a redirect, OPTIONS too; anything else with 405.
    The format is the one that the scraper prefers among those of the installed prometheus-client
    (classic text and OpenMetrics, with its escaping), compressed if it accepts gzip; ``?name[]=``
    asks for some samples only.  A collector that raises is left out, and so is a family that clashes
    with one before it: that is reported on stderr and counted in
    ``pylog_processing_errors_total{stage="scrape"}``.

    With ``PROMETHEUS_MULTIPROC_DIR`` the answer is what the files of all processes say, whichever of
    them is asked, and the files of dead workers are folded into one archive for each kind of metric,
    see :func:`fold_dead_workers`.  A broken file is left out.  If the directory is not there the
    answer is 500: an empty 200 would hide it.

    To mount it in a framework use :func:`pylog_struct.web.mount_metrics`: one line for each of them,
    and no catch-all hides it.  ``app.mount("/metrics", metrics_asgi_app())`` of Starlette and FastAPI
    answers ``/metrics`` without a redirect too, if Starlette was imported before this call.

    Args:
        registry: A ``CollectorRegistry``, or a list of them; of what is in two of them the first
            one is shown.  Default: that of prometheus-client.  In multiprocess mode its metrics are
            those in the files.
        collectors: More collectors, asked in multiprocess mode too: for numbers that are the same
            whichever worker is asked.
        multiprocess_dir: Where the files are.  Default: what the environment says at the scrape.
        fold: Whether dead workers' files are folded.  If not, they are read as prometheus-client
            does, for ever.
        compress: Whether gzip is offered.

    Raises:
        ConfigError: an argument makes no sense.

    Threads: thread-safe; a scrape runs in the event loop's executor.  Blocks: up to 1.25 seconds
    behind a fold of another process, and as long as the collectors do.  Fork: nothing to be done.
    Source: the Prometheus text format 0.0.4 and 1.0.0, OpenMetrics 1.0.
    """
    scraper = Scraper(registry, collectors, multiprocess_dir, fold=fold)
    return asgi_app(metrics_page(scraper, compress=compress), "metrics")


def metrics_wsgi_app(
    registry: Collector | Sequence[Collector] | None = None,
    *,
    collectors: Iterable[Collector] = (),
    multiprocess_dir: str | os.PathLike[str] | None = None,
    fold: bool = True,
    compress: bool = True,
) -> WSGIApp:
    """Return a WSGI application that answers scrapes; see :func:`metrics_asgi_app`.

    Raises:
        ConfigError: an argument makes no sense.

    Threads: thread-safe.  Blocks: as the other one.  Fork: nothing to be done.  Source: PEP 3333.
    """
    scraper = Scraper(registry, collectors, multiprocess_dir, fold=fold)
    return wsgi_app(metrics_page(scraper, compress=compress))


def fold_dead_workers(directory: str | os.PathLike[str] | None = None) -> int:
    """Fold the files of dead workers into one archive for each kind of metric; return how many went.

    Counters, histograms, summaries and ``sum`` gauges add up in the archive, ``min``, ``max`` and
    ``mostrecent`` gauges keep what their name says, ``live…`` gauges vanish with their process, and
    so do ``all`` gauges, which have a series for each process.  No total changes, however often it
    is called and wherever a crash interrupts it; prometheus-client's own collector reads the archive
    like any other file.

    Every scrape does this by itself.  Call it from a hook of the server, such as gunicorn's
    ``child_exit``, if workers may come and go without being scraped.

    A file belongs to a dead worker if its pid is gone and, as far as the kernel says (Linux), nobody
    has it open for writing: so other containers may use the directory too.  Whatever is not named
    after a pid is left alone.

    Args:
        directory: Where the files are.  Default: what the environment says; without it nothing happens.

    Raises:
        ConfigError: *directory* is no path.  Nothing else: trouble is reported on stderr.

    Threads: thread-safe, and safe beside other processes.  Blocks: up to 0.25 seconds for the lock.
    """
    if not isinstance(directory, str | os.PathLike | None) or directory == "":
        msg = f"directory: {directory!r} is not the path of a directory"
        raise ConfigError(msg)
    where = directory_of(directory)
    return fold_directory(where) if where else 0
