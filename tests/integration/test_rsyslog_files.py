"""Rolled and compressed files, read by rsyslog's imfile, into a real OpenSearch."""

from __future__ import annotations

import gzip
import time
import uuid
from pathlib import Path

import orjson
import pytest
from support.rsyslog_server import Rsyslog

import pylog_struct
from pylog_struct.sinks import QueueSink, RollingFileSink

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

SHIPPED = Path(__file__).resolve().parents[2] / "deploy/rsyslog/files-to-elasticsearch.conf"


def configuration(index, port):
    """The one that we ship, for a test's folders and server."""
    text = SHIPPED.read_text("utf-8")
    for ours, tests in (
        ("/var/spool/rsyslog", "@FOLDER@"),
        ("/var/log/pylog-refused.log", "@FOLDER@/errors"),
        ("/var/log/pylog/", "@FOLDER@/logs/"),
        ('"localhost"', '"127.0.0.1"'),
        ('"9200"', f'"{port}"'),
        ("logs-pylog-default", index),
    ):
        assert ours in text, ours
        text = text.replace(ours, tests)
    return text


@pytest.mark.slow
def test_every_line_of_rolled_and_compressed_files_is_in_the_search_engine(opensearch, tmp_path):
    """The files have their final names from the beginning, and stay plain for a while: nothing is missed."""
    index = f"files-{uuid.uuid4().hex[:8]}"
    total = 20_000
    (tmp_path / "logs").mkdir()
    files = RollingFileSink(
        pattern=f"{tmp_path}/logs/app-%d{{yyyy-MM-dd-HH-mm-ss}}-%i.jsonl.gz",
        max_bytes="200 KB",
        compress_delay=8,
    )
    conf = configuration(index, opensearch.url.rpartition(":")[2])
    server = Rsyslog(tmp_path, conf, modules=["imfile", "omelasticsearch", "fmhash"], ready=False)
    with server:
        pylog_struct.configure(
            level="INFO", format="json", sink=QueueSink(files, policy="block", batch_records=100)
        )
        log = pylog_struct.get_logger("shop")
        for number in range(total):
            log.info("bestellt", n=number, text="grün \u65e5\u672c")
        assert pylog_struct.flush(30)
        wait_until(lambda: opensearch.count(index) >= total)
        # And what is written after the first archives were compressed.
        wait_until(lambda: len(list(tmp_path.glob("logs/*.gz"))) > 3)
        for number in range(total, total + 100):
            log.info("bestellt", n=number, text="danach")
        wait_until(lambda: opensearch.count(index) >= total + 100)
        assert pylog_struct.shutdown(30).complete

    assert opensearch.count(index) == total + 100
    assert not (tmp_path / "errors").exists()
    lines = list(everything(tmp_path / "logs"))
    assert len(lines) == total + 100
    assert len(list(tmp_path.glob("logs/*.gz"))) > 3
    assert numbers(opensearch, index) == dict.fromkeys(range(total + 100), 1)  # each one once
    last = {"query": {"term": {"n": total - 1}}}
    (hit,) = opensearch.call("POST", f"/{index}/_search", last)["hits"]["hits"]
    assert hit["_source"] == next(line for line in lines if line["n"] == total - 1)


def wait_until(condition, patience=120.0):
    ends = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.2)


def numbers(opensearch, index):
    """Every value of ``n`` in the index, with how many documents have it."""
    found = {}
    pages = {"size": 10_000, "sources": [{"n": {"terms": {"field": "n"}}}]}
    while True:
        body = {"size": 0, "aggs": {"all": {"composite": pages}}}
        answer = opensearch.call("POST", f"/{index}/_search", body)["aggregations"]["all"]
        found |= {bucket["key"]["n"]: bucket["doc_count"] for bucket in answer["buckets"]}
        if "after_key" not in answer:
            return found
        pages["after"] = answer["after_key"]


def everything(folder):
    """The documents in all files, plain and compressed; an archive that is both counts once."""
    for path in sorted(folder.glob("app-*")):
        if path.suffix == ".gz":
            data = gzip.decompress(path.read_bytes())
        elif path.with_name(path.name + ".gz").exists():
            continue
        else:
            data = path.read_bytes()
        yield from map(orjson.loads, data.splitlines())
