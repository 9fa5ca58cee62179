"""One write: what each kind of error means for each record."""

from __future__ import annotations

import json

import pytest
from support.queue_sinks import FailingSink, PoisonedSink, record

from pylog_struct.errors import SinkClosedError, SinkRejectedError, SinkUnavailableError
from pylog_struct.ledger import DropReason, SinkLedger
from pylog_struct.sinks._queue.delivery import Backoff, Delivery, divide
from pylog_struct.sinks.base import BaseSink
from pylog_struct.sinks.memory import MemorySink

A, B, C = (record(text) for text in "abc")


class RaisingSink(BaseSink):
    """Raises what it was given for every batch that has a record ``b`` in it."""

    def __init__(self, error):
        super().__init__()
        self.error = error
        self.lines = []

    def _write(self, batch):
        if any(item.line == b"b" for item in batch):
            raise self.error
        self.lines += [item.line for item in batch]


def deliver(sink, batch, dead_letter=None):
    ledger = SinkLedger()
    delivery = Delivery(sink, dead_letter, ledger, "q")
    return delivery.attempt(batch), delivery, ledger


def test_success():
    attempt, delivery, _ = deliver(MemorySink(), [A, B])
    assert attempt == ([A, B], [], [], None)
    assert not delivery.failing


def test_unwritten_records_of_a_retryable_error_are_kept():
    attempt, delivery, ledger = deliver(FailingSink(accepts=1), [A, B, C])
    assert attempt == ([A], [B, C], [], None)
    assert delivery.failing
    assert ledger.errors == {"SinkUnavailableError": 1}


def test_an_error_with_nothing_unwritten_keeps_nothing():
    attempt, delivery, _ = deliver(RaisingSink(SinkUnavailableError("late", ())), [A, B])
    assert attempt == ([A, B], [], [], None)
    assert not delivery.failing


def test_a_refused_document_is_lost_and_the_others_are_not(capfd):
    poison = record("poison")
    letters = MemorySink()
    attempt, _, ledger = deliver(PoisonedSink(), [A, poison, C], letters)
    assert attempt == ([A, C], [], [poison], DropReason.REJECTED)
    assert letters.records == [poison]
    assert ledger.details["dead_letter.records"] == 1
    assert "rejected" in capfd.readouterr().err


def letter_of(line, message="no such field"):
    letters = MemorySink()
    sink = RaisingSink(SinkRejectedError(message, [lost := record(line)]))
    sink._write = lambda batch: (_ for _ in ()).throw(sink.error)
    deliver(sink, [lost], letters)
    [letter] = letters.records
    assert letter.created == lost.created
    return letter.line


def test_a_dead_letter_says_why():
    why = {"sink": "sink", "reason": "no such field"}
    assert json.loads(letter_of('{"event":"a"}')) == {"event": "a", "dead_letter": why}
    assert json.loads(letter_of("{}")) == {"dead_letter": why}


def test_a_dead_letter_that_is_no_object_stays_as_it_is():
    assert letter_of("[1]") == b"[1]"
    assert letter_of("2026-11-23 [info] on the console") == b"2026-11-23 [info] on the console"


def test_a_dead_letter_never_takes_a_key_that_is_there():
    twice = letter_of(letter_of('{"dead_letter":"mine"}').decode())
    found = json.loads(twice)
    assert list(found) == ["dead_letter", "dead_letter_", "dead_letter__"]
    assert found["dead_letter"] == "mine"


def test_a_reason_is_bounded_and_utf_8():
    found = json.loads(letter_of('{"event":"a"}', "\ud800" + "x" * 5000))
    assert len(found["dead_letter"]["reason"]) == 1000


def test_dead_letters_that_fail_too_are_reported(capfd):
    attempt, _, _ = deliver(PoisonedSink(), [record("poison")], FailingSink())
    assert attempt.reason is DropReason.REJECTED
    assert "dead-letter sink failed too" in capfd.readouterr().err


def test_a_closed_sink_gets_no_retry_and_no_dead_letter():
    letters = MemorySink()
    sink = MemorySink()
    sink.close()
    attempt, _, _ = deliver(sink, [A], letters)
    assert attempt == ([], [], [A], DropReason.CLOSED)
    assert letters.records == []


@pytest.mark.parametrize("error", [OSError("disk"), TimeoutError("slow"), ConnectionError("gone")])
def test_operating_system_errors_are_tried_again(error):
    attempt, delivery, _ = deliver(RaisingSink(error), [A, B])
    assert attempt == ([], [A, B], [], None)
    assert delivery.failing


def test_any_other_exception_is_pinned_on_the_one_record():
    sink = RaisingSink(ValueError("bug"))
    attempt, _, _ = deliver(sink, [A, B, C])
    assert attempt == ([A, C], [], [B], DropReason.REJECTED)
    assert sink.lines == [b"a", b"c"]


def test_a_failure_while_going_one_by_one_keeps_the_rest():
    class TurnsBad(BaseSink):
        def _write(self, batch):
            if len(batch) > 1:
                raise ValueError("bug")
            if batch[0] is B:
                raise SinkUnavailableError("now this", batch)

    attempt, delivery, _ = deliver(TurnsBad(), [A, B, C])
    assert attempt == ([A], [B, C], [], None)
    assert delivery.failing


def test_errors_that_are_not_exceptions_pass():
    with pytest.raises(KeyboardInterrupt):
        deliver(RaisingSink(KeyboardInterrupt()), [A, B])


def test_division_keeps_order_and_counts_a_record_as_often_as_it_occurs():
    assert divide([A, B, C], [C, A]) == ([B], [A, C])
    assert divide([A, A, B], [A]) == ([A, B], [A])
    assert divide([A, B], []) == ([A, B], [])


def test_records_that_a_sink_rebuilt_are_recognised_and_strangers_are_not():
    again = record("b")
    taken, kept = divide([A, B, C], [again])
    assert (taken, kept) == ([A, C], [B])
    assert kept[0] is B
    assert divide([A, B, C], [record("stranger")]) == ([A, B, C], [])
    assert divide([A], [record("stranger")]) == ([A], [])


def test_pauses_grow_up_to_the_most_and_start_again():
    backoff = Backoff(0.1, 0.4)
    for _ in range(50):
        assert 0.1 <= backoff.next() <= 0.4
    assert max(Backoff(0.1, 9).next() for _ in range(50)) == pytest.approx(0.1)
    assert max(backoff.next() for _ in range(300)) > 0.3
    backoff.reset()
    assert backoff.next() == pytest.approx(0.1)


def test_the_two_kinds_of_permanent_error_have_their_own_reason():
    for error, reason in (
        (SinkRejectedError("no", [B]), DropReason.REJECTED),
        (SinkClosedError("no", [B]), DropReason.CLOSED),
        (SinkUnavailableError("no", [B], retryable=False), DropReason.REJECTED),
    ):
        attempt, _, _ = deliver(RaisingSink(error), [A, B])
        assert attempt == ([A], [], [B], reason)
