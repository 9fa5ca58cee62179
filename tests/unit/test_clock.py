"""The machine's clock, and the one that tests move."""

from __future__ import annotations

import time

import pytest

from pylog_struct.clock import SYSTEM_CLOCK
from pylog_struct.testing.clock import FakeClock


def test_the_system_clock_reads_the_machines_time():
    assert time.time() - 60 < SYSTEM_CLOCK.time() < time.time() + 60
    assert time.monotonic() <= SYSTEM_CLOCK.monotonic() <= time.monotonic()
    assert repr(SYSTEM_CLOCK) == "SYSTEM_CLOCK"


def test_a_fake_clock_stands_still_until_it_is_moved():
    clock = FakeClock(time=100.0, monotonic=5.0)
    assert (clock.time(), clock.monotonic()) == (clock.time(), clock.monotonic()) == (100.0, 5.0)
    clock.advance(2.5)
    assert (clock.time(), clock.monotonic()) == (102.5, pytest.approx(7.5))
    clock.set_time(50.0)
    assert (clock.time(), clock.monotonic()) == (50.0, 7.5)
