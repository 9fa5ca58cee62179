"""``check_sink`` finds each fault that it looks for: one broken sink for every rule."""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import suppress
from types import SimpleNamespace

import pytest

from pylog_struct.errors import (
    SinkClosedError,
    SinkError,
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.testing import check_sink

PATIENCE = 0.3


class Good:
    """The smallest honest leaf: three methods, nothing inherited."""

    def __init__(self):
        self.lines = []
        self.closed = False

    def write(self, batch):
        if self.closed:
            raise SinkClosedError("closed", batch)
        self.take([record.line for record in batch])

    def take(self, lines):
        self.lines += lines

    def flush(self, timeout=None):
        pass

    def close(self, timeout=None):
        self.closed = True


class Counting(Good):
    """The same with a ledger."""

    def __init__(self):
        super().__init__()
        self.received = self.written = self.dropped = self.waiting = 0

    def take(self, lines):
        super().take(lines)
        self.received += len(lines)
        self.written += len(lines)

    def statistics(self):
        return SimpleNamespace(
            **{key: getattr(self, key) for key in ("received", "written", "dropped", "waiting")}
        )


class Passing:
    """The smallest honest wrapper."""

    def __init__(self, inner):
        self.inner = inner
        self.closed = False

    def write(self, batch):
        if self.closed:
            raise SinkClosedError("closed", batch)
        self.inner.write(batch)

    def flush(self, timeout=None):
        self.inner.flush(timeout)

    def close(self, timeout=None):
        if not self.closed:
            self.closed = True
            self.inner.close(timeout)


def findings(*args, patience=PATIENCE, **options):
    """What ``check_sink`` says, by rule."""
    try:
        check_sink(*args, patience=patience, **options)
    except AssertionError as error:
        return dict(
            line.removeprefix("  - ").split(": ", 1)
            for line in str(error).splitlines()
            if line.startswith("  - ")
        )
    return {}


def leaf(make, **options):
    return findings(make, read=lambda sink: sink.lines, **{"fork": False} | options)


def wrapper(make, **options):
    return findings(make_wrapper=make, **{"fork": False} | options)


@pytest.fixture(name="gate")
def _gate():
    """What hangs, hangs until the test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_an_honest_leaf_passes():
    assert findings(Good, read=lambda sink: sink.lines) == {}
    assert findings(Counting, read=lambda sink: sink.lines) == {}


def test_an_honest_wrapper_passes():
    assert findings(make_wrapper=Passing) == {}


class Incomplete:
    def write(self, batch):
        pass


class Loses(Good):
    def take(self, lines):
        self.lines += lines[:-1] if len(lines) > 2 else lines


class Doubles(Good):
    def take(self, lines):
        self.lines += lines + lines[2:3]


class Reorders(Good):
    def take(self, lines):
        self.lines += lines[::-1]


class Alters(Good):
    def take(self, lines):
        self.lines += [line.replace(b"check", b"Check", 1) for line in lines]


class LiesInFlush(Good):
    def __init__(self):
        super().__init__()
        self.kept = []

    def take(self, lines):
        self.kept += lines

    def close(self, timeout=None):
        super().close()
        self.lines += self.kept
        self.kept = []


class RaisesForeign(Good):
    def take(self, lines):
        raise KeyError("what")


class RaisesForeignInFlush(Good):
    def flush(self, timeout=None):
        raise OSError("what")


class NeedsARecord(Good):
    def take(self, lines):
        if not lines:
            raise SinkUnavailableError("nothing to do")
        super().take(lines)


class Empties(Good):
    def write(self, batch):
        super().write(batch)
        if isinstance(batch, list):
            batch.clear()


class KeepsTheList(Good):
    def __init__(self):
        super().__init__()
        self.batches = []

    def write(self, batch):
        super().write(())
        self.batches.append(batch)

    def flush(self, timeout=None):
        for batch in self.batches:
            self.lines += [record.line for record in batch]
        self.batches = []

    def close(self, timeout=None):
        self.flush()
        super().close()


class Deduplicates(Good):
    def take(self, lines):
        self.lines += list(dict.fromkeys(lines))


class Strips(Good):
    def take(self, lines):
        self.lines += [line.decode("ascii", "ignore").encode() for line in lines]


class Limited(Good):
    def take(self, lines):
        self.lines += lines[:100]


class DoesNotDrain(Good):
    def __init__(self):
        super().__init__()
        self.kept = []

    def take(self, lines):
        self.kept += lines

    def flush(self, timeout=None):
        self.lines += self.kept
        self.kept = []


class ClosesOnce(Good):
    def close(self, timeout=None):
        if self.closed:
            raise SinkClosedError("again")
        super().close()


class NeverOpened(Good):
    def close(self, timeout=None):
        if not self.lines and not self.closed:
            raise AttributeError("'NoneType' object has no attribute 'close'")
        super().close()


class StaysOpen(Good):
    def close(self, timeout=None):
        pass


class WrongErrorAfterClose(Good):
    def write(self, batch):
        if self.closed:
            raise SinkUnavailableError("closed", batch)
        super().write(batch)


class NamesNothingAfterClose(Good):
    def write(self, batch):
        if self.closed:
            raise SinkClosedError("closed")
        super().write(batch)


class OddPoll(Good):
    def poll(self, now):
        return -1


class PollLoses(Good):
    def poll(self, now):
        self.lines.clear()


class Unbalanced(Counting):
    def take(self, lines):
        super().take(lines)
        self.written -= len(lines)


class WaitsForEver(Counting):
    def take(self, lines):
        super().take(lines)
        self.written -= len(lines)
        self.waiting += len(lines)


class CountsNothing(Counting):
    def take(self, lines):
        Good.take(self, lines)


@pytest.mark.parametrize(
    ("sink", "rule", "sentence"),
    [
        (Incomplete, "has_three_methods", "has not all of write, flush, close"),
        (Loses, "delivers_each_record_once", "did not arrive after flush"),
        (Doubles, "delivers_each_record_once", "arrived too often"),
        (Reorders, "delivers_each_record_once", "another order"),
        (Alters, "delivers_each_record_once", "did not arrive|altered or never sent"),
        (LiesInFlush, "delivers_each_record_once", "did not arrive after flush"),
        (RaisesForeign, "delivers_each_record_once", "KeyError .* no SinkError"),
        (RaisesForeignInFlush, "close_without_a_write", "flush raised OSError"),
        (NeedsARecord, "empty_batch_is_nothing", "nothing to do"),
        (Empties, "leaves_the_batch_alone", "changed the caller's list"),
        (KeepsTheList, "leaves_the_batch_alone", "after the caller reused its list"),
        (Deduplicates, "takes_the_same_record_twice", "2 of 4 record"),
        (Strips, "takes_odd_lines", "altered or never sent"),
        (Limited, "takes_a_big_batch", "900 of 1000 record"),
        (DoesNotDrain, "close_drains", "after close without flush"),
        (ClosesOnce, "close_is_idempotent", "close number 2 raised SinkClosedError"),
        (NeverOpened, "close_without_a_write", "close raised AttributeError"),
        (StaysOpen, "write_after_close_is_refused", "write returned although"),
        (WrongErrorAfterClose, "write_after_close_is_refused", "instead of SinkClosedError"),
        (NamesNothingAfterClose, "write_after_close_is_refused", "does not name the whole batch"),
        (OddPoll, "poll_answers", "poll returned -1"),
        (PollLoses, "poll_answers", "did not arrive after poll"),
        (Unbalanced, "delivers_each_record_once", "does not balance after a write"),
        (WaitsForEver, "close_drains", "still wait after close"),
        (CountsNothing, "close_drains", "0 received, 3 were accepted"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_broken_leaf_is_found(sink, rule, sentence):
    import re

    found = leaf(sink)

    assert rule in found
    assert re.search(sentence, found[rule]), found[rule]


class TestConstructor:
    def test_a_file_opened_in_it_is_found_even_if_it_is_closed_again(self, tmp_path):
        class Opens(Good):
            def __init__(self):
                super().__init__()
                (tmp_path / "out").write_text("hello")

        assert "constructor did I/O" in leaf(Opens)["constructor_does_no_io"]

    def test_so_is_a_thread(self):
        class Starts(Good):
            def __init__(self):
                super().__init__()
                thread = threading.Thread(target=int)
                thread.start()
                thread.join()

        assert "thread" in leaf(Starts)["constructor_does_no_io"]

    def test_what_the_factory_or_an_import_does_is_not_its_business(self, tmp_path):
        numbers = iter(range(1000))

        class Imports(Good):
            def __init__(self):
                super().__init__()
                import colorsys  # noqa: F401

        def make():
            folder = tmp_path / str(next(numbers))
            folder.mkdir()
            with (folder / "log").open("w") as stream:
                stream.write("ready")
            return Imports()

        assert leaf(make) == {}


class TestHanging:
    def test_a_close_that_hangs_is_found_and_the_suite_goes_on(self, gate):
        class Hangs(Good):
            def close(self, timeout=None):
                gate.wait(30)
                super().close()

        found = findings(Hangs, patience=0.05, fork=False)

        assert "close(0.05) did not return" in found["close_drains"]

    def test_a_write_that_hangs_is_found(self, gate):
        class Hangs(Good):
            def take(self, lines):
                gate.wait(30)

        found = findings(Hangs, patience=0.05, fork=False)

        assert "write() of 1 record(s) did not return" in found["delivers_each_record_once"]


class TestResources:
    def test_a_file_left_open_is_found(self, tmp_path):
        left = []

        class Leaks(Good):
            def take(self, lines):
                super().take(lines)
                left.append((tmp_path / "log").open("a"))

        found = leaf(Leaks)
        for stream in left:
            stream.close()

        assert "file descriptor" in found["close_releases_everything"]
        assert "log" in found["close_releases_everything"]

    def test_a_thread_left_running_is_found(self, gate):
        class Leaks(Good):
            def take(self, lines):
                super().take(lines)
                threading.Thread(target=gate.wait, args=(30,), name="forgotten").start()

        assert "thread forgotten" in leaf(Leaks)["close_releases_everything"]

    def test_it_can_be_left_out(self, gate):
        class Leaks(Good):
            def take(self, lines):
                super().take(lines)
                threading.Thread(target=gate.wait, args=(30,)).start()

        assert leaf(Leaks, resources=False) == {}


class TestFailing:
    @pytest.mark.parametrize(
        ("error", "sentence"),
        [
            (lambda batch: SinkUnavailableError("down"), "unwritten has 0"),
            (lambda batch: SinkUnavailableError("down", batch[::-1]), "another order"),
            (lambda batch: SinkUnavailableError("down", batch[1:]), "unwritten has 3"),
            (lambda batch: SinkRejectedError("down", batch), "not retryable"),
            (lambda batch: OSError("down"), "OSError .* no SinkError"),
            (lambda batch: None, "write returned although"),
        ],
    )
    def test_a_wrong_error_is_found(self, error, sentence):
        class Down(Good):
            def write(self, batch):
                super().write([])
                wrong = error(list(batch))
                if wrong is not None:
                    raise wrong

        found = findings(Good, make_failing=Down, fork=False, patience=PATIENCE)

        with pytest.raises(AssertionError, match=sentence):
            raise AssertionError(found["failing_says_what_is_unwritten"])

    def test_records_that_were_refused_are_not_received(self):
        class Down(Counting):
            def take(self, lines):
                self.received += len(lines)
                self.dropped += len(lines)

            def write(self, batch):
                super().write(batch)
                raise SinkUnavailableError("down", batch)

        found = findings(Good, make_failing=Down, fork=False, patience=PATIENCE)

        assert "all were refused" in found["failing_says_what_is_unwritten"]

    def test_one_that_forgets_that_it_was_closed_is_found(self):
        class Down(Good):
            def write(self, batch):
                raise SinkUnavailableError("down", batch)

        found = findings(Good, make_failing=Down, fork=False, patience=PATIENCE)

        assert "SinkClosedError after close" in found["failing_says_what_is_unwritten"]


class TestClogged:
    def test_an_honest_one_passes_and_is_released(self):
        released = []

        class Clogged(Good):
            def take(self, lines):
                pass

            def flush(self, timeout=None):
                raise SinkTimeoutError("clogged")

        found = findings(
            Good,
            make_clogged=lambda: (Clogged(), lambda: released.append(True)),
            fork=False,
            patience=PATIENCE,
        )

        assert found == {}
        assert released == [True]

    def test_a_flush_that_lies_is_found(self):
        class Lies(Good):
            def take(self, lines):
                pass

        found = findings(Good, make_clogged=Lies, fork=False, patience=PATIENCE)

        assert "flush returned although" in found["clogged_keeps_its_timeouts"]

    def test_a_flush_without_an_end_is_found(self, gate):
        class Hangs(Good):
            def flush(self, timeout=None):
                gate.wait(30)

        found = findings(Good, make_clogged=Hangs, fork=False, patience=PATIENCE)

        assert "flush(0.2) did not return" in found["clogged_keeps_its_timeouts"]

    def test_a_write_that_names_the_wrong_records_is_found(self):
        class Wrong(Good):
            def take(self, lines):
                raise SinkTimeoutError("clogged", [object(), object()])

        found = findings(Good, make_clogged=Wrong, fork=False, patience=PATIENCE)

        assert "no part of the batch" in found["clogged_keeps_its_timeouts"]

    def test_one_that_can_still_be_written_to_after_close_is_found(self):
        class Wrong(Good):
            def write(self, batch):
                raise SinkTimeoutError("clogged", batch)

        found = findings(Good, make_clogged=Wrong, fork=False, patience=PATIENCE)

        assert "SinkClosedError after close" in found["clogged_keeps_its_timeouts"]


class TestThreads:
    def test_a_lost_update_is_found(self):
        gate = threading.Barrier(2)

        class Racy(Good):
            def take(self, lines):
                seen = list(self.lines)
                if threading.current_thread().name.startswith("Thread-"):
                    try:
                        gate.wait(0.02)
                    except threading.BrokenBarrierError:
                        gate.reset()
                self.lines = seen + lines

        found = leaf(Racy, thread_safe=True)

        assert "did not arrive after four threads" in found["threads_may_write_at_once"]

    def test_an_error_in_a_concurrent_write_is_found(self):
        class Busy(Good):
            def take(self, lines):
                if threading.current_thread().name.startswith("Thread-"):
                    raise SinkUnavailableError("busy")
                super().take(lines)

        assert (
            "concurrent write raised" in leaf(Busy, thread_safe=True)["threads_may_write_at_once"]
        )

    def test_a_safe_one_passes(self):
        class Safe(Good):
            lock = threading.Lock()

            def take(self, lines):
                with self.lock:
                    super().take(lines)

        assert leaf(Safe, thread_safe=True) == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
class TestFork:
    def test_a_backlog_that_the_child_writes_too_is_found(self, tmp_path):
        path = tmp_path / "log"

        class Buffered(Good):
            def __init__(self):
                super().__init__()
                self.kept = []

            def take(self, lines):
                self.kept += lines

            def flush(self, timeout=None):
                with path.open("ab") as stream:
                    stream.writelines(line + b"\n" for line in self.kept)
                self.kept = []

            def close(self, timeout=None):
                if not self.closed:
                    self.flush()
                super().close()

        found = findings(
            Buffered, read=lambda: path.read_bytes().splitlines() if path.exists() else []
        )

        assert "arrived too often" in found["survives_a_fork"]

    def test_a_child_that_fails_is_found(self):
        class OfItsParent(Good):
            def __init__(self):
                super().__init__()
                self.pid = os.getpid()

            def take(self, lines):
                if os.getpid() != self.pid:
                    raise SinkUnavailableError("connection of another process")
                super().take(lines)

        assert "connection of another process" in findings(OfItsParent)["survives_a_fork"]

    def test_a_child_that_hangs_is_found_and_ended(self):
        class Locked(Good):
            def __init__(self):
                super().__init__()
                self.pid = os.getpid()

            def take(self, lines):
                if os.getpid() != self.pid:
                    threading.Event().wait(30)

        assert "it hung" in findings(Locked, patience=0.1)["survives_a_fork"]

    def test_a_child_that_dies_is_found(self):
        class Dies(Good):
            def __init__(self):
                super().__init__()
                self.pid = os.getpid()

            def take(self, lines):
                if os.getpid() != self.pid:
                    os._exit(3)

        assert "without a word" in findings(Dies)["survives_a_fork"]


class CallsAtOnce(Passing):
    def __init__(self, inner):
        super().__init__(inner)
        inner.flush()


class LeavesOpen(Passing):
    def close(self, timeout=None):
        self.closed = True


class ClosesAgain(Passing):
    def close(self, timeout=None):
        self.closed = True
        self.inner.close(timeout)


class GivesUpClosing(Passing):
    def close(self, timeout=None):
        if not self.closed:
            self.closed = True
            self.inner.flush(timeout)
            self.inner.close(timeout)


class WritesAfterClose(Passing):
    def write(self, batch):
        self.inner.write(batch)


class SwallowsFlush(Passing):
    def flush(self, timeout=None):
        with suppress(SinkError):
            self.inner.flush(timeout)


class ForgetsTimeouts(Passing):
    def flush(self, timeout=None):
        self.inner.flush()


class AddsTime(Passing):
    def close(self, timeout=None):
        super().close(None if timeout is None else timeout + 1)


class SwallowsErrors(Passing):
    def write(self, batch):
        try:
            super().write(batch)
        except SinkClosedError:
            raise
        except SinkError:
            pass


class SendsAllAgain(Passing):
    def write(self, batch):
        try:
            super().write(batch)
        except SinkUnavailableError:
            super().write(batch)


class Reverses(Passing):
    def write(self, batch):
        try:
            super().write(batch)
        except SinkUnavailableError as error:
            error.unwritten = error.unwritten[::-1]
            raise


class SwallowsRejections(Passing):
    def write(self, batch):
        with suppress(SinkRejectedError):
            super().write(batch)


class RetriesRejections(Passing):
    def write(self, batch):
        try:
            super().write(batch)
        except SinkRejectedError as error:
            super().write(error.unwritten)
            raise


class GivesUp(Passing):
    failed = False

    def write(self, batch):
        if self.failed and not self.closed:
            raise SinkUnavailableError("gave up", batch)
        try:
            super().write(batch)
        except SinkTimeoutError:
            self.failed = True
            raise


class LastFirst(Passing):
    def write(self, batch):
        try:
            super().write(batch)
        except SinkTimeoutError as error:
            for record in reversed(error.unwritten):
                super().write([record])


class NeverFlushesAgain(Passing):
    failed = False

    def flush(self, timeout=None):
        if self.failed:
            raise SinkUnavailableError("failed before")
        try:
            super().flush(timeout)
        except SinkError:
            self.failed = True
            raise


class ClosesInstead(Passing):
    def write(self, batch):
        try:
            super().write(batch)
        except SinkTimeoutError as error:
            raise SinkClosedError("gone", error.unwritten) from error


class FailsLate(Passing):
    failed = False

    def write(self, batch):
        try:
            super().write(batch)
        except SinkTimeoutError:
            self.failed = True
            raise

    def close(self, timeout=None):
        super().close(timeout)
        if self.failed:
            raise SinkUnavailableError("late")


@pytest.mark.parametrize(
    ("sink", "rule", "sentence"),
    [
        (CallsAtOnce, "leaves_the_inner_sink_alone_at_first", "constructor called the inner"),
        (LeavesOpen, "closes_the_inner_sink_once", "did not close"),
        (ClosesAgain, "closes_the_inner_sink_once", "2 times"),
        (GivesUpClosing, "closes_the_inner_sink_once", "did not close an inner sink that fails"),
        (WritesAfterClose, "closes_the_inner_sink_once", "write after close reached"),
        (SwallowsFlush, "flush_tells_the_truth", "flush returned although"),
        (NeverFlushesAgain, "flush_tells_the_truth", "flush still raises"),
        (ForgetsTimeouts, "passes_timeouts_on", r"flush\(5.0\) gave the inner sink \[None\]"),
        (AddsTime, "passes_timeouts_on", r"close\(5.0\) gave the inner sink \[6.0\]"),
        (SwallowsErrors, "inner_sink_half_of_a_batch", "were lost"),
        (SendsAllAgain, "inner_sink_half_of_a_batch", "sent twice"),
        (Reverses, "inner_sink_down_then_up", "no part of the batch in its order"),
        (SwallowsRejections, "inner_sink_rejects_some", "were lost"),
        (RetriesRejections, "inner_sink_rejects_all", "refused and yet delivered"),
        (GivesUp, "inner_sink_times_out", "still refuses"),
        (LastFirst, "inner_sink_times_out", "another order"),
        (ClosesInstead, "inner_sink_times_out", "on a sink that is open"),
        (FailsLate, "inner_sink_times_out", "close raised"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_broken_wrapper_is_found(sink, rule, sentence):
    import re

    found = wrapper(sink)

    assert rule in found
    assert re.search(sentence, found[rule]), found[rule]


class TestIsolation:
    def test_a_wrapper_that_blocks_with_its_inner_sink_is_found(self):
        found = wrapper(Passing, isolates=True)

        assert "did not return" in found["isolates_from_a_clogged_inner_sink"]

    def test_a_queue_that_lies_in_flush_is_found(self):
        class Thrower(Passing):
            """Passes everything to a thread and hopes for the best."""

            def write(self, batch):
                if self.closed:
                    raise SinkClosedError("closed", batch)
                threading.Thread(target=self.hope, args=(list(batch),)).start()

            def hope(self, batch):
                with suppress(SinkError):
                    self.inner.write(batch)

            def flush(self, timeout=None):
                pass

        found = wrapper(Thrower, isolates=True, resources=False)

        assert "flush returned although" in found["isolates_from_a_clogged_inner_sink"]


class TestArguments:
    def test_one_of_the_factories_is_needed(self):
        with pytest.raises(TypeError, match="make_sink or make_wrapper"):
            check_sink()

    def test_a_rule_can_be_skipped_by_its_name(self):
        assert leaf(ClosesOnce, skip=["close_is_idempotent"]) == {}

    def test_a_rule_that_does_not_exist_cannot(self):
        with pytest.raises(TypeError, match="no rule that would run: typo"):
            check_sink(Good, skip=["typo"])

    def test_records_that_are_not_meant_to_arrive_are_named_by_keeps(self):
        class Even(Good):
            def write(self, batch):
                super().write(batch)
                self.lines = [line for line in self.lines if self.even(line)]

            @staticmethod
            def even(line):
                return line[-2:-1] in b"02468"

        assert Counter(leaf(Even)) != Counter()
        assert leaf(Even, keeps=lambda record: Even.even(record.line)) == {}

    def test_the_message_counts_what_is_broken(self):
        with pytest.raises(
            AssertionError, match=r"breaks 1 of \d+ rules:\n  - close_is_idempotent"
        ):
            check_sink(ClosesOnce, fork=False)

    def test_a_sink_of_slots_that_cannot_be_hashed_can_be_checked(self):
        class Slotted:
            __slots__ = ("closed", "inner")
            __hash__ = None

            __init__ = Passing.__init__
            write, flush, close = Passing.write, Passing.flush, Passing.close

        assert wrapper(Slotted) == {}
