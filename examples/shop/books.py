"""The accounts: what really stands in the files, against what the application says it wrote."""

from __future__ import annotations

import os
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pylog_struct.cli.reading import read_lines


class Shipper:
    """Plays the log shipper: keeps a second name (a hard link) of every archive.

    Retention deletes archives while the demo runs; their lines are to be counted all the same.
    """

    def __init__(self, source: Path, target: Path) -> None:
        self._source = source
        self._target = target
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shipper")

    def start(self) -> None:
        self._target.mkdir()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(0.02):
            try:
                names = [path.name for path in self._source.glob("*.gz")]
            except OSError:  # the fault: there is no such directory for a while
                continue
            for name in names:
                try:
                    os.link(self._source / name, self._target / name)
                except OSError:  # there already, or gone again
                    continue


@dataclass
class Contents:
    """What was found in some files."""

    lines: int = 0
    broken: int = 0
    """Lines that are no JSON object."""
    twice: int = 0
    """Lines of the shop that say the same of the same request as one before."""
    switches: int = 0
    """Notices of the failover sink: the only lines that did not come through the queue."""
    levels: Counter[str] = field(default_factory=Counter)
    loggers: Counter[str] = field(default_factory=Counter)
    failed_payments: list[str] = field(default_factory=list)
    _seen: set[tuple[Any, ...]] = field(default_factory=set)

    def read(self, path: Path) -> int:
        """Count one file, and return the number of its lines."""
        before = self.lines
        for line in read_lines(path):
            self.lines += 1
            try:
                event = orjson.loads(line)
                self.levels[event["level"]] += 1
                self.loggers[event["logger"]] += 1
                self.switches += event["event"] == "sink.switch"
            except (orjson.JSONDecodeError, TypeError, KeyError):
                self.broken += 1
                continue
            if event.get("event") == "payment failed":
                self.failed_payments.append(event["request_id"])
            if event.get("logger") == "shop":
                key = (event["request_id"], event["event"], event.get("row"))
                self.twice += key in self._seen
                self._seen.add(key)
        return self.lines - before


@dataclass(frozen=True)
class Check:
    """One line of the accounts: both sides must be equal."""

    what: str
    left: int
    right: int

    @property
    def balanced(self) -> bool:
        return self.left == self.right


def log_files(directory: Path, shipped: Path | None = None) -> list[Path]:
    """Return the active file and the archives, each archive once, also those deleted since."""
    found = {path.name: path for path in shipped.iterdir()} if shipped else {}
    for path in directory.rglob("*.jsonl*"):
        if not path.is_file() or path.is_symlink() or path.suffix not in {".jsonl", ".gz"}:
            continue  # the lock file beside the active one
        # An archive that is being compressed has two names; the finished one counts.
        if not path.with_name(f"{path.name}.gz").exists():
            found[str(path.relative_to(directory))] = path
    return [found[name] for name in sorted(found)]


def balance(
    numbers: dict[str, Any],
    files: dict[str, list[Path]],
    caused: int,
    failed_payments: set[str],
) -> tuple[list[Check], Contents]:
    """Compare the statistics of the application with its files, and both with what its clients know.

    Args:
        numbers: What the application wrote when it ended.
        files: The files of each leaf sink, by its name.
        caused: How many events the clients' requests must have caused.
        failed_payments: The requests that clients saw fail.
    """
    contents = Contents()
    lines = {leaf: sum(contents.read(path) for path in paths) for leaf, paths in files.items()}
    sinks = numbers["sinks"]
    root = sinks[numbers["root"]]
    dropped = sum(sink["dropped"] for sink in sinks.values())
    of_requests = contents.loggers["shop"] + contents.loggers["pylog_struct.access"]
    checks = [
        *(
            Check(
                f"{name}: received = written + dropped + waiting",
                sink["received"],
                sink["written"] + sink["dropped"] + sink["waiting"],
            )
            for name, sink in sinks.items()
        ),
        Check("waiting anywhere after the end = 0", sum(s["waiting"] for s in sinks.values()), 0),
        *(
            Check(f"{leaf}: written = lines in its files", sinks[leaf]["written"], lines[leaf])
            for leaf in files
        ),
        Check(
            "emitted - dropped + switch notices = lines in all files",
            numbers["emitted"] - numbers["discarded"] - dropped + contents.switches,
            contents.lines,
        ),
        Check(
            "events that the requests caused = their lines + dropped", caused, of_requests + dropped
        ),
        Check("drops, by reason and level, add up", sum(root["drops"].values()), root["dropped"]),
        Check("lines that are no JSON = 0", contents.broken, 0),
        Check("lines that stand there twice = 0", contents.twice, 0),
        Check(
            "failed payments that clients saw = ERROR lines of them",
            len(failed_payments),
            len(contents.failed_payments),
        ),
        Check("... of which missing = 0", len(failed_payments - set(contents.failed_payments)), 0),
    ]
    return checks, contents
