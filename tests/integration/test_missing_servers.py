"""What a run says about servers that this machine cannot start, and that it starts one only once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from support import servers

TESTS = Path(__file__).resolve().parents[1]

CONFTEST = """
import pytest, sys
from support import servers

def pytest_terminal_summary(terminalreporter):
    servers.report_missing(terminalreporter)

@pytest.fixture(scope="session")
def absent():
    servers.needs("Fancy DB", "no-such-command-anywhere")

def start(home):
    command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
    process = servers.Process.start(command, home)
    process.wait_until(lambda: "up" in process.last_words())
    return process, {"home": str(home)}

@pytest.fixture(scope="session")
def sleeper(tmp_path_factory):
    yield from servers.shared("sleeper", tmp_path_factory, start)
"""


def run(tmp_path, test, *options, **environment):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(test)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    inherited.pop("CI", None)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *options],
        cwd=tmp_path,
        env={**inherited, "PYTHONPATH": str(TESTS), **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


ABSENT = "def test_a(absent): pass\ndef test_b(absent): pass\n"


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_missing_server_is_named_at_the_end_with_the_reason(tmp_path, workers):
    done = run(tmp_path, ABSENT, *workers)

    assert done.returncode == 0
    assert (
        "Fancy DB was missing: no no-such-command-anywhere on the PATH (2 tests did not run)"
        in done.stdout
    )


def test_in_ci_a_missing_server_is_a_failure(tmp_path):
    done = run(tmp_path, ABSENT, CI="true")

    assert done.returncode == 1
    assert "Fancy DB was missing" in done.stdout


def test_workers_share_one_server_and_the_last_one_stops_it(tmp_path):
    test = (
        "import os, pathlib, time, pytest\n"
        "@pytest.mark.parametrize('n', range(4))\n"
        "def test_it(sleeper, n):\n"
        f"    path = pathlib.Path({str(tmp_path)!r}) / 'pids'\n"
        "    with path.open('a') as file: file.write(f'{sleeper[\"pid\"]}\\n')\n"
        "    time.sleep(0.3)\n"
    )

    done = run(tmp_path, test, "-n", "2")

    assert done.returncode == 0, done.stdout
    (pid,) = set((tmp_path / "pids").read_text().split())
    assert _is_gone(int(pid))


def _is_gone(pid):
    try:  # a zombie is gone, too: who started it has ended
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_repository_that_cannot_be_reached_is_asked_once_a_run(tmp_path):
    """Each test that needs the server would otherwise wait for the same time-out again."""
    asked = tmp_path / "asked"
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text(f"#!/bin/sh\necho asked >> {asked}\necho '[ERROR] no route to it'\nexit 1\n")
    maven.chmod(0o755)
    test = (
        "from support import servers\n"
        "def test_a(tmp_path_factory): servers.class_path('Fancy DB', 'kafka', tmp_path_factory)\n"
        "def test_b(tmp_path_factory): servers.class_path('Fancy DB', 'kafka', tmp_path_factory)\n"
    )

    done = run(tmp_path, test, "-n", "2", PATH=f"{maven.parent}:{os.environ['PATH']}")

    assert done.returncode == 0, done.stdout
    reason = "Maven could not fetch it: [ERROR] no route to it"
    assert f"Fancy DB was missing: {reason} (2 tests did not run)" in done.stdout
    assert asked.read_text().split() == ["asked"]


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(tmp_path):
    command = [sys.executable, "-c", "print('no disk left'); raise SystemExit(3)"]
    process = servers.Process.start(command, tmp_path)

    with pytest.raises(RuntimeError, match="no disk left"):
        process.wait_until(lambda: False)
    assert not process.alive


def test_a_server_that_will_not_stop_is_killed(tmp_path):
    script = "import signal,time; signal.signal(15, lambda *_: 0); print('up', flush=True)\nwhile 1: time.sleep(1)"
    process = servers.Process.start([sys.executable, "-c", script], tmp_path)
    process.wait_until(lambda: "up" in process.last_words())

    process.stop(timeout=0.2)

    assert not process.alive
