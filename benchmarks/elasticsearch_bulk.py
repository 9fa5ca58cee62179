"""Events per second into a search engine, end to end: our queue and sink, and elasticsearch-py's helper.

    python benchmarks/elasticsearch_bulk.py [--url http://localhost:9200] [--events 100000] [--rounds 5]
    python benchmarks/elasticsearch_bulk.py --null

Without ``--url`` it starts an OpenSearch node of its own (Java and Maven are needed); with ``--null`` a
server that answers at once, so that only the clients are compared.  Every contestant gives the server the
same events with the same nine fields, and the clock stops when it has confirmed all of them; then
they are counted.  Each has an index of its own, made before the clock starts.  All take part in each
round, in turns from the front and from the back; what counts is the median.

``streaming_bulk, as documented``
    ``helpers.streaming_bulk`` fed with a generator of event dicts; the index is mapped dynamically.  The
    server makes the ids, and a request that is sent again makes duplicates.
``streaming_bulk, our template``
    the same into a data stream of the template that ``pylog elk setup`` installs.
``streaming_bulk, template, _id``
    the same with an ``_id`` in each dict, as cheap as can be: the guarantee that we give.
``structlog, streaming_bulk``
    an application's way: log calls of structlog make the dicts; dynamic mapping.
``pylog_struct``
    ``log.info(...)`` calls, rendered as ECS, through ``QueueSink`` and ``ElasticsearchSink`` into a data
    stream of the same template; until ``flush`` returned.
``pylog_struct, dynamic mapping``
    the same into an index like that of the first one.

elasticsearch-py refuses to talk to OpenSearch, so its requests pass through a node class that
translates two headers; that costs it a few microseconds for each request of 500 documents.

Beside the rate stand the processor time of the client and of the server (if it is known) for each event,
and how much of the machine others used meanwhile.  Before each run it waits, for a while, until others
leave the machine alone (``--patience``), and a run during which they did not is done once more: whoever
uses two cores suffers more from neighbours than whoever uses one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections import deque
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psutil
import structlog
from elastic_transport import HttpHeaders, Urllib3HttpNode
from elasticsearch import Elasticsearch, helpers

import pylog_struct
from pylog_struct.elk.cluster import Cluster
from pylog_struct.elk.setup import install
from pylog_struct.elk.template import Plan
from pylog_struct.sinks import ElasticsearchSink, QueueSink
from pylog_struct.sinks._elasticsearch.connection import connection

HERE = Path(__file__).resolve().parent
QUIET = 10.0  # percent of the machine that others may use
AGAIN = 2  # times that a run is repeated because of others


class TranslatingNode(Urllib3HttpNode):
    """Plain media types in, the product header out."""

    def perform_request(self, method, target, body=None, headers=None, request_timeout=None):
        sent = HttpHeaders(headers or {})
        sent["accept"] = "application/json"
        if "content-type" in sent:
            kind = "x-ndjson" if "ndjson" in sent["content-type"] else "json"
            sent["content-type"] = f"application/{kind}"
        response = super().perform_request(method, target, body, sent, request_timeout)
        known = HttpHeaders({**response.meta.headers, "x-elastic-product": "Elasticsearch"})
        object.__setattr__(response.meta, "headers", known)
        return response


def fields(number):
    return {
        "order_id": number,
        "customer": f"c-{number % 977}",
        "amount": 12.5,
        "trace.id": f"{number:032x}",
    }


# -- the contestants ------------------------------------------------------------------------------


def streaming_bulk(url, actions):
    client = Elasticsearch(url, node_class=TranslatingNode, request_timeout=60)
    try:
        return sum(ok for ok, _ in helpers.streaming_bulk(client, actions))
    finally:
        client.close()


def dicts(number, target):
    for position in range(number):
        yield {
            **target,
            "@timestamp": datetime.now(UTC).isoformat(),
            "log.level": "info",
            "message": "order placed",
            "ecs.version": "9.4.0",
            "log.logger": "shop",
            **fields(position),
        }


def peer_dynamic(url, index, number):
    return streaming_bulk(url, dicts(number, {"_index": index}))


def peer_template(url, stream, number):
    return streaming_bulk(url, dicts(number, {"_op_type": "create", "_index": stream}))


def peer_ids(url, stream, number):
    def actions():
        for position, action in enumerate(dicts(number, {"_op_type": "create", "_index": stream})):
            action["_id"] = f"{time.time_ns() // 1000:016x}{position:08x}"
            yield action

    return streaming_bulk(url, actions())


def peer_structlog(url, index, number):
    made = deque()

    class Output:
        def info(self, **event):
            made.append(event)

    def as_action(_logger, _method, event):
        return (), {"_index": index, "ecs.version": "9.4.0", **event}

    log = structlog.wrap_logger(
        Output(),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", key="@timestamp"),
            structlog.processors.EventRenamer("message"),
            as_action,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("INFO"),
        cache_logger_on_first_use=True,
    ).bind(**{"log.logger": "shop"})

    def actions():
        for position in range(number):
            log.info("order placed", **fields(position))
            yield made.popleft()

    return streaming_bulk(url, actions())


def ours(url, number, **target):
    pylog_struct.configure(
        format="ecs",
        level="INFO",
        stdlib=False,
        uncaught=False,
        sink=QueueSink(
            ElasticsearchSink(url, request_timeout=60, **target),
            capacity=200_000,
            policy="block",
            batch_records=20_000,
            batch_bytes="20 MB",
        ),
    )
    log = structlog.get_logger("shop")
    for position in range(number):
        log.info("order placed", **fields(position))
    assert pylog_struct.flush(timeout=120)
    report = pylog_struct.shutdown(timeout=60)
    assert report.complete
    return number


def ours_template(url, stream, number):
    return ours(url, number, data_stream=stream)


def ours_dynamic(url, index, number):
    return ours(url, number, index=index)


CONTESTANTS = {
    "streaming_bulk, as documented": (peer_dynamic, "bench-plain"),
    "streaming_bulk, our template": (peer_template, "logs-bench"),
    "streaming_bulk, template, _id": (peer_ids, "logs-bench"),
    "structlog, streaming_bulk": (peer_structlog, "bench-plain"),
    "pylog_struct": (ours_template, "logs-bench"),
    "pylog_struct, dynamic mapping": (ours_dynamic, "bench-plain"),
}
RATIOS = [
    ("pylog_struct", "streaming_bulk, as documented"),
    ("pylog_struct", "streaming_bulk, our template"),
    ("pylog_struct", "streaming_bulk, template, _id"),
    ("pylog_struct", "structlog, streaming_bulk"),
    ("pylog_struct, dynamic mapping", "streaming_bulk, as documented"),
]
NULL = ["streaming_bulk, as documented", "structlog, streaming_bulk", "pylog_struct"]


# -- measuring ------------------------------------------------------------------------------------


class Run(NamedTuple):
    """One contestant in one round; times in microseconds for each event."""

    rate: float
    client: float
    server: float
    others: float  # percent of the machine


def busy():
    """Processor seconds of the whole machine that somebody used."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0)


