"""The benchmarks of the web package run and count right; what they measure is nobody's failure here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.process import environment

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"

pytestmark = pytest.mark.slow

if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)


def run(script, *arguments, to):
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *map(str, arguments), "--json", to],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        timeout=100,
    )
    assert done.returncode in {0, 1}, done.stderr  # 1: a target was missed, which is said
    assert ("FAIL" in done.stdout) == (done.returncode == 1), done.stdout
    return done.stdout, json.loads(Path(to).read_text())


def test_scrapes(tmp_path):
    said, numbers = run("web_scrape.py", "--scrapes", 5, to=tmp_path / "scrape.json")

    assert "ours" in numbers["fresh"]
    assert len(numbers["fresh"]["ours"]) == 5
    assert numbers["series"] > 100
    assert "prometheus-client" in said


def test_requests(tmp_path):
    pytest.importorskip("asgi_correlation_id")
    said, numbers = run(
        "web_requests.py", "--rounds", 1, "--seconds", 0.2, to=tmp_path / "requests.json"
    )

    assert numbers
    for name in ("uvicorn", "ours", "recipe"):
        lines, answers = next(
            row.strip("|").split("|")[-1].split("/")
            for row in said.splitlines()
            if row.startswith(f"| {name} ")
        )
        assert int(lines) == int(answers) > 0, said
