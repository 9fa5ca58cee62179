"""Real workers, their pools and beat: one JSON object a line, each with the ids of its task."""

from __future__ import annotations

from collections import Counter

import pytest
from support.celery_worker import Running, send, worker

pytest.importorskip("celery")

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
pytestmark = pytest.mark.slow


def check_context(said):
    """Every line that a task wrote has its ids, and the request's of whoever sent it."""
    inside = [one for one in said.events if "task_id" in one]
    names = {one["task_id"]: one["task_name"] for one in said.named("task received")}
    requests = {one["task_id"]: one.get("request_id") for one in said.named("task received")}
    for one in inside:
        assert one["task_name"] == names[one["task_id"]], one
        assert one.get("request_id") == requests[one["task_id"]], one
        assert one["root_id"], one
        assert type(one["retries"]) is int, one
    for one in said.events:
        if one["logger"] in {"app", "celery.app.trace", "celery.redirected"}:
            assert "task_id" in one, one


def check_crowd(said, number):
    """Of many tasks at once, none saw anything of another, whatever it left behind."""
    litter = [one for one in said.of_task("litter") if one["event"] == "inside"]
    assert sorted(one["tag"] for one in litter) == list(range(number))
    for one in litter:
        assert one["request_id"] == f"r-{one['tag']}"
        assert not [key for key in one["found"] if key.startswith("stray")]
    prints = [one for one in said.events if one["logger"] == "celery.redirected"]
    assert Counter(one["event"] for one in prints) == Counter(
        text for tag in range(number) for text in (f"printed by {tag}", f"and not ended by {tag}")
    )
    for one in prints:
        assert one["event"].endswith(f" {one['request_id'].removeprefix('r-')}")
        assert (one["stream"], one["level"]) == ("stdout", "warning")
    ends = [one["task_id"] for one in said.named("task succeeded") if one["task_name"] == "litter"]
    assert len(ends) == len(set(ends)) == number


def check_kinds(said):
    """One event for each end of a task, with Celery's level; each exception once."""
    received = [one for one in said.named("task received") if one.get("trace_id")]
    assert {(one["request_id"], one["trace_id"], one["span_id"]) for one in received} == {
        ("r-kinds", TRACE, SPAN)
    }
    assert said.ends("fail") == [("task failed", "error", "FAILURE")]
    assert said.ends("expected") == [("task failed", "info", "FAILURE")]
    again = [("task retried", "info", "RETRY")] * 2 + [("task succeeded", "info", "SUCCESS")]
    # The next run may be over before the child of this one has said that there is to be one.
    assert sorted(said.ends("again")) == again
    assert said.ends("ignored") == [("task ignored", "info", "IGNORED")]
    assert said.ends("rejected") == [("task rejected", "warning", "REJECTED")]
    assert said.ends("softly") == [("task failed", "error", "FAILURE")]
    assert said.ends("logging all the time") == [("task failed", "error", "FAILURE")]
    # The limit came while a value was being rendered, and waited for that.
    assert {one["value"] for one in said.named("chat")} == {"slow"}
    for one in said.events:
        if "state" in one and one["state"] != "REVOKED":
            assert type(one["duration"]) is float, one
            assert one["duration"] >= 0

    raised = [one for one in said.events if "exception" in one]
    assert Counter((one["task_name"], one["exception"]["type"]) for one in raised) == Counter(
        [
            ("fail", "ValueError"),
            ("rejected", "Reject"),
            ("softly", "SoftTimeLimitExceeded"),
            ("logging all the time", "SoftTimeLimitExceeded"),
        ]
    )
    [failed] = [one for one in raised if one["task_name"] == "fail"]
    assert failed["exception"]["frames"][-1]["function"] == "fail"
    assert "data" not in failed
    assert "task_args" not in failed
    [expected] = [one for one in said.of_task("expected") if "state" in one]
    assert expected["reason"] == "KeyError('missing')"


def check_revoked(said):
    [revoked] = said.named("task revoked")
    assert (revoked["state"], revoked["reason"]) == ("REVOKED", "expired")
    assert revoked["request_id"] == "r-kinds"


def check_hostile(said):
    """Headers that nobody of ours has written: not bound, and nothing breaks."""
    [hostile] = [one for one in said.of_task("succeed") if one.get("tag") == "hostile"]
    assert "request_id" not in hostile
    assert "trace_id" not in hostile


def check_canvas(said):
    """Chain, group, chord and a task sent by a task: the request's id on all, parents and roots right."""
    canvas = [one for one in said.named("task received") if one.get("request_id") == "r-canvas"]
    assert Counter(
        one["task_name"] for one in canvas if not one["task_name"].startswith("celery.")
    ) == {
        "add": 2 + 3 + 3,
        "parent": 1,
        "succeed": 1,
    }
    [parent] = [one for one in canvas if one["task_name"] == "parent"]
    [child] = [one for one in canvas if one["task_name"] == "succeed"]
    assert child["parent_id"] == child["root_id"] == parent["task_id"]
    assert "parent_id" not in parent


def check_receivers(said):
    """A receiver of the user's runs inside the context, whichever signal it is for."""
    runs = Counter(one["task_id"] for one in said.named("receiver before"))
    assert runs == Counter(one["task_id"] for one in said.named("receiver after"))
    assert sum(runs.values()) > 30


