"""Any events whatever: valid documents, one type a field, nothing lost, never over the limits."""

from __future__ import annotations

import datetime as dt

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.ecs import FakeIndex, check_document, leaves
from support.payloads import strict_loads

from pylog_struct.processors import (
    CONTAINER,
    ECS,
    Datadog,
    DocumentLimits,
    GoogleCloud,
    Logstash,
    TypeGuard,
)
from pylog_struct.processors._ecs_document import PREFIX, ROLES
from pylog_struct.processors._field_types import as_text
from pylog_struct.processors._shrink import LINE_LEAST, shrunk

STAMP = "2026-02-03T04:05:06.789012Z"
WORDS = [
    *("http", "http.response.status_code", "host", "error", "error.message", "log", "log.level"),
    *("message", "@timestamp", "labels", "labels.a", "pylog", "ecs.version", "event.start"),
    *("a", "a.b", "a.b.c", "b", "c", "_id", "", ".", "a..b", " ", "trace_id", "trace.id", "tags"),
    *("service", "process", "lineno", "filename", "exception", "stack", "user", "user.id", "code"),
    *("log.logger", "thread", "thread_name", "labels.a.b"),
]
KEYS = st.sampled_from(WORDS) | st.text(max_size=8)
TEXTS = st.sampled_from(
    ["2026-01-01", "2026-02-30", "2026/01/01", "2026-01-01T00:00:00Z", "1", "true"]
)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | TEXTS
)
ODD = (
    st.dates()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.decimals(allow_nan=True)
    | st.uuids()
    | st.binary(max_size=10)
    | st.characters(categories=["Cs"])
    | st.just(ValueError("boom"))
    | st.just(object())
)
VALUES = st.recursive(
    PLAIN | ODD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.dictionaries(KEYS, VALUES, max_size=6)
EVENTS = st.lists(FIELDS, min_size=1, max_size=8)
QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def event(fields, message="hello"):
    return {"timestamp": STAMP, "level": "info", "logger": "x", "event": message, **fields}


@QUIET
@given(EVENTS, st.integers(1, 60))
def test_an_index_without_a_template_takes_all_of_them(events, most):
    renderer, index = ECS(guard=TypeGuard(max_fields=most)), FakeIndex()
    for fields in events:
        line = renderer(None, "", event(fields))
        document = check_document(line)
        assert document["message"] == "hello"
        index.add(line)


@QUIET
@given(FIELDS)
def test_a_document_without_a_guard_agrees_with_itself(fields):
    check_document(ECS(guard=False)(None, "", event(fields)))


@QUIET
@given(st.dictionaries(KEYS, PLAIN, max_size=8))
def test_the_quick_way_gives_what_the_thorough_one_gives(fields):
    renderer = ECS()
    renderer.render(event(fields))
    thorough = strict_loads(renderer._thoroughly(event(fields)))
    quick = renderer._quickly(event(fields))

    assert quick is None or strict_loads(quick) == thorough


HISTORY = st.lists(
    st.dictionaries(KEYS | st.sampled_from(["event", "logger"]), PLAIN | st.lists(PLAIN, max_size=2), max_size=4),
    max_size=4,
)  # fmt: skip


@QUIET
@given(HISTORY, st.dictionaries(KEYS, PLAIN, max_size=4))
def test_the_quick_way_gives_it_whatever_came_before(history, fields):
    renderer = ECS()
    for before in history:
        check_document(renderer.render(event(before)))
    quick = renderer._quickly(event(fields))
    thorough = check_document(renderer._thoroughly(event(fields)))

    assert quick is None or check_document(quick) == thorough


SOME = st.text("abc09-€", max_size=6) | st.integers(-5, 5) | st.booleans() | st.floats(width=32)
ARRAYS = st.lists(SOME, max_size=4) | st.lists(st.just("x"), max_size=80) | SOME


@QUIET
@given(*[st.dictionaries(st.sampled_from(["tags", "a", "b"]), ARRAYS, max_size=3)] * 2)
def test_arrays_go_the_quick_way_only_where_it_changes_nothing(first, second):
    renderer = ECS()
    renderer.render(event(first))
    quick = renderer._quickly(event(second))
    thorough = strict_loads(renderer._thoroughly(event(second)))

    assert quick is None or strict_loads(quick) == thorough


def test_an_array_of_texts_goes_the_quick_way_from_the_second_event_on():
    renderer = ECS()
    renderer.render(event({"items": ["a", "b"]}))

    quick = renderer._quickly(event({"items": ["c"]}))
    assert strict_loads(quick)["items"] == ["c"]
    assert renderer._quickly(event({"items": ["c", None]})) is None
    assert renderer._quickly(event({"items": ["c", 1]})) is None
    assert renderer._quickly(event({"items": []})) is None
    assert renderer._quickly(event({"items": [1]})) is None


PLAIN_EVENTS = st.dictionaries(
    st.from_regex(r"[a-z]{1,6}(\.[a-z]{1,3})?", fullmatch=True) | st.sampled_from(WORDS),
    st.recursive(
        st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text("abcé€😀", max_size=20),
        lambda inner: st.dictionaries(st.sampled_from("xyz"), inner, min_size=1, max_size=3),
        max_leaves=6,
    ),
    max_size=8,
)


@QUIET
@given(PLAIN_EVENTS)
def test_no_value_is_lost(fields):
    """Whatever happens to a field's name, its value is in the document, as it is or as text."""
    for key in ("timestamp", "level", "logger", "event"):
        fields.pop(key, None)
    document = check_document(ECS()(None, "", event(fields)))
    found = [as_text(value) for _, value in leaves(document)]
    for _, value in leaves(fields):
        text = as_text(value)
        # An object that could not stay is JSON in one label.
        inner = orjson.dumps(value).decode()
        assert text in found or any(inner in other for other in found), (value, document)


LONG = st.dictionaries(
    KEYS | st.text(min_size=50, max_size=300),
    st.recursive(
        PLAIN
        | st.builds(lambda text, times: text * times, st.text(max_size=6), st.integers(0, 4_000)),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5),
        max_leaves=15,
    ),
    max_size=10,
)


