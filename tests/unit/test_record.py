"""The record: immutable, cheap, decoded on demand."""

from __future__ import annotations

import copy
import pickle
import threading

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylog_struct.record import Record

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), _JSON, max_size=5))
def test_fields_are_the_line_decoded(document):
    record = Record(20, orjson.dumps(document))
    assert dict(record.fields) == orjson.loads(record.line)


@pytest.mark.parametrize(
    "line", [b"plain text", b"", b"[1, 2]", b'"text"', b"12", b"null", b'{"cut": ', b'{"n": NaN}']
)
def test_a_line_that_is_no_json_object_is_the_event(line):
    assert dict(Record(20, line).fields) == {"event": line.decode()}


def test_bytes_that_are_no_text_are_replaced():
    assert Record(20, b"\xff\xfe").fields["event"] == "\ufffd\ufffd"


def test_fields_are_decoded_once_and_on_first_use():
    record = Record(20, b'{"a": 1}')
    assert not record.__dict__
    first = record.fields
    assert record.fields is first


def test_fields_are_read_only():
    record = Record(20, b'{"a": 1}')
    with pytest.raises(TypeError):
        record.fields["a"] = 2
    with pytest.raises(AttributeError):
        record.fields = {}
    with pytest.raises(AttributeError):
        record.fields.clear()
    assert record.fields["a"] == 1


@pytest.mark.parametrize("name", ["level", "line", "created", "fields", "other"])
def test_nothing_can_be_set_or_deleted(name):
    record = Record(20, b'{"a": 1}', 1.0)
    with pytest.raises(AttributeError, match=name):
        setattr(record, name, 99)
    with pytest.raises(AttributeError):
        delattr(record, name)
    if name != "other":
        with pytest.raises(AttributeError):
            object.__setattr__(record, name, 99)
    assert (record.level, record.line, record.created) == (20, b'{"a": 1}', 1.0)


def test_writing_into_its_dict_changes_no_attribute():
    record = Record(20, b'{"a": 1}', 1.0)
    record.__dict__.update(level=50, line=b"other", created=9.0, fields={"a": 2})
    assert (record.level, record.line, record.created, record.fields["a"]) == (
        20,
        b'{"a": 1}',
        1.0,
        1,
    )


def test_no_item_can_be_set():
    with pytest.raises(TypeError):
        Record(20, b"x")[0] = 50


def test_a_changed_copy_is_a_new_record_with_fields_of_its_own():
    record = Record(20, b'{"a": 1}')
    assert record.fields["a"] == 1
    changed = record._replace(line=b'{"a": 2}')
    assert type(changed) is Record
    assert (changed.fields["a"], record.fields["a"]) == (2, 1)
    assert record._asdict() == {"level": 20, "line": b'{"a": 1}', "created": 0.0}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_can_be_pickled_also_after_its_fields_were_used(protocol):
    record = Record(30, b'{"a": 1}', 12.5)
    assert record.fields["a"] == 1
    again = pickle.loads(pickle.dumps(record, protocol))
    assert type(again) is Record
    assert again == record
    assert again.fields == record.fields


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_it_can_be_copied(duplicate):
    record = Record(30, b'{"a": 1}', 12.5)
    again = duplicate(record)
    assert type(again) is Record
    assert again == record


def test_the_cheapest_constructor_makes_the_same_record():
    line = b'{"a": 1}'
    record = tuple.__new__(Record, (40, line, 2.0))
    assert type(record) is Record
    assert record == Record(40, line, 2.0)
    assert (record.level, record.line, record.created) == (40, line, 2.0)
    assert record.line is line
    assert record.fields["a"] == 1


def test_created_is_unknown_by_default():
    assert Record(20, b"x").created == 0.0


def test_threads_may_decode_one_record_at_once():
    record = Record(20, orjson.dumps({"numbers": list(range(2_000))}))
    barrier = threading.Barrier(8)
    seen = []

    def decode():
        barrier.wait()
        seen.append(record.fields["numbers"][-1])

    threads = [threading.Thread(target=decode) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1_999] * 8
