"""The core of the queue against a list: bytes, reserve, policies, retries, spill, tickets."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pylog_struct.ledger import DropReason, SinkLedger
from pylog_struct.record import Record
from pylog_struct.sinks._queue.buffer import RecordBuffer, Verdict
from pylog_struct.sinks._queue.options import QueueOptions
from pylog_struct.sinks._queue.spill import Spill

GUARANTEE, LOW = 40, 20
LEVELS = st.sampled_from([10, 20, 30, 40, 50])


class QueueMachine(RuleBasedStateMachine):
    @initialize(
        capacity=st.integers(1, 8),
        max_bytes=st.integers(10, 60),
        policy=st.sampled_from(["discard", "block", "discard_low_level", "discard_oldest"]),
        high_water=st.sampled_from([None, 0.5, 0.75]),
        data=st.data(),
    )
    def start(self, capacity, max_bytes, policy, high_water, data):
        reserve = data.draw(st.integers(0, capacity - 1))
        self.options = QueueOptions.parse(
            "Q", capacity=capacity, max_bytes=max_bytes, policy=policy, low_level=LOW,
            block_timeout=1, guarantee_level=GUARANTEE, guarantee_timeout=1, reserve=reserve,
            high_water=high_water, batch_records=3, batch_bytes=20, linger=0, spill=False,
            spill_max_bytes=100, retry_min=1, retry_max=1, gap_notice=True, close_timeout=1,
        )  # fmt: skip
        self.buffer = RecordBuffer(self.options, SinkLedger(), lambda: 0.0)
        self.directory = Path(tempfile.mkdtemp())
        self.spill = Spill(str(self.directory / "s"), 300, "q", self.never)
        # The model: lists of records, and counts.
        self.queued, self.held, self.spilled = [], [], []
        self.written, self.drops, self.received = [], {}, 0
        self.tickets = []
        self.shedding = False
        self.serial = 0

    @staticmethod
    def never(record):
        raise AssertionError(record)

    # -- the model's own rules --------------------------------------------------------------------

    def model_bytes(self):
        return sum(len(item.line) for item in self.held + self.queued)

    def model_size(self):
        return len(self.held) + len(self.queued)

    def limits(self, level):
        if level >= GUARANTEE:
            return self.options.capacity, self.options.max_bytes
        share = self.options.max_bytes * self.options.reserve // self.options.capacity
        return self.options.capacity - self.options.reserve, self.options.max_bytes - share

    def mark(self):
        records, size = self.limits(0)
        water = self.options.high_water
        return (
            max(1, min(int(self.options.capacity * water), records)),
            max(1, min(int(self.options.max_bytes * water), size)),
        )

    def fits(self, item):
        records, size = self.limits(item.level)
        return self.model_size() < records and self.model_bytes() + len(item.line) <= size

    def drop(self, item, reason):
        key = (
            reason,
            {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}[item.level],
        )
        self.drops[key] = self.drops.get(key, 0) + 1

    def expected(self, item):
        policy = self.options.policy.value
        if item.level <= LOW and self.options.high_water is not None:
            records, size = self.mark()
            # Below the mark nobody asks: the fast path takes it.
            easy = not self.shedding and (
                self.model_size() < records and self.model_bytes() + len(item.line) <= size
            )
            if not easy:
                if self.model_size() >= records or self.model_bytes() >= size:
                    self.shedding = True
                if self.shedding:
                    return "low_level"
        if self.fits(item):
            return "enter"
        if len(item.line) > self.limits(item.level)[1]:
            return "oversize" if item.level < GUARANTEE else Verdict.OVERSIZE
        if item.level >= GUARANTEE or policy == "block":
            return Verdict.FULL
        if policy == "discard":
            return "queue_full"
        if policy == "discard_low_level":
            return "low_level" if item.level <= LOW else Verdict.FULL
        return self.evict_for(item)

    def evict_for(self, item):
        left, victims = list(self.queued), []
        records, size = self.limits(item.level)
        while True:
            held = self.held + left
            if len(held) < records and sum(len(o.line) for o in held) + len(item.line) <= size:
                break
            victim = next((other for other in left if other.level < GUARANTEE), None)
            if victim is None:
                return "queue_full"
            left.remove(victim)
            victims.append(victim)
        for victim in victims:
            self.drop(victim, "evicted")
            for pending in self.tickets:
                pending[1].discard(victim)
        self.queued = left
        return "enter"

    # -- what happens -----------------------------------------------------------------------------

    @rule(level=LEVELS, size=st.integers(4, 30), spill=st.booleans())
    def put(self, level, size, spill):
        self.serial += 1
        item = Record(level, b"%04d" % self.serial + b"x" * (size - 4), float(self.serial))
        expected = self.expected(item)
        verdict = Verdict.ENTERED if self.buffer.offer(item) else self.buffer.decide(item)
        if expected == "enter":
            assert verdict is Verdict.ENTERED
            self.queued.append(item)
            self.received += 1
        elif isinstance(expected, str):
            assert verdict is Verdict.DROPPED
            self.drop(item, expected)
            self.received += 1
        else:
            assert verdict is expected
            if spill:
                self.put_into_spill(item)
            # Otherwise it is still the caller's.

    def put_into_spill(self, item):
        self.buffer.count_in(item)
        self.received += 1
        if self.spill.append(item, sync=False, wait=1):
            self.spilled.append(item)
        else:
            self.buffer.refuse(item, DropReason.GUARANTEE_FAILED, counted=True)
            self.drop(item, "guarantee_failed")

    @rule()
    def take(self):
        batch = list(self.buffer.take(3, 20))
        if not self.held:
            limit = min([3, *(len(pending) for _, pending in self.tickets if pending)])
            while self.queued and len(self.held) < limit:
                if self.held and self.model_held() + len(self.queued[0].line) > 20:
                    break
                self.held.append(self.queued.pop(0))
        assert batch == self.held

    def model_held(self):
        return sum(len(item.line) for item in self.held)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def answer(self, data):
        fates = data.draw(
            st.lists(st.sampled_from("tkl"), min_size=len(self.held), max_size=len(self.held))
        )
        parts = {
            fate: [item for item, got in zip(self.held, fates, strict=True) if got == fate]
            for fate in "tkl"
        }
        self.buffer.settle(
            self.buffer.generation, parts["t"], parts["k"], parts["l"],
            DropReason.REJECTED if parts["l"] else None,
        )  # fmt: skip
        self.written += parts["t"]
        for item in parts["l"]:
            self.drop(item, "rejected")
        self.held = list(parts["k"])
        gone = set(parts["t"] + parts["l"])
        for _, pending in self.tickets:
            pending -= gone
        if gone and self.options.high_water is not None:
            records, size = self.mark()
            if self.model_size() <= int(records * 0.8) and self.model_bytes() <= int(size * 0.8):
                self.shedding = False

    @rule(number=st.integers(1, 5), part=st.integers(0, 5))
    def replay(self, number, part):
        batch = self.spill.peek(number, 50)
        assert batch == self.spilled[: len(batch)]
        assert bool(batch) == bool(self.spilled)
        done = batch[:part]
        self.buffer.settle_elsewhere(done, (), None)
        self.spill.settle(len(done))
        self.written += done
        self.spilled = self.spilled[len(done) :]

    @rule()
    def restart(self):
        """Another process takes over what is in the file."""
        assert self.spill.close() == len(self.spilled)
        self.spill = Spill(str(self.directory / "s"), 300, "q", self.never)
        assert [item.level for item in self.spill.adopt()] == [item.level for item in self.spilled]

    @rule()
    def draw(self):
        if len(self.tickets) < 3:
            self.tickets.append((self.buffer.draw(), set(self.held + self.queued)))

    @rule()
    def give_back(self):
        if self.tickets:
            self.buffer.give_back(self.tickets.pop(0)[0])

    @rule()
    def recover(self):
        self.buffer.recover()

    # -- what is always true ----------------------------------------------------------------------

    @invariant()
    def same_contents(self):
        if not hasattr(self, "buffer"):
            return
        buffer = self.buffer
        assert list(buffer.queued) == self.queued
        assert buffer.held == self.held
        assert buffer.size == self.model_size() <= self.options.capacity
        assert buffer.bytes == self.model_bytes() <= self.options.max_bytes
        assert self.spill.records == len(self.spilled)
        assert self.spill.bytes == sum(len(item.line) for item in self.spilled)

    @invariant()
    def same_numbers(self):
        if not hasattr(self, "buffer"):
            return
        found = self.buffer.ledger.snapshot("q")
        assert found.balanced
        assert found.received == self.received
        assert found.written == len(self.written) == len(set(self.written))
        assert dict(found.drops) == self.drops
        assert found.waiting == self.model_size() + len(self.spilled)

    @invariant()
    def tickets_count_what_is_left(self):
        for ticket, pending in getattr(self, "tickets", ()):
            assert max(ticket.left, 0) == len(pending)

    def teardown(self):
        if hasattr(self, "spill"):
            self.spill.close()
            shutil.rmtree(self.directory)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
