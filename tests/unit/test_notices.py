"""Records that sinks put into the stream themselves."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylog_struct.notices import json_notice, timestamp
from pylog_struct.record import Record


@given(st.integers(0, 4_102_444_800_000_000))
def test_a_timestamp_is_rfc_3339_in_utc_with_six_digits(microseconds):
    text = timestamp(microseconds / 1_000_000)
    assert len(text) == len("2026-01-02T03:04:05.678901Z")
    assert text.endswith("Z")
    parsed = datetime.fromisoformat(text)
    assert parsed.tzinfo == UTC
    assert parsed.timestamp() == pytest.approx(microseconds / 1_000_000, abs=2e-6)


def test_a_notice_is_a_record_like_others():
    before = time.time()
    record = json_notice(35, "log.gap", {"records": 7, "levels": {"info": 7}})
    assert type(record) is Record
    assert record.level == 35
    assert before <= record.created <= time.time()
    assert b"\n" not in record.line
    assert dict(record.fields) == {
        "timestamp": timestamp(record.created),
        "level": "warning",
        "logger": "pylog_struct",
        "event": "log.gap",
        "records": 7,
        "levels": {"info": 7},
    }


def test_a_value_that_json_does_not_know_becomes_text():
    assert json_notice(20, "x", {"path": {1}}).fields["path"] == "{1}"
