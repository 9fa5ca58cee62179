"""What the constructor accepts and refuses."""

from __future__ import annotations

import pytest

from pylog_struct.errors import ConfigError
from pylog_struct.sinks._queue.options import Policy
from pylog_struct.sinks.bounded_queue import QueueSink
from pylog_struct.sinks.memory import MemorySink


@pytest.mark.parametrize(
    ("spelling", "policy"),
    [
        ("discard", Policy.DISCARD),
        ("Discard", Policy.DISCARD),
        ("Block", Policy.BLOCK),
        ("DiscardLowLevel", Policy.DISCARD_LOW_LEVEL),
        ("discard_low_level", Policy.DISCARD_LOW_LEVEL),
        ("DISCARD-OLDEST", Policy.DISCARD_OLDEST),
        ("DiscardOldest", Policy.DISCARD_OLDEST),
    ],
)
def test_a_policy_has_more_than_one_spelling(spelling, policy):
    assert Policy.parse(spelling, "policy") is policy
    QueueSink(MemorySink(), policy=spelling)


def test_an_unknown_policy_is_answered_with_the_right_ones():
    with pytest.raises(ConfigError) as caught:
        QueueSink(MemorySink(), policy="drop")
    message = str(caught.value)
    assert message.startswith("QueueSink.policy: 'drop'")
    for name in ("discard", "block", "discard_low_level", "discard_oldest"):
        assert f"'{name}'" in message


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("capacity", 0),
        ("capacity", -1),
        ("capacity", True),
        ("capacity", 1.5),
        ("capacity", "many"),
        ("capacity", 10**30),
        ("max_bytes", 0),
        ("max_bytes", "lots"),
        ("policy", None),
        ("low_level", "loud"),
        ("block_timeout", -1),
        ("guarantee_level", -5),
        ("guarantee_timeout", "soon"),
        ("reserve", -1),
        ("reserve", 4096),
        ("high_water", 0),
        ("high_water", 1.1),
        ("high_water", True),
        ("batch_records", 0),
        ("batch_bytes", 0),
        ("linger", -0.1),
        ("spill", 3),
        ("spill", ""),
        ("spill", "dir/"),
        ("spill", "a\0b"),
        ("spill", "half of a pair \ud800"),
        ("spill_max_bytes", 0),
        ("retry_min", 0),
        ("retry_max", 0.01),
        ("gap_notice", "yes"),
        ("close_timeout", -1),
        ("sink", object()),
        ("dead_letter", object()),
        ("name", "no spaces"),
    ],
)
def test_nonsense_is_refused_by_name(argument, value):
    arguments = {"sink": MemorySink(), argument: value}
    with pytest.raises(ConfigError, match=rf"^QueueSink\.{argument}: "):
        QueueSink(**arguments)


def test_the_dead_letters_are_not_the_sink_itself():
    sink = MemorySink()
    with pytest.raises(ConfigError, match="dead_letter"):
        QueueSink(sink, dead_letter=sink)


def test_text_with_units_and_paths_are_accepted(tmp_path):
    queue = QueueSink(
        MemorySink(),
        max_bytes="1 MB",
        linger="250 ms",
        spill=tmp_path / "spill",
        low_level=10,
        guarantee_level="critical",
        reserve=0,
        high_water=1,
    )
    assert queue.statistics().details["queue.capacity"] == 4096


def test_building_one_starts_nothing_and_opens_nothing(tmp_path):
    QueueSink(MemorySink(), spill=str(tmp_path / "deep" / "spill"))
    assert list(tmp_path.iterdir()) == []
