"""Is the pipeline well?  Each rule, on real sinks with real faults, on a clock that is moved by hand."""

from __future__ import annotations

import os
import threading
import warnings

import pytest
from support.queue_sinks import FailingSink, GatedSink

import pylog_struct
from pylog_struct import manager as managers
from pylog_struct.errors import SinkRejectedError
from pylog_struct.ledger import DropReason
from pylog_struct.record import Record
from pylog_struct.sinks import (
    BufferSink,
    FailoverSink,
    FanOutSink,
    FilterSink,
    MemorySink,
    QueueSink,
    RouteSink,
)
from pylog_struct.sinks.base import BaseSink
from pylog_struct.testing import FakeClock
from pylog_struct.web._status import reading as status_reading
from pylog_struct.web._status.verdict import Limits, Reason, State, Watch

log = pylog_struct.get_logger("verdict")


@pytest.fixture(name="clock")
def _clock():
    return FakeClock()


@pytest.fixture(name="watch")
def _watch(clock):
    return Watch(Limits(), clock)


def look(watch):
    return watch.look(managers.current_manager_or_none())


def of(verdict, name):
    """The state and reasons of one sink."""
    return next((state, reasons) for sink, state, reasons in verdict.sinks if sink.name == name)


def test_without_a_configuration_it_fails_and_says_so(watch):
    verdict = look(watch)
    assert (verdict.state, verdict.reasons, verdict.sinks) == (
        State.FAILING, (Reason.NOT_CONFIGURED,), (),
    )  # fmt: skip


def test_a_pipeline_at_work_is_ok_and_after_shutdown_it_fails(watch):
    pylog_struct.configure(sink=QueueSink(MemorySink()))
    log.info("one")
    pylog_struct.flush()
    verdict = look(watch)
    assert (verdict.state, verdict.reasons) == (State.OK, ())
    assert [sink.name for sink, _, _ in verdict.sinks] == ["queue", "memory"]

    pylog_struct.shutdown()
    verdict = look(watch)
    assert (verdict.state, verdict.reasons) == (State.FAILING, (Reason.SHUT_DOWN,))


def test_drops_count_for_one_window(watch, clock):
    pylog_struct.configure(sink=FilterSink(MemorySink(), lambda record: record.level > 20))
    log.info("filtered, which is no loss")
    assert look(watch).state is State.OK

    root = managers.current_manager().root
    root.ledger.refused((Record(20, b"x"),), DropReason.OVERSIZE)
    for _ in range(4):
        assert of(look(watch), root.name) == (State.DEGRADED, (Reason.DROPS,))
        clock.advance(14.9)
    clock.advance(1)
    assert look(watch).state is State.OK


def test_failed_calls_count_for_one_window_and_can_be_allowed(clock):
    strict, lenient = Watch(Limits(window=10), clock), Watch(Limits(window=10, max_errors=2), clock)
    sink = MemorySink()
    pylog_struct.configure(sink=sink)
    for failures, lenient_state in ((1, State.OK), (2, State.OK), (3, State.DEGRADED)):
        sink.ledger.failed(OSError("no"))
        assert of(look(strict), "memory") == (State.DEGRADED, (Reason.SINK_ERRORS,)), failures
        assert look(lenient).state is lenient_state
        clock.advance(1)
    clock.advance(10)
    assert look(strict).state is look(lenient).state is State.OK


def test_what_happened_long_before_the_first_look_is_history(clock):
    watch = Watch(Limits(window=60), clock)
    sink = MemorySink()
    pylog_struct.configure(sink=sink)
    sink.ledger.failed(OSError("days ago"))
    clock.advance(61)
    assert look(watch).state is State.OK
    sink.ledger.failed(OSError("now"))
    assert look(watch).state is State.DEGRADED


def test_the_last_look_before_the_window_is_what_counts_however_rare_the_looks(watch, clock):
    sink = MemorySink()
    pylog_struct.configure(sink=sink)
    assert look(watch).state is State.OK
    clock.advance(1000)
    sink.ledger.failed(OSError("when, between the two looks, nobody knows"))
    assert look(watch).state is State.DEGRADED
    clock.advance(61)
    assert look(watch).state is State.OK


