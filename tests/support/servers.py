"""Real servers for the tests: processes of their own on loopback, once a run, stopped by their pid.

A server that this machine cannot run is *missing*: the tests that need it are skipped, the end of
pytest's output says which and why (``report_missing``, called from ``conftest.py``), and with
``CI=true`` it is a failure.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import portalocker
import psutil
import pytest

POMS = Path(__file__).resolve().parents[1] / "servers"
DOWNLOAD_PATIENCE = 240.0  # an empty Maven folder takes half a minute
_LOCK_PATIENCE = 500.0  # another worker downloads, and then starts the server
QUICK_JAVA = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""For servers that live for a minute: half the work of a start, and no threads beside the tests'."""
_MISSING = "server missing: "


# -- what is missing ------------------------------------------------------------------------------


def missing(name, reason):
    """Skip the tests that need server *name*; with ``CI=true``, fail them."""
    text = f"{_MISSING}{name}: {reason}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def report_missing(terminalreporter):
    """Say at the end of the run which servers were missing, and why."""
    reasons = {}
    for outcome in ("skipped", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, ()):
            found = re.search(rf"{_MISSING}(.+?): (.+)", _reason(report))
            if found:
                reasons.setdefault(found.groups(), []).append(report.nodeid)
    for (name, reason), tests in sorted(reasons.items()):
        line = f"{name} was missing: {reason} ({len(tests)} tests did not run)"
        terminalreporter.write_line(line, yellow=True)


def _reason(report):
    longrepr = getattr(report, "longrepr", None)
    return str(longrepr[2] if isinstance(longrepr, tuple) else longrepr)


def needs(name, *commands):
    """Make sure that all *commands* are on the PATH."""
    absent = [command for command in commands if shutil.which(command) is None]
    if absent:
        missing(name, f"no {' and no '.join(absent)} on the PATH")


def needs_java(name, version):
    """Make sure that there is Java of at least *version*, and Maven; return java's path."""
    needs(name, "java", "mvn")
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', said.stderr)
    if found is None or int(found[1]) < version:
        missing(name, f"Java {version} or newer is needed, found {found[1] if found else 'none'}")
    return shutil.which("java")


def class_path(name, folder, tmp_path_factory):
    """Return the class path of ``tests/servers/<folder>/pom.xml``; Maven downloads what is not there.

    The artifacts stay in the ordinary Maven folder, so only the first run on a machine downloads.
    """
    pom = POMS / folder / "pom.xml"
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:16]
    shared = _shared_folder(tmp_path_factory)
    written = shared / f"{folder}-{digest}.classpath"
    failed = written.with_suffix(".failed")
    with _locked(shared / f"{folder}.maven"):
        if failed.exists():  # once a run is enough to wait for what is not to be had
            missing(name, failed.read_text("utf-8"))
        if not written.exists():
            why = _ask_maven(pom, written)
            if why:
                failed.write_text(why, "utf-8")
                missing(name, why)
    return written.read_text().strip()