def used(process):
    if process is None:
        return 0.0
    times = process.cpu_times()
    return times.user + times.system


def settle(patience):
    """Wait until others leave the machine alone, *patience* seconds at most."""
    ends = time.monotonic() + patience
    while time.monotonic() < ends:
        before = busy()
        time.sleep(0.5)
        if (busy() - before) / 0.5 / os.cpu_count() < QUIET / 100:
            return


def measure(run, url, target, events, server):
    before = busy(), time.process_time(), used(server)
    started = time.perf_counter()
    assert run(url, target, events) == events
    seconds = time.perf_counter() - started
    client, served = time.process_time() - before[1], used(server) - before[2]
    rest = max(busy() - before[0] - client - served, 0.0) / seconds / os.cpu_count()
    micro = 1e6 / events
    return Run(events / seconds, client * micro, served * micro, rest * 100)


@contextmanager
def index(url, prefix, events):
    """An index or data stream of its own; at the end all events must be in it."""
    name = f"{prefix}-{uuid.uuid4().hex[:8]}"
    stream = prefix.startswith("logs-")
    path = f"/_data_stream/{name}" if stream else f"/{name}"
    with Cluster(connection("benchmark", url)) as cluster:
        cluster.call("PUT", path)
        yield name
        cluster.call("POST", f"/{name}/_refresh")
        found = cluster.call("GET", f"/{name}/_count")["count"]
        assert found == events, f"{found} documents instead of {events}"
        cluster.call("DELETE", path)


