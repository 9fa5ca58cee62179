"""Failover against a model: random outages, half batches, refusals and moves of the clock.

The model is a second telling of the rules in ``docs/explanation/failover.md``, on plain numbers.
Beside it stands what must hold whatever the rules are: each record is in exactly one place, each
target has its records in order, and the ledgers balance.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.failover import details, notices, numbers

from pylog_struct.errors import (
    SinkClosedError,
    SinkError,
    SinkRejectedError,
    SinkTimeoutError,
    SinkUnavailableError,
)
from pylog_struct.record import Record
from pylog_struct.sinks.base import BaseSink
from pylog_struct.sinks.failover import FailoverSink
from pylog_struct.testing import FakeClock

INTERVAL = 10
NOTICE = -1


@dataclass(frozen=True)
class Mood:
    """How a target behaves: takes at most *accept* of a call, and refuses multiples of *refuses*."""

    accept: int | None = None
    refuses: int = 0
    error: type[SinkError] = SinkUnavailableError

    def take(self, batch: list[int]) -> tuple[list[int], list[int], list[int]]:
        """What becomes of *batch*: (taken, refused for good, left)."""
        if self.accept is not None:
            return batch[: self.accept], [], batch[self.accept :]
        bad = [n for n in batch if self.refuses and n > 0 and n % self.refuses == 0]
        return [n for n in batch if n not in bad], bad, []


MOODS = st.one_of(
    st.just(Mood()),
    st.builds(
        Mood,
        accept=st.integers(0, 3),
        error=st.sampled_from([SinkUnavailableError, SinkTimeoutError, SinkClosedError]),
    ),
    st.builds(Mood, refuses=st.integers(2, 4)),
)


class Target(BaseSink):
    type_name = "target"

    def __init__(self, name):
        super().__init__(name=name)
        self.mood = Mood()
        self.records = []

    def _write(self, batch):
        keys = [int(r.line) if r.line.isdigit() else NOTICE for r in batch]
        by_key = dict(zip(keys, batch, strict=True))
        taken, refused, left = self.mood.take(keys)
        self.records += [by_key[key] for key in taken]
        if refused:
            raise SinkRejectedError("refused", [by_key[key] for key in refused])
        # An error even if all were taken: "short" moods fail whenever they are asked.
        if self.mood.accept is not None:
            raise self.mood.error("moody", [by_key[key] for key in left])


@dataclass
class Model:
    count: int
    probes: int
    active: int = 0
    switches: int = 0
    all_failed: int = 0
    now: float = 0.0
    probe_at: list[float] = field(default_factory=list)
    successes: list[int] = field(default_factory=list)
    got: list[list[int]] = field(default_factory=list)
    events: list[tuple[int, int, bool, int]] = field(default_factory=list)

    def __post_init__(self):
        self.probe_at = [0.0] * self.count
        self.successes = [0] * self.count
        self.got = [[] for _ in range(self.count)]

    def fail(self, target):
        self.successes[target] = 0
        self.probe_at[target] = self.now + INTERVAL

    def switch(self, target, in_flight):
        self.events.append((self.active, target, target < self.active, in_flight))
        self.switches += 1
        self.active = target
        self.successes[target] = 0

    def write(self, batch, moods):
        """Return (refused for good, unwritten)."""
        rest, refused, failed, announce = list(batch), [], set(), False
        for target in range(self.active):
            if self.now < self.probe_at[target]:
                continue
            taken, bad, left = moods[target].take(rest[:1])
            self.got[target] += taken
            if moods[target].accept is not None:
                failed.add(target)
                self.fail(target)
                if left:
                    continue
                rest = rest[1:]
                break
            rest, refused = rest[1:], refused + bad
            self.successes[target] += 1
            self.probe_at[target] = self.now + INTERVAL
            if self.successes[target] == self.probes:
                self.switch(target, len(rest))
                announce = True
            break
        start = self.active
        for target in [*range(start, self.count), *range(start)]:
            if target in failed:
                continue
            if not rest and not announce:
                break
            announce = announce or target != self.active
            offered = [NOTICE, *rest] if announce else rest
            taken, bad, left = moods[target].take(offered)
            self.got[target] += taken
            down = moods[target].accept is not None
            if target != self.active and (taken or not down):
                self.switch(target, len(rest))
            announce = False
            refused += bad
            rest = [n for n in left if n != NOTICE]
            if not down:
                break
            failed.add(target)
            self.fail(target)
        if rest:
            self.all_failed += 1
            return [], sorted(refused + rest)
        return sorted(refused), []


class FailoverMachine(RuleBasedStateMachine):
    @initialize(count=st.sampled_from([1, 2, 3, 3, 4]), probes=st.integers(1, 3))
    def build(self, count, probes):
        self.clock = FakeClock(monotonic=0.0)
        self.targets = [Target(f"t{number}") for number in range(count)]
        self.events = []
        self.sink = FailoverSink(
            self.targets,
            retry_interval=INTERVAL,
            probes=probes,
            on_switch=self.events.append,
            clock=self.clock,
        )
        self.model = Model(count, probes)
        self.sent = 0
        self.pending = []  # what the caller still owns, as a queue would
        self.refused = []

    # One rule, not four: Hypothesis switches rules off at random, and a run without writes or
    # without faults shows nothing.
    @rule(
        moods=st.lists(st.tuples(st.integers(0, 3), MOODS), max_size=2),
        seconds=st.sampled_from([0, 0, 5, INTERVAL, INTERVAL + 1]),
        size=st.integers(1, 6),
    )
    def something_happens_and_a_batch_is_written(self, moods, seconds, size):
        for position, mood in moods:
            self.targets[position % len(self.targets)].mood = mood
        self.clock.advance(seconds)
        self.model.now += seconds
        assert self.sink.poll(self.clock.monotonic()) is None
        fresh = range(self.sent + 1, self.sent + size + 1)
        self.sent += size
        batch = [*self.pending, *(Record(20, str(number).encode()) for number in fresh)]
        refused, unwritten = self.model.write(
            [int(record.line) for record in batch], [target.mood for target in self.targets]
        )
        self.pending = []
        try:
            self.sink.write(batch)
        except SinkError as error:
            raised = error
        else:
            raised = SinkError()
        left = [int(record.line) for record in raised.unwritten]
        if raised.retryable:
            assert (left, []) == (unwritten, refused)
            self.pending = list(raised.unwritten)
        else:
            assert left == refused
            self.refused += left

    @invariant()
    def every_record_is_in_exactly_one_place(self):
        places = Counter(number for target in self.targets for number in numbers(target))
        places += Counter(self.refused)
        places += Counter(int(record.line) for record in self.pending)
        assert places == Counter(range(1, self.sent + 1))

    @invariant()
    def every_target_got_what_the_model_says_in_its_order(self):
        for target, got in zip(self.targets, self.model.got, strict=True):
            assert numbers(target) == [number for number in got if number != NOTICE]
            assert len(notices(target)) == got.count(NOTICE)

    @invariant()
    def the_counters_are_those_of_the_model(self):
        now = details(self.sink)
        assert now.get("switches", 0) == self.model.switches
        assert now.get("all_failed", 0) == self.model.all_failed
        assert [now[f"active.{target.name}"] for target in self.targets] == [
            float(number == self.model.active) for number in range(len(self.targets))
        ]
        assert [
            (int(e.source[1:]), int(e.target[1:]), e.recovered, e.in_flight) for e in self.events
        ] == self.model.events

    @invariant()
    def every_ledger_balances(self):
        for sink in (self.sink, *self.targets):
            assert sink.statistics().balanced
        delivered = sum(len(target.records) for target in self.targets)
        assert self.sink.statistics().written == delivered


FailoverMachine.TestCase.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None
)
TestFailoverMachine = FailoverMachine.TestCase