def test_many_looks_cost_no_memory(watch, clock):
    sink = MemorySink()
    pylog_struct.configure(sink=sink)
    for _ in range(5000):
        clock.advance(0.01)
        look(watch)
    assert max(len(memory.marks) for memory in watch._memories.values()) <= 62


def test_a_queue_whose_records_do_not_move_is_stuck(watch, clock):
    gated = GatedSink()
    pylog_struct.configure(sink=QueueSink(gated), shutdown_timeout=1)
    log.info("waits")
    assert gated.entered.wait(20)
    assert look(watch).state is State.OK
    clock.advance(29.9)
    assert look(watch).state is State.OK
    clock.advance(0.1)
    verdict = look(watch)
    assert (verdict.state, of(verdict, "queue")) == (
        State.FAILING, (State.FAILING, (Reason.STUCK,)),
    )  # fmt: skip

    gated.gate.set()
    assert pylog_struct.flush()
    assert look(watch).state is State.OK


def test_a_queue_that_only_drops_is_stuck_too(watch, clock):
    gated = GatedSink()
    pylog_struct.configure(
        sink=QueueSink(gated, capacity=2, policy="discard", spill=False), shutdown_timeout=1
    )
    log.info("waits")
    assert gated.entered.wait(20)
    look(watch)
    for _ in range(4):
        clock.advance(10)
        for _ in range(5):
            log.info("too much")
        verdict = look(watch)
    state, reasons = of(verdict, "queue")
    assert state is State.FAILING
    assert {Reason.STUCK, Reason.QUEUE_HIGH, Reason.DROPS} <= set(reasons)
    gated.gate.set()


def test_records_that_linger_are_not_stuck(watch, clock):
    pylog_struct.configure(sink=QueueSink(MemorySink(), linger=60))
    log.info("waits for company")
    look(watch)
    clock.advance(89)
    assert look(watch).state is State.OK
    clock.advance(2)
    assert of(look(watch), "queue")[1] == (Reason.STUCK,)


def test_a_failover_on_an_alternative_is_degraded_and_one_without_any_left_fails(watch, clock):
    first, second = FailingSink(), FailingSink(failing=False)
    failover = FailoverSink([first, second], retry_interval=10, clock=clock)
    pylog_struct.configure(sink=failover, shutdown_timeout=1)
    log.info("to the second")
    verdict = look(watch)
    assert verdict.state is State.DEGRADED
    assert of(verdict, "failover") == (State.DEGRADED, (Reason.ON_ALTERNATIVE,))

    second.failing = True
    log.info("to nobody")
    verdict = look(watch)
    assert verdict.state is State.FAILING
    assert Reason.ALL_FAILED in of(verdict, "failover")[1]
    clock.advance(5)
    assert Reason.ALL_FAILED in of(look(watch), "failover")[1]  # nothing says that it is better

    second.failing = False
    log.info("to the second again")
    assert of(look(watch), "failover") == (
        State.DEGRADED, (Reason.ON_ALTERNATIVE, Reason.SINK_ERRORS),
    )  # fmt: skip

    first.failing = False
    clock.advance(61)
    log.info("back to the first")
    assert look(watch).state is State.OK


def test_without_a_queue_losing_everything_is_failing(watch, clock):
    sink = FailingSink()
    pylog_struct.configure(sink=sink)
    log.info("lost")
    verdict = look(watch)
    assert verdict.state is State.FAILING
    assert Reason.NOTHING_DELIVERED in verdict.reasons
    sink.failing = False
    log.info("written")
    assert look(watch).state is State.DEGRADED  # something was lost in the last minute
    clock.advance(61)
    assert look(watch).state is State.OK


