"""The bounds refuse nonsense; the sequence number counts."""

from __future__ import annotations

import dataclasses
import os
import pickle
import threading

import pytest

from pylog_struct.errors import ConfigError
from pylog_struct.processors.limits import DEFAULT_LIMITS, Limits
from pylog_struct.processors.sequence import SequenceNumber


class TestLimits:
    @pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Limits)])
    @pytest.mark.parametrize("value", [0, -1, "5", None, True, float("nan"), [1]], ids=repr)
    def test_nonsense_is_refused_by_name(self, field, value):
        with pytest.raises(ConfigError, match=rf"Limits\.{field}: "):
            Limits(**{field: value})

    @pytest.mark.parametrize("value", [1.5, 129])
    def test_depth_is_a_whole_number_that_the_encoder_can_do(self, value):
        with pytest.raises(ConfigError, match=r"Limits\.max_depth"):
            Limits(max_depth=value)

    def test_cannot_be_changed(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            DEFAULT_LIMITS.max_depth = 5

    def test_can_be_pickled(self):
        assert pickle.loads(pickle.dumps(Limits(max_items=5))) == Limits(max_items=5)


class TestSequence:
    def number(self, processor, **event):
        return processor(None, "info", event)["sequence"]

    def test_counts_from_one(self):
        processor = SequenceNumber()

        assert [self.number(processor) for _ in range(3)] == [1, 2, 3]

    def test_a_key_of_the_call_stays(self):
        assert self.number(SequenceNumber(), sequence="mine") == "mine"

    def test_under_another_name(self):
        assert SequenceNumber("n")(None, "info", {}) == {"n": 1}

    def test_no_number_twice_from_eight_threads(self):
        processor = SequenceNumber()
        seen = []

        def count():
            seen.extend(self.number(processor) for _ in range(1000))

        threads = [threading.Thread(target=count) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(seen) == list(range(1, 8001))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_the_child_of_a_fork_counts_from_one(self):
        processor = SequenceNumber()
        self.number(processor)
        child = os.fork()
        if child == 0:
            os._exit(0 if self.number(processor) == 1 else 1)
        _, status = os.waitpid(child, 0)

        assert status == 0
        assert self.number(processor) == 2

    def test_a_pickled_copy_counts_from_one(self):
        processor = SequenceNumber("n")
        processor(None, "info", {})

        assert pickle.loads(pickle.dumps(processor))(None, "info", {}) == {"n": 1}