@contextmanager
def nothing(_url, prefix, _events):
    yield prefix


def compare(url, events, rounds, *, patience, server=None, null=False):
    warnings.simplefilter("ignore")
    if not null:
        with Cluster(connection("benchmark", url)) as cluster:
            install(
                cluster, cluster.server(), Plan(data_stream="logs-bench*", retention="", replicas=0)
            )
    names = NULL if null else list(CONTESTANTS)
    runs = {name: [] for name in names}
    for turn in range(rounds + 1):  # the first one warms the server up and does not count
        for name in names if turn % 2 else names[::-1]:
            run, prefix = CONTESTANTS[name]
            for _ in range(1 + AGAIN if patience else 1):
                with (nothing if null else index)(url, prefix, events) as target:
                    settle(patience)
                    found = measure(run, url, target, events, server)
                if found.others < QUIET:
                    break
            if turn:
                runs[name].append(found)
                print(f"round {turn}: {told(name, found)}", flush=True)
    medians = {
        name: Run(*map(statistics.median, zip(*found, strict=True))) for name, found in runs.items()
    }
    print()
    for name, median in medians.items():
        print(f"median:  {told(name, median)}")
    print()
    for name, peer in RATIOS:
        if name in medians and peer in medians:
            mine, other = medians[name], medians[peer]
            print(
                f"{name} : {peer} = {mine.rate / other.rate:.2f} in events/s,"
                f" {other.client / mine.client:.2f} in events per client CPU second"
            )


def told(name, run):
    return (
        f"{name:30} {run.rate:8,.0f} events/s, client {run.client:5.1f} µs,"
        f" server {run.server:5.1f} µs, others {run.others:3.0f} %"
    )


# -- servers --------------------------------------------------------------------------------------


@contextmanager
def null_server():
    command = [sys.executable, str(HERE / "null_bulk_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}", psutil.Process(process.pid)
        finally:
            process.terminate()


@contextmanager
def opensearch():
    sys.path.insert(0, str(HERE.parent / "tests"))
    from support.opensearch_server import Node, node_command

    class Folder:
        def getbasetemp(self):
            return Path(folder)

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "node"
        home.mkdir()
        node = Node(node_command(Folder()), home).start()
        try:
            yield node.url, psutil.Process(node.process.pid)
        finally:
            node.process.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url")
    parser.add_argument("--server-pid", type=int, help="of the server at --url, if it runs here")
    parser.add_argument("--null", action="store_true", help="a server that answers at once")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patience", type=float, default=10.0, metavar="SECONDS")
    arguments = parser.parse_args()
    numbers = arguments.events, arguments.rounds
    if arguments.url:
        server = psutil.Process(arguments.server_pid) if arguments.server_pid else None
        compare(arguments.url, *numbers, patience=arguments.patience, server=server)
        return
    with null_server() if arguments.null else opensearch() as (url, server):
        options = {"patience": arguments.patience, "null": arguments.null}
        compare(url, *numbers, server=server, **options)


if __name__ == "__main__":
    main()