def test_the_prefork_pool_from_the_banner_to_the_end(tmp_path):
    with worker(tmp_path, "--concurrency", 2) as running:
        running.wait_for("worker ready")
        sent = send(tmp_path, "everything", of=running)
        said = running.stop()

    check_context(said)
    check_kinds(said)
    check_revoked(said)
    check_hostile(said)
    check_canvas(said)
    check_receivers(said)
    check_crowd(said, 30)
    [banner] = said.named("worker starting")
    assert (banner["pool"], banner["concurrency"], banner["queues"]) == ("prefork", 2, ["celery"])
    assert "succeed" in banner["tasks"]
    assert banner["broker"].startswith("filesystem://")
    [connected] = said.named("connected to broker")
    assert connected["broker"].startswith("filesystem://")
    assert said.named("worker: Warm shutdown (MainProcess)")
    assert not [one for one in sent.events if one["level"] in {"error", "critical"}]


def test_a_killed_child_leaves_one_event_with_all_ids(tmp_path):
    with worker(tmp_path, "--concurrency", 2) as running:
        send(tmp_path, "deaths", of=running)
        running.wait_for("hard time limit")
        # Not stop(): after a hard time limit billiard may wait for a lock of the dead child.
        said = running.kill()

    check_context(said)
    assert said.ends("killed") == [("task failed", "error", "FAILURE")]
    assert said.ends("hardly") == [("task failed", "error", "FAILURE")]
    lost_once = [("task retried", "info", "RETRY"), ("task succeeded", "info", "SUCCESS")]
    assert sorted(said.ends("lost once")) == lost_once
    reasons = {one["task_name"]: one["reason"] for one in said.events if "reason" in one}
    assert reasons == {
        "killed": "worker lost",
        "lost once": "worker lost",
        "hardly": "hard time limit",
    }
    raised = [
        (one["task_name"], one["exception"]["type"]) for one in said.events if "exception" in one
    ]
    assert raised == [("killed", "WorkerLostError"), ("hardly", "TimeLimitExceeded")]
    for one in said.events:
        if "state" in one:
            assert type(one["duration"]) is float, one
            assert one["request_id"] == "r-deaths"
    lost = [one["event"] for one in said.events if one["logger"] == "multiprocessing"]
    assert any("SIGKILL" in event for event in lost)
    assert [one["tag"] for one in said.named("inside")] == ["killed", "lost once", "hardly"]


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_other_pools(pool, tmp_path):
    with worker(tmp_path, "--pool", pool, "--concurrency", 4, CELERY_ARGUMENTS="1") as running:
        running.wait_for("worker ready")
        send(tmp_path, "crowd", 30, of=running)
        said = running.stop()

    check_context(said)
    check_crowd(said, 30)
    succeeded = said.named("task succeeded")
    assert all(one["task_args"] == f"({one['result']},)" for one in succeeded)


def test_children_that_are_replaced_deliver_what_only_their_queue_held(tmp_path):
    limits = ("--concurrency", 2, "--max-tasks-per-child", 1)
    with worker(tmp_path, *limits, CELERY_QUEUE="1") as running:
        # Its main process delivers when it ends: nothing to wait for but the first child's end.
        send(tmp_path, "chatty", 4, CELERY_QUEUE="1", of=running)
        said = running.stop()

    chat = Counter((one["tag"], one["number"]) for one in said.named("chat"))
    assert chat == Counter((tag, number) for tag in range(4) for number in range(50))
    check_context(said)


def test_a_warm_shutdown_delivers_what_the_children_hold(tmp_path):
    with worker(tmp_path, "--concurrency", 1, CELERY_QUEUE="1") as running:
        send(tmp_path, "chatty", 2, CELERY_QUEUE="1", of=running)
        assert '"chat"' not in running.text
        said = running.stop()

    assert len(said.named("chat")) == 100


def test_tasks_that_are_revoked_end_once(tmp_path):
    with worker(tmp_path, "--concurrency", 1, CELERY_CONTROL="1") as running:
        running.wait_for("worker ready")
        send(tmp_path, "revoke", CELERY_CONTROL="1", of=running)
        said = running.stop()

    assert said.ends("sleepy") == [("task revoked", "warning", "REVOKED")]
    assert said.ends("succeed") == [("task revoked", "info", "REVOKED")]
    reasons = {one["task_name"]: one["reason"] for one in said.named("task revoked")}
    assert reasons == {"sleepy": "terminated", "succeed": "revoked"}
    [sleepy] = [one for one in said.named("task revoked") if one["task_name"] == "sleepy"]
    assert (sleepy["signal"], type(sleepy["duration"])) == ("SIGKILL", float)
    check_context(said)


def test_beat(tmp_path):
    with Running(tmp_path, "beat", "beat") as beat:
        beat.wait_for('"task due"')
        said = beat.stop()

    [starting] = said.named("beat starting")
    assert starting["scheduler"] == "celery.beat.PersistentScheduler"
    assert not said.named("beat: Starting...")
    for due in said.named("task due"):
        assert (due["schedule_entry"], due["task_name"]) == ("every now and then", "succeed")
        assert due["logger"] == "celery.beat"


def test_a_worker_with_beat_in_it(tmp_path):
    with worker(tmp_path, "--concurrency", 1, "--beat") as running:
        running.wait_for('"task succeeded"')
        said = running.stop()

    assert len(said.named("beat starting")) == 1
    assert said.named("task due")
    inside = [one for one in said.events if one.get("tag") == "beat"]
    assert inside
    assert all("request_id" not in one for one in inside)
