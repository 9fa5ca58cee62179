"""Start real Celery processes in a folder of their own, and read all that they wrote."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from support.process import environment

PATIENCE = 90.0
BROKER = Path(__file__).with_name("celery_broker")


def with_broker(**extra):
    """The environment of a process that uses the broker of files."""
    found = environment(**extra)
    return {**found, "PYTHONPATH": f"{BROKER}{os.pathsep}{found['PYTHONPATH']}"}


class Said:
    """What a process wrote, line by line: each has to be one JSON object, and none may come twice."""

    def __init__(self, text):
        lines = [line for line in text.splitlines() if line]
        self.events = [parsed(line) for line in lines]
        twice = [line for line, number in Counter(lines).items() if number > 1]
        assert not twice, twice

    def named(self, event):
        return [one for one in self.events if one["event"] == event]

    def of_task(self, name):
        """The lines of the tasks of one name."""
        return [one for one in self.events if one.get("task_name") == name]

    def ends(self, name):
        """How the tasks of one name ended: event, level and state of each."""
        return [
            (one["event"], one["level"], one["state"])
            for one in self.of_task(name)
            if "state" in one
        ]


def parsed(line):
    """One line as an event."""
    try:
        event = json.loads(line)
    except ValueError:
        raise AssertionError(f"not one JSON object: {line!r}") from None
    assert isinstance(event, dict), line
    assert {"timestamp", "level", "event"} <= event.keys(), line
    return event


class Running:
    """A process of Celery's; its output goes to files, so that it never waits for a reader."""

    def __init__(self, folder, name, *arguments, app="support.celery_tasks", **extra):
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        command = [sys.executable, "-m", "celery", "-A", app, *map(str, arguments)]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=with_broker(CELERY_DATA=str(folder / "data"), **extra),
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def text(self):
        """Both outputs by now."""
        return self._out.read_text("utf-8") + self._err.read_text("utf-8")

    def wait_for(self, words):
        """Wait until it has written *words*."""
        ends = time.monotonic() + PATIENCE
        while words not in self.text:
            assert self.process.poll() is None, f"it has ended:\n{self.text}"
            assert time.monotonic() < ends, f"no {words!r} within {PATIENCE} s:\n{self.text}"
            time.sleep(0.05)

    def kill(self):
        """Kill it, and its children by that; return the lines that were whole by then."""
        said = Said(self.text.rpartition("\n")[0])
        self.process.kill()
        self.process.wait(PATIENCE)
        return said

    def stop(self):
        """Stop it as an operator does, and return what it said in all its life."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.text
        return Said(self.text)


def worker(folder, *arguments, **extra):
    """Start a worker on the tasks of ``support.celery_tasks``."""
    return Running(folder, "worker", "worker", *arguments, **extra)


def send(folder, *arguments, of=None, **extra):
    """Run the program that sends tasks and waits for their ends, and return what it said.

    *of* is the worker: what it said is shown if not all of them end.
    """
    done = subprocess.run(
        [sys.executable, "-m", "support.celery_tasks", *map(str, arguments)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=with_broker(CELERY_DATA=str(folder / "data"), **extra),
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr + (of.text if of else "")
    assert done.stdout.endswith("DONE\n"), done.stdout
    return Said(done.stdout.removesuffix("DONE\n") + done.stderr)
