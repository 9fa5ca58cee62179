"""The key of a message: what the cheap way finds is what decoding the line would find."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylog_struct.errors import ConfigError
from pylog_struct.record import Record
from pylog_struct.sinks._kafka.keys import key_reader
from pylog_struct.sinks._lookup import as_text, lookup

user = key_reader("user", "key_field")


def record(line):
    return Record(20, line)


def by_decoding(one, path):
    text = as_text(lookup(one.fields, path))
    return None if text is None else text.encode()


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b'{"user":"u-1"}', b"u-1"),
        (b'{"a":1,"user":"u-1","b":2}', b"u-1"),
        (b'{"user":""}', b""),
        (b'{"user":42,"b":1}', b"42"),
        (b'{"user":-4.5}', b"-4.5"),
        (b'{"user":1e400}', None),  # no JSON for anybody here
        (b'{"user":18446744073709551615}', b"18446744073709551615"),
        (b'{"user":100000000000000000000}', b"1e+20"),
        (b'{"user":true}', b"true"),
        (b'{"user":null}', None),
        (b'{"user":{"id":1}}', None),
        (b'{"user":[1]}', None),
        (b'{"user":"a\\"b"}', b'a"b'),
        (b'{"user":"gr\xc3\xbcn"}', "grün".encode()),
        (b'{"a":{"user":"inner"},"user":"outer"}', b"outer"),
        (b'{"user":"outer","a":{"user":"inner"}}', b"outer"),
        (b'{"a":{"user":"inner"}}', None),
        (b'{"a":["x",{"user":"inner"}]}', None),
        (b'{"a":"{","user":"u-1"}', b"u-1"),
        (b'{"event":"\\"user\\":\\"x\\"","user":"u-1"}', b"u-1"),
        (b'{"event":"say \\"user","b":1}', None),
        (b'{"x\\"user":1}', None),
        (b'{"event":"user"}', None),
        (b'{"user": "spaced"}', b"spaced"),
        (b'{"\\u0075ser":"escaped"}', b"escaped"),
        (b'{"user":"first","user":"second"}', b"second"),
        (b'{"b":1}', None),
        (b"user=7 no json", None),
        (b'["user","x"]', None),
        (b"", None),
    ],
)
def test_a_field_becomes_the_key(line, key):
    assert user(record(line)) == key


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b'{"trace":{"id":"t-1"}}', b"t-1"),
        (b'{"trace.id":"t-2"}', b"t-2"),
        (b'{"trace":{"id":"t-1"},"trace.id":"t-2"}', b"t-2"),
        (b'{"trace":"t"}', None),
    ],
)
def test_a_dotted_path_is_a_key_or_a_nested_field(line, key):
    assert key_reader("trace.id", "key_field")(record(line)) == key


NAMES = st.sampled_from(["user", "us", 'x"user', "user\\", "{", "user:", "", "event"]) | st.text(
    max_size=5
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["user", '"user":', '{"user":1}', ',"user":"x"', "user\\", "{", "}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(NAMES, JSON, max_size=6), st.sampled_from([orjson.dumps, json.dumps]))
def test_the_cheap_way_finds_what_decoding_finds(fields, dumps):
    line = dumps(fields)
    one = record(line if isinstance(line, bytes) else line.encode())
    assert user(one) == by_decoding(one, "user")


@pytest.mark.parametrize("path", ["", ".", "a..b", 7, None])
def test_a_path_that_is_none_is_refused(path):
    with pytest.raises(ConfigError, match=r"KafkaSink\.key_field"):
        key_reader(path, "KafkaSink.key_field")
