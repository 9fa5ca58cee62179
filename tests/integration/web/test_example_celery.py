"""The example of Celery: a worker, beat, and who sends the tasks, as three processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.celery_worker import PATIENCE, Running, Said, with_broker
from support.process import environment

pytest.importorskip("celery")

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "celery_tasks"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EXAMPLE.is_dir(), reason="the examples are not installed"),
]


def test_an_order_can_be_followed_from_the_sender_to_the_last_task(tmp_path):
    extra = {
        "PYTHONPATH": f"{EXAMPLE}:{environment()['PYTHONPATH']}",
        "SHOP_DATA": str(tmp_path / "data"),
    }
    arguments = ("worker", "--concurrency", 2)
    with (
        Running(tmp_path, "worker", *arguments, app="shop", **extra) as worker,
        Running(tmp_path, "beat", "beat", app="shop", **extra) as beat,
    ):
        sent = subprocess.run(
            [sys.executable, str(EXAMPLE / "send.py"), "order-7"],
            cwd=tmp_path,
            capture_output=True,
            env=with_broker(**extra),
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        worker.wait_for('"event":"shipped"')
        worker.wait_for("the card was refused")
        worker.wait_for("no parcel is late")
        of_beat, of_worker = beat.stop(), worker.stop()

    of_sender = Said(sent.stdout + sent.stderr)
    assert of_sender.named("order placed")[0]["request_id"] == "order-7"
    ends = {
        name: [
            (one["event"], one["request_id"]) for one in of_worker.of_task(name) if "state" in one
        ]
        for name in ("shop.pack", "shop.ship", "shop.charge")
    }
    assert ends == {
        "shop.pack": [("task succeeded", "order-7")],
        "shop.ship": [("task retried", "order-7"), ("task succeeded", "order-7")],
        "shop.charge": [("task failed", "order-7")],
    }
    [packed] = of_worker.named("packed")
    [shipped] = of_worker.named("shipped")
    assert shipped["parent_id"] == shipped["root_id"] == packed["task_id"]
    assert of_beat.named("beat starting")
    assert of_beat.named("task due")
    for said in (of_beat, of_worker, of_sender):
        assert {one["service"] for one in said.events} == {"shop"}
