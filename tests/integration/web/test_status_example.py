"""The example of the status page, started as its own words say, through a fault and back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support.process import environment
from support.servers import free_port

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "status" / "app.py"
if not EXAMPLE.exists():
    pytest.skip("the examples are not here", allow_module_level=True)

TOKEN = "open-sesame-0123456789"
PATIENCE = 60.0


def ask(url, method="GET"):
    asked = urllib.request.Request(url, method=method, headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def wait_for(condition):
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            if condition():
                return
        except OSError:  # it is not up yet
            pass
        assert time.monotonic() < ends, "it never happened"
        time.sleep(0.1)


@pytest.fixture(name="server")
def _server(tmp_path):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, EXAMPLE],
        env=environment(
            STATUS_TOKEN=TOKEN, STATUS_LOGS=str(tmp_path), STATUS_RATE="50", PORT=str(port)
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def active(server):
    sinks = {sink["name"]: sink for sink in ask(f"{server}/status/data")[1]["sinks"]}
    found = sinks["failover"]["details"]
    return next(name.rpartition(".")[2] for name, on in found.items() if "active" in name and on)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="it is stopped with SIGTERM")
def test_the_example_shows_a_fault_and_its_end(server):
    health = f"{server}/health/ready"
    wait_for(lambda: ask(health)[1]["status"] == "ok")
    wait_for(lambda: active(server) == "collector")
    ask(f"{server}/collector/down", "POST")
    wait_for(lambda: active(server) == "files")
    status, verdict = ask(health)
    assert (status, verdict["status"]) == (200, "degraded")
    assert verdict["sinks"]["failover"]["reasons"][0] == "on_alternative"
    ask(f"{server}/collector/up", "POST")
    wait_for(lambda: active(server) == "collector")
    data = ask(f"{server}/status/data")[1]
    assert data["process"]["service"] == "shop"
    assert sum(sink["lost"] for sink in data["sinks"]) == 0
