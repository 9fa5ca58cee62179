"""A scrape of four workers under ``PROMETHEUS_MULTIPROC_DIR``: ours against prometheus-client's own.

Four processes log through a queue with a failover and have the metrics of a small web application, so
that each of them has files with our real series and some of an application.  Over the same files, in
turns, so that a busy machine disturbs both:

- ``ours``: a whole request to ``metrics_wsgi_app``, with the locks and the look for dead workers
- ``prometheus-client``: a fresh registry, a ``MultiProcessCollector`` and ``generate_latest``

Both texts must say the same.  A second table has both in a directory where workers were recycled 100
times: prometheus-client reads all files that there ever were, ours the archive::

    python benchmarks/web_scrape.py
    python benchmarks/web_scrape.py --scrapes 50 --json FILE
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

WORKERS = 4
RECYCLED = 100
ROUTES = 25
OURS, THEIRS = "ours", "prometheus-client"
MEDIAN_MS, RATIO = 50.0, 1.3
"""What the median of ours must not exceed: milliseconds, and times prometheus-client's."""


# -- the workers ----------------------------------------------------------------------------------


def work(folder: str) -> None:
    """Be a worker: log, count, say that it is done, and stay until stdin ends."""
    from prometheus_client import Counter, Gauge, Histogram

    import pylog_struct
    from pylog_struct.sinks import FailoverSink, NullSink, QueueSink, RollingFileSink

    logs = Path(folder) / f"{os.getpid()}.jsonl"
    rolling = RollingFileSink(str(logs), max_bytes="1 MB", max_files=2, name="file")
    safe = FailoverSink([rolling, NullSink(name="nothing")], name="safe")
    sink = QueueSink(safe, name="main", capacity=4096, policy="block")
    pylog_struct.configure(level="DEBUG", sink=sink, stdlib=False)
    requests = Counter("app_requests", "Requests.", ["method", "route", "status"])
    seconds = Histogram("app_request_seconds", "Duration of a request.", ["method", "route"])
    active = Gauge("app_active", "Requests under way.", multiprocess_mode="livesum")
    log = pylog_struct.get_logger("bench")
    for number in range(2000):
        route, status = f"/route/{number % ROUTES}", ("200", "404", "500")[number % 3]
        requests.labels("GET", route, status).inc()
        seconds.labels("GET", route).observe(number / 1000)
        getattr(log, ("debug", "info", "warning", "error")[number % 4])("request", route=route)
    active.set(1)
    pylog_struct.flush(30)
    pylog_struct.shutdown(30)
    print("done", flush=True)
    sys.stdin.read()


@contextmanager
def workers(values: Path, logs: Path, number: int = WORKERS) -> Iterator[None]:
    """Workers that have written their files and are still there."""
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--work", str(logs)],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(values)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(number)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            if process.stdout.readline() != "done\n":
                sys.exit("a worker failed")
        yield
    finally:
        for process in started:
            process.communicate()


def age(values: Path, recycled: int) -> None:
    """Make it look as if workers had come and gone: copies of a worker's files, of pids that are none."""
    pid = min(int(path.stem.rpartition("_")[2]) for path in values.glob("*.db"))
    for path in list(values.glob(f"*_{pid}.db")):
        kind = path.name.removesuffix(f"_{pid}.db")
        if not kind.startswith("gauge_live"):  # a hook calls mark_process_dead
            for number in range(recycled):
                shutil.copy(path, values / f"{kind}_{90_000_000 + number}.db")


# -- the contestants --------------------------------------------------------------------------------


def ours(values: Path) -> Callable[[], bytes]:
    """A whole request."""
    from pylog_struct.web import metrics_wsgi_app

    app = metrics_wsgi_app(multiprocess_dir=values)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "QUERY_STRING": ""}

    def start_response(status: str, _: Any) -> None:
        if status != "200 OK":
            sys.exit(f"the scrape was answered with {status}")

    return lambda: b"".join(app(environ, start_response))


def theirs(values: Path) -> Callable[[], bytes]:
    """What prometheus-client's documentation has."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    def scrape() -> bytes:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(values))
        return generate_latest(registry)

    return scrape


def same(one: bytes, other: bytes) -> int:
    """Make sure that both say the same; return how many series that is."""
    lines = [
        sorted(line for line in text.decode().splitlines() if not line.startswith("#"))
        for text in (one, other)
    ]
    if lines[0] != lines[1]:
        odd = set(lines[0]).symmetric_difference(lines[1])
        sys.exit("the two do not say the same:\n" + "\n".join(sorted(odd)[:10]))
    return len(lines[0])


def measure(contestants: dict[str, Callable[[], bytes]], scrapes: int) -> dict[str, list[float]]:
    """Milliseconds of each scrape, in turns."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(scrapes + 5):
        order = list(contestants) if number % 2 else list(reversed(contestants))
        for name in order:
            started = time.perf_counter()
            contestants[name]()
            took = (time.perf_counter() - started) * 1000
            if number >= 5:  # the first ones warm up
                found[name].append(took)
    return found


# -- the contest ------------------------------------------------------------------------------------


def table(title: str, found: dict[str, list[float]]) -> float:
    """Print a table; return the ratio of the medians."""
    print(f"| {title} | median ms | 95 % within ms | slowest ms |")
    print("|---|---:|---:|---:|")
    for name, took in found.items():
        late = sorted(took)[int(len(took) * 0.95)]
        print(f"| {name} | {statistics.median(took):.2f} | {late:.2f} | {max(took):.2f} |")
    ratio = statistics.median(found[OURS]) / statistics.median(found[THEIRS])
    print(f"\n{OURS} / {THEIRS}: {ratio:.2f}\n")
    return ratio


def main() -> int:
    """Measure both and say whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scrapes", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return 0
    with TemporaryDirectory() as folder:
        values, logs = Path(folder) / "values", Path(folder) / "logs"
        values.mkdir()
        with workers(values, logs):
            contestants = {OURS: ours(values), THEIRS: theirs(values)}
            series = same(contestants[OURS](), contestants[THEIRS]())
            fresh = measure(contestants, options.scrapes)
            aged = Path(folder) / "aged"
            shutil.copytree(values, aged)
            age(aged, RECYCLED)
            folded = Path(folder) / "folded"
            shutil.copytree(aged, folded)
            files = len(list(aged.glob("*.db")))
            contestants = {OURS: ours(folded), THEIRS: theirs(aged)}
            same(contestants[OURS](), contestants[THEIRS]())
            left = len(list(folded.glob("*.db")))
            old = measure(contestants, max(options.scrapes // 10, 5))
    ratio = table(f"scrape of {WORKERS} workers, {series} series", fresh)
    table(f"after {RECYCLED} recycles: {files} files, with ours {left}", old)
    median = statistics.median(fresh[OURS])
    met = {
        f"median of {options.scrapes} scrapes {median:.1f} ms (wanted: {MEDIAN_MS:.0f} or less)": (
            median <= MEDIAN_MS
        ),
        f"{ratio:.2f} of {THEIRS}'s (wanted: {RATIO} or less)": ratio <= RATIO,
    }
    for text, good in met.items():
        print(f"{'PASS' if good else 'FAIL'}: {text}")
    if options.json:
        numbers = {"series": series, "fresh": fresh, "recycled": old, "ratio": ratio}
        options.json.write_text(json.dumps(numbers, indent=1) + "\n")
    return 0 if all(met.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