@QUIET
@given(LONG, st.text(max_size=30), st.integers(0, 400), st.integers(LINE_LEAST, 30_000))
def test_no_line_is_over_its_limit(fields, message, times, most):
    limits = DocumentLimits(max_line=most, max_keyword=2_000, max_message=3_000, max_stack=1_500)
    line = ECS(limits=limits)(None, "", event(fields, message * times))
    document = check_document(line)

    assert len(line) + 1 <= most
    assert list(document)[:4] == list(PREFIX)
    assert document["@timestamp"] == STAMP
    assert document["log.level"] == "info"
    shown = document["message"]
    whole = (message * times).encode("utf-8", "backslashreplace").decode()
    assert shown == whole or (shown.endswith("…") and whole.startswith(shown[:-1]))
    assert all(
        len(value.encode()) <= 3_000 for _, value in leaves(document) if isinstance(value, str)
    )


@QUIET
@given(LONG, st.integers(LINE_LEAST, 20_000))
def test_shortening_is_stable(fields, most):
    limits = DocumentLimits(max_line=most)
    line = ECS(limits=limits)(None, "", event(fields))

    assert shrunk(line, limits, ROLES) == line


@QUIET
@given(FIELDS | LONG)
def test_presets_render_any_event(fields):
    for renderer in (
        Logstash(limits=CONTAINER),
        GoogleCloud(limits=CONTAINER),
        Datadog(limits=CONTAINER),
    ):
        line = renderer(None, "", event(fields))
        document = strict_loads(line)
        assert len(line) < 16_384
        assert document["message"] == "hello"
        assert STAMP in line.decode()