def _ask_maven(pom, written):
    """Write the class path of *pom* to *written*; return why not, if that is so."""
    output = written.with_suffix(".new")
    command = [
        "mvn", "--batch-mode", "--quiet", "--file", str(pom),
        "dependency:build-classpath", f"-Dmdep.outputFile={output}",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=DOWNLOAD_PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return (
            f"Maven did not finish within {DOWNLOAD_PATIENCE:.0f} s; "
            "`sh scripts/ci-servers.sh` downloads it beforehand"
        )
    if done.returncode or not output.exists():
        said = [row for row in (done.stdout + done.stderr).splitlines() if "ERROR" in row]
        why = re.sub(r"\x1b\[[0-9;]*m", "", said[0])[:300] if said else "no word of it"
        return f"Maven could not fetch it: {why}"
    output.replace(written)
    return None


# -- processes ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """A server's process; the same one in every worker of the run, known by pid and start time."""

    pid: int
    created: float
    log: str

    @classmethod
    def start(cls, command, folder, **environment):
        """Start *command* in *folder*, with its output in ``<folder>/output.log``."""
        log = Path(folder) / "output.log"
        # No Popen: another worker may end the process, after this one is gone.  No session of its
        # own: what ends the run's process group ends the servers too.
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", 'cd "$0" && exec "$@"', str(folder), *map(str, command)],
            {**os.environ, **environment},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )
        return cls(pid, psutil.Process(pid).create_time(), str(log))

    @property
    def alive(self):
        """Whether it runs (a zombie does not)."""
        with suppress(ChildProcessError):  # started by another worker, or reaped before
            os.waitpid(self.pid, os.WNOHANG)
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.created and process.status() != "zombie"
        except psutil.NoSuchProcess:
            return False

    def signal(self, number):
        """Send it a signal, if it is still there."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self):
        """Kill it the hard way, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self._wait(10.0)

    def stop(self, timeout=30.0):
        """Ask it to end; after *timeout* seconds, kill it."""
        self.signal(signal.SIGTERM)
        if not self._wait(timeout):
            self.kill()

    def _wait(self, timeout):
        ends = time.monotonic() + timeout
        while self.alive:
            if time.monotonic() > ends:
                return False
            time.sleep(0.05)
        return True

    def last_words(self, rows=15):
        """The end of its output: for messages."""
        with suppress(OSError):
            text = Path(self.log).read_text("utf-8", "replace")
            return "\n".join(text.splitlines()[-rows:])
        return ""

    def wait_until(self, ready, timeout=180.0):
        """Call *ready* until it returns something true, and return that.

        Raises:
            RuntimeError: the process ended, or *timeout* seconds passed; with its last words.
        """
        ends = time.monotonic() + timeout
        while True:
            with suppress(OSError):
                answer = ready()
                if answer:
                    return answer
            if not self.alive or time.monotonic() > ends:
                happened = "is not ready" if self.alive else "ended"
                self.kill()
                raise RuntimeError(f"the server {happened}; it said:\n{self.last_words()}")
            time.sleep(0.1)


def free_port():
    """A TCP port on loopback that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# -- once a run -----------------------------------------------------------------------------------


def shared(key, tmp_path_factory, start):
    """Share one server between all workers of a run: the body of a session fixture.

    Args:
        key: A file name for it.
        tmp_path_factory: pytest's.
        start: Called with an empty folder in the first worker that asks; starts the server, waits
            until it is ready, and returns (``Process``, facts); facts are JSON.

    Yields:
        The facts, with ``"pid"`` and ``"log"`` added.

    The last worker that leaves stops the server.
    """
    folder = _shared_folder(tmp_path_factory)
    note = folder / f"{key}.json"
    with _locked(folder / key):
        state = _state(note)
        if state is None:
            home = tmp_path_factory.mktemp(key)
            process, facts = start(home)
            state = {"process": asdict(process), "facts": facts, "users": []}
        state["users"].append(_me())
        note.write_text(json.dumps(state))
    process = Process(**state["process"])
    try:
        yield {**state["facts"], "pid": process.pid, "log": process.log}
    finally:
        with _locked(folder / key):
            state = json.loads(note.read_text())
            users = [user for user in state["users"] if user != _me() and _is_there(user)]
            if users:
                note.write_text(json.dumps({**state, "users": users}))
            else:
                note.unlink()
                process.stop()


def _state(note):
    try:
        state = json.loads(note.read_text())
    except FileNotFoundError:
        return None
    return state if Process(**state["process"]).alive else None


def _me():
    return [os.getpid(), psutil.Process().create_time()]


def _is_there(user):
    pid, created = user
    try:
        return psutil.Process(pid).create_time() == created
    except psutil.NoSuchProcess:
        return False


def _shared_folder(tmp_path_factory):
    """The folder that all workers of this run see, and no other run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def _locked(path):
    return portalocker.Lock(f"{path}.lock", "a", timeout=_LOCK_PATIENCE, check_interval=0.2)


def stop_what_is_left(tmp_path_factory):
    """Stop the servers whose users are gone without a word (a worker that was killed)."""
    for note in _shared_folder(tmp_path_factory).glob("*.json"):
        with suppress(Exception):  # the run is over: nothing here may change its outcome
            Process(**json.loads(note.read_text())["process"]).stop()
            note.unlink()


if sys.platform == "win32":  # pragma: no cover - the servers are started with posix_spawn
    Process.start = staticmethod(lambda *_, **__: missing("any server", "not on Windows"))
