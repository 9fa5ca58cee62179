"""Events per second into a search engine, end to end: our queue and sink, and elasticsearch-py's helper.

    python benchmarks/elasticsearch_bulk.py [--url http://localhost:9200] [--events 50000] [--rounds 5]

Without ``--url`` it starts an OpenSearch node of its own (Java and Maven are needed).  Both write the
same fields into data streams of the same template, one after the other in each round:

* elasticsearch-py: ``helpers.streaming_bulk`` fed with dicts, as its documentation shows it: the
  server makes the ids, and a request that is sent again makes duplicates;
* the same with an ``_id`` in each dict, as cheap as can be, which is the guarantee that we give;
* pylog_struct: ``log.info(...)`` calls, rendered as ECS, through a ``QueueSink``; the clock stops when
  ``flush`` returned, that is when the server has confirmed every document.

elasticsearch-py refuses to talk to OpenSearch, so its requests pass through a node class that
translates two headers; that costs it a few microseconds for each request of 500 documents.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import uuid
import warnings
from pathlib import Path

import structlog
from elastic_transport import HttpHeaders, Urllib3HttpNode
from elasticsearch import Elasticsearch, helpers

import pylog_struct
from pylog_struct.elk.cluster import Cluster
from pylog_struct.elk.setup import install
from pylog_struct.elk.template import Plan
from pylog_struct.sinks import ElasticsearchSink, QueueSink
from pylog_struct.sinks._elasticsearch.connection import connection


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


def theirs_with_ids(url, stream, number):
    return theirs(url, stream, number, ids=True)


def theirs(url, stream, number, *, ids=False):
    client = Elasticsearch(url, node_class=TranslatingNode, request_timeout=60)

    def actions():
        for position in range(number):
            stamp = time.time_ns() // 1000
            seconds, micros = divmod(stamp, 1_000_000)
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
            yield {
                "_op_type": "create",
                "_index": stream,
                **({"_id": f"{stamp:016x}{position:08x}"} if ids else {}),
                "@timestamp": f"{moment}.{micros:06d}Z",
                "log.level": "info",
                "message": "order placed",
                "ecs.version": "9.4.0",
                "log.logger": "shop",
                **fields(position),
            }

    started = time.perf_counter()
    done = sum(ok for ok, _ in helpers.streaming_bulk(client, actions()))
    seconds = time.perf_counter() - started
    client.close()
    assert done == number
    return number / seconds


def ours(url, stream, number):
    pylog_struct.configure(
        format="ecs",
        level="INFO",
        stdlib=False,
        uncaught=False,
        sink=QueueSink(
            ElasticsearchSink(url, data_stream=stream, request_timeout=60),
            capacity=100_000,
            policy="block",
            batch_records=8000,
            batch_bytes="10 MB",
        ),
    )
    log = structlog.get_logger("shop")
    started = time.perf_counter()
    for position in range(number):
        log.info("order placed", **fields(position))
    assert pylog_struct.flush(timeout=120)
    seconds = time.perf_counter() - started
    report = pylog_struct.shutdown(timeout=60)
    assert report.complete
    return number / seconds


def prepare(url):
    with Cluster(connection("benchmark", url)) as cluster:
        install(
            cluster, cluster.server(), Plan(data_stream="logs-bench*", retention="", replicas=0)
        )


def count(url, stream):
    with Cluster(connection("benchmark", url)) as cluster:
        cluster.call("POST", f"/{stream}/_refresh")
        return cluster.call("GET", f"/{stream}/_count")["count"]


def compare(url, events, rounds):
    warnings.simplefilter("ignore")
    prepare(url)
    contestants = [
        ("elasticsearch-py", theirs),
        ("elasticsearch-py, _id", theirs_with_ids),
        ("pylog_struct", ours),
    ]
    rates = {name: [] for name, _ in contestants}
    for turn in range(rounds + 1):  # the first one warms the server up and does not count
        for name, run in contestants if turn % 2 else contestants[::-1]:
            stream = f"logs-bench-{uuid.uuid4().hex[:8]}"
            rate = run(url, stream, events)
            assert count(url, stream) == events, "documents are missing"
            with Cluster(connection("benchmark", url)) as cluster:
                cluster.call("DELETE", f"/_data_stream/{stream}")
            if turn:
                rates[name].append(rate)
                print(f"round {turn}: {name:21} {rate:10,.0f} events/s")
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, median in medians.items():
        print(f"median:  {name:21} {median:10,.0f} events/s")
    for name in ("elasticsearch-py", "elasticsearch-py, _id"):
        print(f"ratio to {name}: {medians['pylog_struct'] / medians[name]:.2f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url")
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.url:
        compare(arguments.url, arguments.events, arguments.rounds)
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from support.opensearch_server import Node, node_command

    class Folder:
        def getbasetemp(self):
            return Path(folder)

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "node"
        home.mkdir()
        node = Node(node_command(Folder()), home).start()
        try:
            compare(node.url, arguments.events, arguments.rounds)
        finally:
            node.process.stop()


if __name__ == "__main__":
    main()