def test_one_refused_document_is_no_reason_to_fail(watch):
    pylog_struct.configure(sink=QueueSink(FailingSink(error=SinkRejectedError)))
    log.info("poison")
    pylog_struct.flush()
    verdict = look(watch)
    assert verdict.state is State.DEGRADED
    assert of(verdict, "queue")[1] == (Reason.DROPS, Reason.SINK_ERRORS)


def test_records_on_disk_and_a_full_queue_are_degraded(watch):
    gated = GatedSink()
    pylog_struct.configure(
        sink=QueueSink(gated, capacity=10, policy="block", block_timeout=0.01, guarantee_timeout=0),
        shutdown_timeout=1,
    )
    log.info("first")
    assert gated.entered.wait(20)
    for _ in range(12):
        log.error("more")
    state, reasons = of(look(watch), "queue")
    assert state is State.DEGRADED
    assert {Reason.ON_DISK, Reason.QUEUE_HIGH} <= set(reasons)
    gated.gate.set()


def test_a_branch_that_fails_beside_others_degrades_the_whole(watch, clock):
    gated = GatedSink()
    pylog_struct.configure(
        sink=FanOutSink([MemorySink(), QueueSink(gated, name="branch")]), shutdown_timeout=1
    )
    log.info("one")
    assert gated.entered.wait(20)
    look(watch)
    clock.advance(30)
    verdict = look(watch)
    assert of(verdict, "branch") == (State.FAILING, (Reason.STUCK,))
    assert verdict.state is State.DEGRADED
    gated.gate.set()


def test_a_backlog_of_a_branch_is_degraded(watch):
    pylog_struct.configure(sink=FanOutSink([MemorySink(), FailingSink()]))
    log.info("one")
    name = managers.current_manager().root.children[0].name
    assert Reason.BACKLOG in of(look(watch), name)[1]


def test_what_is_dropped_on_purpose_is_well(watch):
    buffer = BufferSink(MemorySink(), capacity=1)
    pylog_struct.configure(level="DEBUG", sink=RouteSink([(lambda record: False, buffer)]))
    log.info("unrouted")
    pylog_struct.configure(level="DEBUG", sink=buffer)
    log.info("held")
    log.info("evicts the first")
    assert look(watch).state is State.OK


def test_a_sink_whose_lock_cannot_be_had_is_said_to_be_unreadable_in_time(watch, monkeypatch):
    monkeypatch.setattr(status_reading, "PATIENCE", 0.01)
    sink = MemorySink()
    pylog_struct.configure(sink=sink)
    held, done = threading.Event(), threading.Event()

    def hold():
        with sink.ledger.lock:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    assert of(look(watch), "memory") == (State.DEGRADED, (Reason.UNREADABLE,))
    done.set()
    thread.join()
    assert look(watch).state is State.OK


def test_a_sink_that_cannot_say_how_it_is_stops_nobody(watch, capsys):
    class Mute(BaseSink):
        def _write(self, batch):
            pass

        def statistics(self):
            raise RuntimeError("no")

    watched = Mute(name="mute")
    for reading in status_reading.read_tree(watched):
        assert reading.statistics is None
    assert "mute: no statistics" in capsys.readouterr().err
    pylog_struct.configure(sink=MemorySink())
    assert look(watch).state is State.OK


def test_only_so_many_sinks_are_looked_at(monkeypatch):
    monkeypatch.setattr(status_reading, "SINKS_MAX", 3)
    tree = FanOutSink([MemorySink() for _ in range(10)])
    assert len(status_reading.read_tree(tree)) == 3


def test_dead_letters_are_no_alternative():
    tree = QueueSink(MemorySink(name="main"), dead_letter=MemorySink(name="dead"))
    found = {reading.name: reading.alone for reading in status_reading.read_tree(tree)}
    assert found == {"queue": True, "main": True, "dead": False}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_begins_anew(watch, clock):
    sink = MemorySink()
    pylog_struct.configure(sink=sink)
    sink.ledger.failed(OSError("the parent's"))
    assert look(watch).state is State.DEGRADED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        os._exit(0 if look(watch).state is State.OK else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert look(watch).state is State.DEGRADED
