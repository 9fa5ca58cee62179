"""Samples for the plots and rates: taken while there is a pipeline and a page, and bounded."""

from __future__ import annotations

import gc

import pytest

import pylog_struct
from pylog_struct._janitor import JANITOR
from pylog_struct.sinks import MemorySink
from pylog_struct.testing import FakeClock
from pylog_struct.web._status import look
from pylog_struct.web._status.history import (
    HISTORY,
    INTERVAL,
    SPAN,
    History,
    Totals,
    rates,
    series,
    totals,
)
from pylog_struct.web._status.view import key_numbers

log = pylog_struct.get_logger("history")


@pytest.fixture(name="clock")
def _clock():
    return FakeClock()


@pytest.fixture(name="history")
def _history(clock):
    history = History(clock)
    yield history
    history.stop()


def scheduled(history):
    return history in JANITOR._polls


def test_it_samples_while_there_is_a_page_and_a_pipeline(history):
    history.start()
    assert not scheduled(history)  # no page
    history.use()
    assert not scheduled(history)  # no pipeline
    pylog_struct.configure(sink=MemorySink())
    assert scheduled(history)
    pylog_struct.shutdown()
    history.poll(0.0)
    assert not scheduled(history)
    pylog_struct.configure(sink=MemorySink())
    assert scheduled(history)  # with the next configuration, by itself
    history.use()
    history.leave()
    assert scheduled(history)
    history.leave()
    assert not scheduled(history)


def test_the_page_that_is_gone_takes_its_sampling_along():
    from pylog_struct.web import status_asgi_app

    pylog_struct.configure(sink=MemorySink())
    app = status_asgi_app(guard=lambda request: True)
    assert scheduled(HISTORY)
    del app
    gc.collect()
    assert not scheduled(HISTORY)


def test_samples_are_bounded_and_follow_the_pipeline_that_is_current(history, clock):
    for name in ("first", "second"):
        pylog_struct.configure(sink=MemorySink(name=name))
        for _ in range(200):
            clock.advance(INTERVAL)
            history.poll(0.0)
    now, samples = history.samples()
    assert len(samples) == SPAN / INTERVAL + 1
    assert samples[0][0] == now - SPAN
    assert {name for _, sinks in samples for name in sinks} == {"locked", "second"}


def test_looks_that_are_close_together_add_one_sample(history, clock):
    pylog_struct.configure(sink=MemorySink())
    for _ in range(10):
        history.look()
        clock.advance(0.1)
    assert len(history.samples()[1]) == 1


def test_rates_come_from_the_last_sample_that_is_old_enough(history, clock):
    sink = MemorySink()
    pylog_struct.configure(sink=sink)

    def read():
        verdict = history.look()
        reading = next(one for one, _, _ in verdict.sinks if one.name == "memory")
        now, samples = history.samples()
        return rates(now, samples, "memory", totals(reading), lambda found: found.written)

    assert read() is None  # not known yet
    for _ in range(30):
        log.info("x")
    clock.advance(1)
    assert read() is None
    clock.advance(1)
    assert read() == 15.0
    clock.advance(4)
    assert read() == 0.0


def test_a_series_has_a_gap_where_the_sink_was_not_there_and_never_goes_below_zero():
    def sample(at, written):
        return at, {} if written is None else {"s": Totals(0, written, 0, written, 0, 0.0)}

    samples = [sample(0, 0), sample(2, 10), sample(4, None), sample(6, 50), sample(8, 5)]
    points = series(samples, "s", lambda found: found.written, growth=True)
    assert points == [(2, 5.0), (8, 0.0)]  # a ledger that began anew does not count backwards
    levels = series(samples, "s", lambda found: found.waiting, growth=False)
    assert levels == [(0, 0), (2, 10), (6, 50), (8, 5)]
    assert rates(10, samples, "other", samples[0][1]["s"], lambda found: found.written) is None
    assert rates(10, samples, "s", None, lambda found: found.written) is None


def test_a_child_has_no_samples_of_its_parent_and_goes_on_sampling(history, clock):
    history.use()
    pylog_struct.configure(sink=MemorySink())
    history.look()
    history._after_fork_in_child()
    assert not history.samples()[1]
    assert history._running
    clock.advance(INTERVAL)
    history.poll(0.0)
    assert len(history.samples()[1]) == 1


def test_the_most_is_never_less_than_what_is_shown_beside_it(history, clock, monkeypatch):
    monkeypatch.setattr(look, "HISTORY", history)
    pylog_struct.configure(sink=MemorySink())
    for _ in range(3):
        history.look()
        clock.advance(INTERVAL)
    history.look()
    clock.advance(1.6)  # no sample is due
    for _ in range(16):
        log.info("x")
    shown = str(key_numbers(look.Look.take()))
    assert "max 0" in shown.split("Waiting")[1]
    assert '<span class="peak">max 10.0</span></dt><dd><b>10.0</b>' in shown
