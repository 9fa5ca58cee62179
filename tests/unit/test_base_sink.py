"""What the sinks share: names, the life-cycle, foreign sinks, deadlines, walking and closing trees."""

from __future__ import annotations

import gc
import io
import sys
import weakref

import pytest

from pylog_struct.errors import (
    ConfigError,
    SinkClosedError,
    SinkError,
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.protocols import PolledSink, Sink
from pylog_struct.record import Record
from pylog_struct.sinks import base
from pylog_struct.sinks.base import (
    BaseSink,
    Deadline,
    ForeignSink,
    adopt,
    close_all,
    translate,
    walk,
)
from pylog_struct.sinks.memory import MemorySink, NullSink

_BATCH = tuple(Record(20, b"%d" % number) for number in range(5))


class ListSink:
    """Somebody else's sink: the three methods and nothing of ours."""

    def __init__(self):
        self.records, self.calls, self.timeouts = [], [], []

    def write(self, batch, /):
        self.calls.append(list(batch))
        self.records += batch

    def flush(self, timeout=None):
        self.timeouts.append(("flush", timeout))

    def close(self, timeout=None):
        self.timeouts.append(("close", timeout))


class PickySink(ListSink):
    """Fails on a batch that holds certain lines, and takes nothing of it."""

    def __init__(self, errors):
        super().__init__()
        self.errors = errors

    def write(self, batch, /):
        self.calls.append(list(batch))
        for record in batch:
            if record.line in self.errors:
                raise self.errors[record.line]
        self.records += batch


class BrokenSink(ListSink):
    """Raises what it is given, whatever is called."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, batch, /):
        raise self.error

    def flush(self, timeout=None):
        raise self.error

    def close(self, timeout=None):
        raise self.error


class Wrapper(BaseSink):
    """Keeps nothing: passes on to every child."""

    type_name = "wrapper"

    def __init__(self, *children, name=None):
        super().__init__(name=name, children=[adopt(child) for child in children])

    def _write(self, batch):
        for child in self.children:
            child.write(batch)


class FailingClose(NullSink):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def _close(self, timeout):
        raise self.error


class PartlySink(BaseSink):
    """Takes the first records of a batch and leaves the rest."""

    type_name = "partly"

    def __init__(self, take):
        super().__init__()
        self.take = take

    def _write(self, batch):
        raise SinkUnavailableError("full", batch[self.take :])


def _ledger(sink):
    stats = sink.statistics()
    assert stats.balanced
    return stats.received, stats.written, stats.dropped, stats.waiting


# -- names ----------------------------------------------------------------------------------------


def test_a_sink_is_named_by_its_user_or_by_its_type():
    assert (MemorySink().name, MemorySink().named_by_user) == ("memory", False)
    sink = MemorySink(name="audit.1:a-b_c")
    assert (sink.name, sink.named_by_user) == ("audit.1:a-b_c", True)
    assert sink.statistics().name == "audit.1:a-b_c"


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 65, "a\n", 5, b"x", ["x"], '"'])
def test_a_name_that_could_not_be_a_label_is_refused(name):
    with pytest.raises(ConfigError) as caught:
        MemorySink(name=name)
    assert str(caught.value).startswith(
        f"MemorySink.name: {name!r} is no name; use 1 to 64 letters"
    )


def test_its_repr_shows_what_it_holds():
    assert repr(MemorySink(name="x")) == "<MemorySink 'x'>"
    assert repr(Wrapper(MemorySink(), NullSink())) == "<Wrapper 'wrapper' over memory, null>"


# -- the life-cycle -------------------------------------------------------------------------------


def test_every_sink_here_is_one_by_the_protocol():
    assert isinstance(MemorySink(), Sink)
    assert isinstance(MemorySink(), PolledSink)
    assert isinstance(ListSink(), Sink)
    assert not isinstance(ListSink(), PolledSink)


def test_what_was_written_is_in_the_ledger():
    sink = MemorySink()
    sink.write(_BATCH)
    sink.write(())
    assert _ledger(sink) == (5, 5, 0, 0)
    assert sink.statistics().bytes_written == 5
    assert sum(sink.ledger.write_seconds.counts) == 1


def test_only_what_was_accepted_counts_as_received():
    sink = PartlySink(2)
    with pytest.raises(SinkUnavailableError) as caught:
        sink.write(_BATCH)
    assert caught.value.unwritten == _BATCH[2:]
    assert _ledger(sink) == (2, 2, 0, 0)
    assert sink.statistics().errors == {"SinkUnavailableError": 1}
    assert sink.statistics().bytes_written == 2
    assert sum(sink.ledger.write_seconds.counts) == 1


def test_a_record_that_occurs_twice_in_a_batch_counts_as_often_as_it_was_taken():
    record = _BATCH[0]
    sink = PartlySink(2)
    with pytest.raises(SinkUnavailableError):
        sink.write([record] * 5)
    assert _ledger(sink) == (2, 2, 0, 0)


def test_after_close_a_write_keeps_the_whole_batch_with_its_caller():
    sink = MemorySink()
    sink.close()
    sink.close()
    sink.flush()
    with pytest.raises(SinkClosedError) as caught:
        sink.write(_BATCH)
    assert caught.value.unwritten == _BATCH
    assert _ledger(sink) == (0, 0, 0, 0)


def test_a_sink_that_is_kept_for_another_tree_is_flushed_instead_of_closed():
    foreign = ListSink()
    sink = adopt(foreign)
    sink.retained = True
    sink.close(3.0)
    assert foreign.timeouts == [("flush", 3.0)]
    sink.write(_BATCH)
    sink.retained = False
    sink.close()
    assert foreign.timeouts[-1] == ("close", None)


def test_flush_reaches_every_child_even_if_one_fails():
    last = ListSink()
    tree = Wrapper(BrokenSink(OSError("first")), BrokenSink(ValueError("second")), last)
    with pytest.raises(SinkUnavailableError, match="first"):
        tree.flush(5.0)
    ((name, timeout),) = last.timeouts
    assert name == "flush"
    assert 0.0 < timeout <= 5.0


def test_the_child_of_a_fork_starts_with_a_ledger_of_zeros():
    sink = MemorySink()
    sink.write(_BATCH)
    sink._after_fork_in_child()
    assert _ledger(sink) == (0, 0, 0, 0)
    assert sink.records == []


def test_writing_is_what_a_subclass_must_add():
    with pytest.raises(NotImplementedError):
        BaseSink().write(_BATCH)


# -- timed work -----------------------------------------------------------------------------------


class PollingSink(NullSink):
    def __init__(self, answer):
        super().__init__()
        self.answer, self.polled = answer, []

    def poll(self, now, /):
        self.polled.append(now)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_poll_asks_all_children_and_returns_the_soonest():
    children = [PollingSink(5.0), PollingSink(None), PollingSink(0.25)]
    assert Wrapper(*children).poll(7.0) == 0.25
    assert [child.polled for child in children] == [[7.0]] * 3
    assert Wrapper(PollingSink(None)).poll(7.0) is None
    assert NullSink().poll(7.0) is None


def test_poll_reaches_every_child_even_if_one_fails():
    last = PollingSink(1.0)
    with pytest.raises(SinkUnavailableError, match="first"):
        Wrapper(
            PollingSink(SinkUnavailableError("first")), PollingSink(ValueError("x")), last
        ).poll(7.0)
    assert last.polled == [7.0]


# -- foreign sinks --------------------------------------------------------------------------------


def test_a_foreign_sink_gets_a_ledger_and_what_it_is_given():
    foreign = ListSink()
    sink = adopt(foreign)
    assert isinstance(sink, ForeignSink)
    sink.write(_BATCH)
    sink.flush(2.0)
    sink.close(1.0)
    assert foreign.records == list(_BATCH)
    assert foreign.timeouts == [("flush", 2.0), ("close", 1.0)]
    assert _ledger(sink) == (5, 5, 0, 0)


@pytest.mark.parametrize("kind", [OSError, ConnectionResetError, TimeoutError])
def test_an_error_of_the_system_means_try_later(kind):
    sink = adopt(BrokenSink(kind("no route")))
    with pytest.raises(
        SinkTimeoutError if kind is TimeoutError else SinkUnavailableError
    ) as caught:
        sink.write(_BATCH)
    assert caught.value.retryable
    assert caught.value.unwritten == _BATCH
    assert f"{kind.__name__}: no route" in str(caught.value)
    assert isinstance(caught.value.__cause__, kind)
    assert _ledger(sink) == (0, 0, 0, 0)


def test_any_other_error_is_a_documents_and_only_that_one_is_rejected():
    foreign = PickySink({b"1": ValueError("bad"), b"3": KeyError("worse")})
    sink = adopt(foreign)
    with pytest.raises(SinkRejectedError) as caught:
        sink.write(_BATCH)
    assert caught.value.unwritten == (_BATCH[1], _BATCH[3])
    assert not caught.value.retryable
    assert isinstance(caught.value.__cause__, KeyError)
    assert foreign.records == [_BATCH[0], _BATCH[2], _BATCH[4]]
    assert _ledger(sink) == (3, 3, 0, 0)
    assert sink.statistics().errors == {"SinkRejectedError": 1}


def test_one_bad_document_alone_is_not_tried_twice():
    foreign = PickySink({b"1": ValueError("bad")})
    with pytest.raises(SinkRejectedError) as caught:
        adopt(foreign).write(_BATCH[1:2])
    assert caught.value.unwritten == _BATCH[1:2]
    assert len(foreign.calls) == 1


class MoodySink(ListSink):
    """Cannot take batches."""

    def write(self, batch, /):
        if len(batch) > 1:
            raise TypeError("one at a time")
        super().write(batch)


def test_a_sink_that_takes_no_batches_gets_its_records_one_by_one():
    foreign = MoodySink()
    sink = adopt(foreign)
    sink.write(_BATCH)
    assert foreign.records == list(_BATCH)
    assert _ledger(sink) == (5, 5, 0, 0)
    assert sink.statistics().errors == {}


class ScriptedSink(ListSink):
    """Refuses batches; raises for single lines what its script says."""

    def __init__(self, script):
        super().__init__()
        self.script = script

    def write(self, batch, /):
        if len(batch) > 1:
            raise ValueError("batch")
        if batch[0].line in self.script:
            raise self.script[batch[0].line](batch)
        super().write(batch)


@pytest.mark.parametrize(
    "error",
    [
        lambda _: OSError("gone"),
        lambda batch: SinkUnavailableError("gone", batch),
        lambda _: TimeoutError("gone"),
    ],
)
def test_when_it_fails_half_way_the_rejected_and_the_rest_stay_with_the_caller(error):
    foreign = ScriptedSink({b"1": lambda _: ValueError("bad"), b"3": error})
    sink = adopt(foreign)
    with pytest.raises(SinkError) as caught:
        sink.write(_BATCH)
    assert caught.value.retryable
    assert caught.value.unwritten == (_BATCH[1], _BATCH[3], _BATCH[4])
    assert foreign.records == [_BATCH[0], _BATCH[2]]
    assert _ledger(sink) == (2, 2, 0, 0)


def test_a_rejection_of_one_record_lets_the_others_through():
    foreign = ScriptedSink({b"2": lambda batch: SinkRejectedError("never", batch)})
    sink = adopt(foreign)
    with pytest.raises(SinkRejectedError, match="never") as caught:
        sink.write(_BATCH)
    assert caught.value.unwritten == (_BATCH[2],)
    assert len(foreign.records) == 4


def test_a_sink_error_passes_as_it_is():
    error = SinkTimeoutError("late", _BATCH[3:])
    sink = adopt(BrokenSink(error))
    with pytest.raises(SinkTimeoutError) as caught:
        sink.write(_BATCH)
    assert caught.value is error
    assert _ledger(sink) == (3, 3, 0, 0)
    for call in (sink.flush, sink.close):
        with pytest.raises(SinkTimeoutError):
            call()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError("x"), SinkUnavailableError),
        (TimeoutError("x"), SinkTimeoutError),
        (ValueError("x"), SinkRejectedError),
    ],
)
def test_flush_close_and_poll_speak_in_sink_errors_too(error, kind):
    foreign = BrokenSink(error)
    foreign.poll = lambda _now: foreign.flush()
    sink = adopt(foreign)
    for call in (sink.flush, lambda: sink.poll(1.0), sink.close):
        with pytest.raises(kind) as caught:
            call()
        assert caught.value.unwritten == ()
        assert caught.value.__cause__ is error


def test_a_foreign_sink_may_have_timed_work():
    foreign = ListSink()
    sink = adopt(foreign)
    assert sink.poll(1.0) is None
    foreign.poll = lambda now: now / 2
    assert sink.poll(1.0) == 0.5
    foreign.poll = lambda _now: BrokenSink(SinkUnavailableError("x")).flush()
    with pytest.raises(SinkUnavailableError):
        sink.poll(1.0)
    foreign.poll = "no method"
    assert sink.poll(1.0) is None


@pytest.mark.parametrize("answer", ["soon", [], object()])
def test_an_answer_of_poll_that_is_no_number_is_a_sink_error(answer):
    foreign = ListSink()
    foreign.poll = lambda _now: answer
    with pytest.raises(SinkError):
        adopt(foreign).poll(1.0)


class HTTPLogSink(ListSink):
    pass


@pytest.mark.parametrize(
    ("kind", "name"),
    [(ListSink, "list"), (HTTPLogSink, "httplog"), (type("Größe", (ListSink,), {}), "gr--e"), (type("Sink", (ListSink,), {}), "sink"),
     (type("_", (ListSink,), {}), "custom"), (type("X" * 100, (ListSink,), {}), "x" * 64),
     (type("Box[int]", (ListSink,), {}), "box-int-")],
)  # fmt: skip
def test_a_foreign_sink_is_named_after_its_class_in_letters_that_labels_may_have(kind, name):
    sink = adopt(kind())
    assert (sink.name, sink.named_by_user) == (name, False)


def test_it_can_be_given_a_name():
    sink = ForeignSink(ListSink(), name="theirs")
    assert (sink.name, sink.named_by_user) == ("theirs", True)


# -- adopt ----------------------------------------------------------------------------------------


def test_our_own_sinks_are_adopted_as_they_are():
    sink = MemorySink()
    assert adopt(sink) is sink


def test_one_foreign_object_has_one_wrapper_as_long_as_it_is_in_use():
    foreign = ListSink()
    sink = adopt(foreign)
    assert adopt(foreign) is sink
    assert adopt(ListSink()) is not sink
    sink.close()
    assert adopt(foreign) is not sink


def test_adopting_keeps_nothing_alive():
    foreign = ListSink()
    adopt(foreign)
    reference = weakref.ref(foreign)
    del foreign
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize(
    "sink", [None, "stdout", 5, [], object(), ListSink, MemorySink, print, lambda batch: None]
)
def test_what_is_no_sink_is_refused_with_what_would_be_right(sink):
    with pytest.raises(ConfigError) as caught:
        adopt(sink, "QueueSink.sink")
    assert (
        str(caught.value)
        == f"QueueSink.sink: {sink!r} is no sink; it needs the methods write, flush and close"
    )


@pytest.mark.parametrize("file", [io.StringIO(), io.BytesIO(), sys.__stderr__])
def test_an_open_file_is_refused_and_shown_its_sink(file):
    with pytest.raises(
        ConfigError, match=r"sink: .* is a file, not a sink; use StreamSink\(file\)"
    ):
        adopt(file)


# -- translate ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [(TimeoutError("t"), SinkTimeoutError, True), (OSError(28, "full"), SinkUnavailableError, True),
     (BrokenPipeError(32, "pipe"), SinkUnavailableError, True), (ValueError("v"), SinkRejectedError, False),
     (KeyError("k"), SinkRejectedError, False),
     (MemoryError(), SinkUnavailableError, True), (RuntimeError("r"), SinkUnavailableError, True)],
)  # fmt: skip
def test_translate_says_the_same_in_our_words(error, kind, retryable):
    told = translate(error, _BATCH, "main")
    assert type(told) is kind
    assert told.retryable is retryable
    assert told.unwritten == _BATCH
    assert str(told) == f"main: {type(error).__name__}: {error}"


# -- trees ----------------------------------------------------------------------------------------


def test_walk_goes_outermost_first_and_visits_each_sink_once():
    shared, other = MemorySink(), NullSink()
    left, right = Wrapper(shared, other, name="left"), Wrapper(shared, name="right")
    root = Wrapper(left, right, name="root")
    assert list(walk(root)) == [root, left, shared, other, right]
    assert list(walk(other)) == [other]


def test_walk_ends_on_a_tree_that_bites_its_tail():
    sink = Wrapper()
    sink.children = (sink,)
    assert list(walk(sink)) == [sink]


def test_close_all_closes_every_sink_and_tells_the_first_failure_with_everything_unwritten():
    sinks = [
        FailingClose(SinkTimeoutError("first", _BATCH[:1])),
        FailingClose(ValueError("second")),
        FailingClose(SinkUnavailableError("third", _BATCH[1:3])),
        MemorySink(),
    ]
    with pytest.raises(SinkTimeoutError, match="first") as caught:
        close_all(sinks, 5.0)
    assert caught.value.unwritten == _BATCH[:3]
    for sink in sinks:
        with pytest.raises(SinkClosedError):
            sink.write(_BATCH)


def test_close_all_translates_what_is_no_sink_error():
    with pytest.raises(SinkUnavailableError, match=r"close failed: ValueError\('x'\)") as caught:
        close_all(
            [FailingClose(ValueError("x")), FailingClose(SinkTimeoutError("y", _BATCH))], None
        )
    assert caught.value.unwritten == _BATCH
    assert isinstance(caught.value.__cause__, ValueError)


def test_close_all_of_none_is_nothing():
    close_all([], 0.0)


def test_closing_a_wrapper_closes_what_it_holds_within_its_timeout():
    foreign = ListSink()
    Wrapper(MemorySink(), foreign).close(5.0)
    ((name, timeout),) = foreign.timeouts
    assert name == "close"
    assert 0.0 < timeout <= 5.0


# -- deadlines ------------------------------------------------------------------------------------


def test_a_deadline_is_spent_in_steps(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(base.time, "monotonic", lambda: now[0])
    deadline = Deadline(5.0)
    assert (deadline.remaining(), deadline.over) == (5.0, False)
    now[0] += 4.0
    assert (deadline.remaining(), deadline.over) == (1.0, False)
    now[0] += 1.0
    assert (deadline.remaining(), deadline.over) == (0.0, True)
    now[0] += 10.0
    assert (deadline.remaining(), deadline.over) == (0.0, True)


def test_a_deadline_may_be_none_or_already_over():
    assert (Deadline(None).remaining(), Deadline(None).over) == (None, False)
    assert (Deadline(-3.0).remaining(), Deadline(0.0).over) == (0.0, True)
