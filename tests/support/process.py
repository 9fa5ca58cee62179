"""Run a script in a Python of its own, with a timeout, and return what it said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def events(self):
        """The JSON documents on stdout."""
        begin = '{"timestamp"'  # something without a newline may stand before it
        return [
            json.loads(line[line.index(begin) :])
            for line in self.stdout.splitlines()
            if begin in line
        ]

    def named(self, event):
        """Those of one event name."""
        return [one for one in self.events if one["event"] == event]


def environment(**extra):
    """The environment of a child: ours, with the support modules in reach."""
    paths = [str(Path(__file__).resolve().parents[1])]
    if (PACKAGE_ROOT / "pylog_struct").is_dir():
        paths.insert(0, str(PACKAGE_ROOT))
    inherited = os.environ.get("PYTHONPATH")
    if inherited:
        paths.append(inherited)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **extra}


def unmeasured(**extra):
    """The same without coverage, whose handler for SIGTERM and whose warnings would be the server's."""
    found = environment(**extra)
    found.pop("COVERAGE_PROCESS_CONFIG", None)
    return found


def start(script, *arguments, options=(), **extra):
    """Start *script* (text) and return the ``Popen`` with both outputs piped."""
    return subprocess.Popen(
        [sys.executable, *options, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**extra),
        text=True,
    )


def finish(process, timeout=PATIENCE):
    """Wait for the end; kill it when it takes longer than *timeout*."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        message = f"still running after {timeout} s\n{out[-2000:]}\n{err[-2000:]}"
        raise AssertionError(message) from None
    return Finished(process.returncode, out, err)


def run(script, *arguments, timeout=PATIENCE, options=(), **extra):
    """Run *script* to its end."""
    return finish(start(script, *arguments, options=options, **extra), timeout)
