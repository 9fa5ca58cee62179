"""``check_sink``: does a sink keep the contract?  A conformance suite as a public function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pylog_struct.levels import INFO
from pylog_struct.testing._checks_bench import Bench, Broken, Subject, run
from pylog_struct.testing._checks_contract import (
    CLOGGED_RULES,
    FAILING_RULES,
    RULES,
    THREAD_RULES,
)
from pylog_struct.testing._checks_fork import FORK_RULES
from pylog_struct.testing._checks_wrapper import ISOLATION_RULES, WRAPPER_RULES, Inner, fault_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pylog_struct.record import Record

__all__ = ["check_sink"]


def check_sink(
    make_sink: Callable[[], Any] | None = None,
    *,
    read: Callable[..., Iterable[bytes]] | None = None,
    make_wrapper: Callable[[Any], Any] | None = None,
    make_failing: Callable[[], Any] | None = None,
    make_clogged: Callable[[], Any] | None = None,
    keeps: Callable[[Record], bool] | None = None,
    level: int = INFO,
    ordered: bool = True,
    thread_safe: bool = False,
    isolates: bool = False,
    fork: bool = True,
    resources: bool = True,
    max_line: int = 256 * 1024,
    patience: float = 10.0,
    skip: Sequence[str] = (),
) -> None:
    """Test a sink, ours or yours, against every rule of the contract that can be tested.

    The more it is given, the more it tests: with *make_sink* alone the life-cycle and the errors;
    with *read* that every record arrives once, unaltered and in order; with *make_wrapper* that
    faults of the inner sink neither lose nor double a record.  No test framework is needed.

    Args:
        make_sink: Returns a fresh sink; called many times.  It may prepare what the sink needs (a
            directory, a server): only what happens inside the sink's constructor counts as the
            constructor's I/O.
        read: Returns all lines that arrived so far, without framing.  A function of no arguments,
            or of one: the sink.
        make_wrapper: For a sink that wraps another: returns a fresh one around its argument.
            Instead of *make_sink* and *read*, or besides them.
        make_failing: Returns a fresh sink whose destination is down.
        make_clogged: Returns a fresh sink whose destination takes nothing and does not fail
            either, or a pair of such a sink and a function that releases it.
        keeps: Which records are meant to arrive; for filters.  All by default.
        level: The level of the records that are written.
        ordered: Whether records arrive in the order in which they were written.
        thread_safe: Whether the class promises that several threads may write at once.
        isolates: Whether a wrapper promises that an inner sink that blocks does not block its
            caller (a queue does).
        fork: Whether to test a child of ``os.fork``, where there is one.
        resources: Whether to look for threads and file descriptors that are left after ``close``.
            Turn it off if *make_sink* starts a server in this process.
        max_line: The longest line to write, in bytes.
        patience: Seconds that a call may take before it counts as hung (at twice that), and that a
            destination has to show what was flushed.
        skip: Names of rules that are known not to apply; say why where you do it.

    Raises:
        AssertionError: rules are broken; the message names each, with one sentence.
        TypeError: neither *make_sink* nor *make_wrapper* was given.

    Threads: each rule runs on a thread of its own.  A sink that hangs is left behind on it.
    Source: the idea is trio's ``check_one_way_stream``; the rules are in
    ``docs/reference/sink-contract.md``.
    """
    if make_sink is None:
        if make_wrapper is None:
            msg = "check_sink needs make_sink or make_wrapper"
            raise TypeError(msg)
        make_sink, read = _over_memory(make_wrapper)
    subject = Subject(
        make=make_sink,
        read=read,
        make_wrapper=make_wrapper,
        make_failing=make_failing,
        make_clogged=make_clogged,
        keeps=keeps or (lambda _: True),
        level=level,
        ordered=ordered,
        thread_safe=thread_safe,
        isolates=isolates,
        fork=fork,
        resources=resources,
        max_line=max_line,
        patience=patience,
    )
    rules = _rules(subject)
    unknown = set(skip) - set(rules)
    if unknown:
        msg = f"check_sink: skip names no rule that would run: {', '.join(sorted(unknown))}"
        raise TypeError(msg)
    broken = [
        f"{name}: {finding}"
        for name, rule in rules.items()
        if name not in skip and (finding := run(rule, Bench(subject, name))) is not None
    ]
    if broken:
        text = "".join(f"\n  - {sentence}" for sentence in broken)
        raise Broken(f"the sink breaks {len(broken)} of {len(rules)} rules:{text}")


def _rules(subject: Subject) -> dict[str, Callable[[Bench], None]]:
    rules = list(RULES)
    if subject.make_failing is not None:
        rules += FAILING_RULES
    if subject.make_clogged is not None:
        rules += CLOGGED_RULES
    if subject.thread_safe:
        rules += THREAD_RULES
    if subject.make_wrapper is not None:
        rules += WRAPPER_RULES
        if subject.isolates:
            rules += ISOLATION_RULES
    if subject.fork:
        rules += FORK_RULES
    named = {rule.__name__: rule for rule in rules}
    if subject.make_wrapper is not None:
        named.update(fault_rules())
    return named


def _over_memory(
    make_wrapper: Callable[[Any], Any],
) -> tuple[Callable[[], Any], Callable[[Any], list[bytes]]]:
    """A factory of wrappers around a sink that keeps everything, and the reader that goes with it."""
    made: list[tuple[Any, Inner]] = []  # a list, because a sink need not be hashable

    def make() -> Any:
        inner = Inner()
        made.append((make_wrapper(inner), inner))
        return made[-1][0]

    def read(sink: Any) -> list[bytes]:
        return next(inner.lines for wrapper, inner in made if wrapper is sink)

    return make, read
