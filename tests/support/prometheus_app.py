"""An application that is scraped: all our metrics move, and the parent says what is to go wrong.

``python prometheus_app.py FOLDER`` prints its port, then does what each line on stdin says.
"""

from __future__ import annotations

import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

import structlog
from prometheus_client import CollectorRegistry

import pylog_struct
from pylog_struct.errors import SinkUnavailableError
from pylog_struct.sinks import FailoverSink, FilterSink, NullSink, QueueSink, RollingFileSink
from pylog_struct.web import metrics_wsgi_app


class Elastic(NullSink):
    """A destination that is there or not."""

    down = False

    def _write(self, batch):
        if self.down:
            raise SinkUnavailableError("nobody listens", batch)


class File(RollingFileSink):
    """A file on a disk that is there or not."""

    down = False

    def _write(self, batch):
        if self.down:
            raise SinkUnavailableError("no disk", batch)
        super()._write(batch)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def odd(logger, name, event):
    """A processor of the user's own: drops, raises."""
    if event["event"] == "not wanted":
        raise structlog.DropEvent
    if event["event"] == "bad":
        raise RuntimeError("a bug of the user's")
    return event


def work(log, working, flood, over):
    """Log without an end; pause while *working* is not set, and be loud while *flood* is."""
    number = 0
    while not over.is_set():
        if not working.wait(0.05):
            continue
        number += 1
        for _ in range(3):
            log.info("order placed", number=number, text="x" * 200)
        log.debug("detail", number=number)
        log.info("noise", number=number)
        log.warning("odd", value=2**70, number=number)
        log.error("failed", number=number, text="x" * (50_000 if flood.is_set() else 0))
        if number % 10 == 0:
            log.critical("down", number=number)
            log.info("not wanted")
            log.info("bad")
        over.wait(0.02)


def main(folder):
    """Serve until stdin ends."""
    elastic = Elastic(name="elastic")
    file = File(
        f"{folder}/app.jsonl", pattern=f"{folder}/app-%i.jsonl",
        max_bytes=20_000, max_files=1, name="file",
    )  # fmt: skip
    safe = FailoverSink([elastic, file], retry_interval=0.1, name="safe")
    chosen = FilterSink(safe, lambda record: b'"noise"' not in record.line, name="chosen")
    queue = QueueSink(
        chosen, capacity=200, policy="discard", guarantee_timeout=0.01, retry_max=0.1,
        spill=f"{folder}/spill", spill_max_bytes=1_000_000, name="queue",
    )  # fmt: skip
    pylog_struct.configure(level="DEBUG", sink=queue, processors=[odd])
    ours, bare = metrics_wsgi_app(), metrics_wsgi_app(registry=CollectorRegistry())
    shown = [ours]

    def app(environ, start_response):
        return shown[0](environ, start_response)

    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    working, flood, over = threading.Event(), threading.Event(), threading.Event()
    log = structlog.get_logger("shop")
    threads = [
        threading.Thread(target=server.serve_forever, args=(0.05,)),
        threading.Thread(target=work, args=(log, working, flood, over)),
    ]
    for thread in threads:
        thread.start()
    working.set()
    print(server.server_port, flush=True)
    for line in sys.stdin:
        command = line.strip()
        if command == "elastic down":
            elastic.down = True
        elif command == "all down":
            elastic.down = file.down = True
        elif command == "flood":
            flood.set()
        elif command == "rest":
            elastic.down = file.down = False
            working.clear()
            over.wait(0.5)
            pylog_struct.flush(30)
            statistics = pylog_struct.statistics()
            print(statistics.balanced, statistics.emitted, statistics.discarded, flush=True)
        elif command == "bare":
            shown[0] = bare
    over.set()
    server.shutdown()
    for thread in threads:
        thread.join()
    server.server_close()


if __name__ == "__main__":
    main(sys.argv[1])
