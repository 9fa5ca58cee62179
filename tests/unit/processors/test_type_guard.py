"""A field keeps its type: what an index without any template would reject goes elsewhere, counted."""

from __future__ import annotations

import datetime as dt
import pickle
import threading

import pytest
import structlog
from prometheus_client import CollectorRegistry
from support.ecs import FakeIndex, Rejected, check_document

import pylog_struct
from pylog_struct.errors import ConfigError
from pylog_struct.processors import ECS, TypeGuard
from pylog_struct.processors.type_guard import FULL, OBSTRUCTED
from pylog_struct.sinks import MemorySink

EVENT = {
    "timestamp": "2026-02-03T04:05:06.789012Z",
    "level": "info",
    "logger": "shop",
    "event": "hello",
}


class Told:
    """A hook that keeps what it is told."""

    def __init__(self):
        self.stages = []

    def __call__(self, stage, error):
        self.stages.append(stage)


def renderer(**guard):
    return ECS(guard=TypeGuard(**guard), process=False)


def render(renderer, **fields):
    document = check_document(renderer(None, "", {**EVENT, **fields}))
    return {key: value for key, value in document.items() if key not in check_document(BARE)}


BARE = ECS(process=False)(None, "", EVENT)


@pytest.mark.parametrize(
    ("first", "second", "label", "text"),
    [
        (1, "x", "code_str", "x"),
        (1, 1.5, "code_float", "1.5"),
        (1, True, "code_bool", "true"),
        (1, 2**63, "code_long", str(2**63)),
        (1, {"a": 1}, "code_object", '{"a":1}'),
        (1, [1, "x"], "code_list", '[1,"x"]'),
        (1.5, "x", "code_str", "x"),
        (1.5, 1e300, "code_float", "1e+300"),
        (True, 1, "code_long", "1"),
        (True, "true", "code_str", "true"),
        ("x", {"a": 1}, "code_object", '{"a":1}'),
        ("2026-01-01", "n/a", "code_str", "n/a"),
        ("2026-01-01", "2026-13-01", "code_str", '"2026-13-01"'),
        ("2026-01-01T10:00:00Z", 5, "code_long", "5"),
        ({"a": 1}, "x", "code_str", "x"),
        ({"a": 1}, [1], "code_list", "[1]"),
        ([1, 2], "x", "code_str", "x"),
        ([{"a": 1}], "x", "code_str", "x"),
        ([{"a": 1}], [{"a": "x"}], "code_list", '[{"a":"x"}]'),
    ],
)
def test_a_value_of_another_type_is_a_label(first, second, label, text):
    guarded = renderer()
    assert render(guarded, code=first) == {"code": first}
    for _ in range(2):
        assert render(guarded, code=second) == {"labels": {label: text}}
        assert render(guarded, code=first) == {"code": first}


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        (1, 2, 2),
        (1, 2.0, 2.0),
        (1, None, None),
        (1, [2, 3], [2, 3]),
        (1.5, 2, 2),
        (1.5, float("nan"), None),
        (1, float("inf"), None),
        ("x", 5, "5"),
        ("x", True, "true"),
        ("x", 2**70, str(2**70)),
        ("x", "2026-01-01", "2026-01-01"),
        ("x", ["y", 1], ["y", "1"]),
        (None, 1, 1),
        ([], "x", "x"),
        (2**63, 5, "5"),
        ("2026-01-01", dt.date(2026, 2, 3), "2026-02-03"),
        ({"a": 1}, {"b": "x"}, {"b": "x"}),
    ],
)
def test_a_value_that_fits_stays(first, second, shown):
    guarded = renderer()
    render(guarded, code=first)
    for _ in range(2):
        assert render(guarded, code=second) == {"code": shown}


@pytest.mark.parametrize("empty", [[], None, [None], [[], [None]]])
@pytest.mark.parametrize("spelling", [lambda value: {"a.b.c": value}, lambda value: {"a": {"b.c": value}}])  # fmt: skip
def test_a_field_without_a_value_makes_objects_in_an_index_too(spelling, empty):
    """``"a.b.c": []`` is refused where ``a.b`` is a value, and from then on ``a.b`` is an object."""
    guarded, index = renderer(), FakeIndex()
    for value, shown in ((1, True), (empty, False)):
        fields = {"a.b": value} if value == 1 else spelling(value)
        index.add(guarded(None, "", {**EVENT, **fields}))
        assert ("labels" not in render(guarded, **fields)) == shown

    guarded, index = renderer(), FakeIndex()
    index.add(guarded(None, "", {**EVENT, **spelling(empty)}))
    assert guarded._guard.fields == {"a": "object", "a.b": "object"}
    index.add(guarded(None, "", {**EVENT, "a.b": 1}))
    assert render(guarded, **{"a.b": 1}) == {"labels": {"a_b_long": "1"}}


def test_a_field_without_a_value_below_a_full_guard_is_a_label():
    assert render(renderer(max_fields=1), **{"a.b.c": None}) == {"labels": {"a_b_c": None}}


def test_members_of_objects_are_fields_too():
    guarded = renderer()
    render(guarded, order={"id": 1, "who": {"name": "x"}})

    assert render(guarded, order={"id": "a", "who": {"name": "y"}}) == {
        "order": {"who": {"name": "y"}},
        "labels": {"order_id_str": "a"},
    }
    assert render(guarded, **{"order.id": "a"}) == {"labels": {"order_id_str": "a"}}
    assert render(guarded, order={"id": {"deep": 1}, "who": 5}) == {
        "labels": {"order_id_object": '{"deep":1}', "order_who_long": "5"}
    }


def test_text_that_may_be_a_date_or_not_never_decides_a_field():
    guarded = renderer()

    assert render(guarded, day="2026-02-30") == {"labels": {"day_str": '"2026-02-30"'}}
    assert render(guarded, day="monday") == {"day": "monday"}
    assert render(guarded, day="2026-02-30") == {"day": "2026-02-30"}
    assert render(renderer(date_detection=False), day="2026-02-30") == {"day": "2026-02-30"}


def test_labels_of_one_name_are_guarded_as_well():
    guarded = renderer()

    assert render(guarded, http="2026-01-01") == {"labels": {"http": "2026-01-01"}}
    assert render(guarded, http="yes") == {"labels": {"http_str": "yes"}}
    assert render(guarded, http="2026-99-01") == {"labels": {"http_str": '"2026-99-01"'}}


class TestMapping:
    @pytest.mark.parametrize(
        "mapping",
        [
            {"code": "long", "a.b": "keyword"},
            {"properties": {"code": {"type": "long"}, "a": {"properties": {"b": {"type": "keyword"}}}}},
            {"mappings": {"properties": {"code": {"type": "long"}, "a.b": {"type": "keyword"}}}},
            {"template": {"mappings": {"properties": {"code": {"type": "long"}, "a.b": {"type": "keyword"}}}}},
            {"logs-1": {"mappings": {"properties": {"code": {"type": "long"}, "a.b": {"type": "keyword"}, "x": {"type": "alias", "path": "code"}}}}},
            {
                ".ds-logs-a-b-2026.11.28-000010": {"mappings": {"properties": {"code": {"type": "long"}, "a.b": {"type": "keyword"}}}},
                ".ds-logs-a-b-2026.11.27-000009": {"mappings": {"properties": {"code": {"type": "keyword"}}}},
            },
            {"index_templates": [{"name": "x", "index_template": {"template": {"mappings": {"properties": {"code": {"type": "long"}, "a.b": {"type": "keyword"}}}}}}]},
            {"component_templates": [{"name": "x", "component_template": {"template": {"mappings": {"properties": {"code": {"type": "long"}, "a.b": {"type": "keyword"}}}}}}]},
        ],
    )  # fmt: skip
    def test_types_come_from_paths_or_from_any_document_of_elasticsearch(self, mapping):
        guarded = renderer(mapping=mapping)

        assert render(guarded, code="x") == {"labels": {"code_str": "x"}}
        assert render(guarded, a={"b": 1}) == {"a": {"b": "1"}}
        assert render(guarded, a=1) == {"labels": {"a_long": "1"}}

    @pytest.mark.parametrize(
        ("kind", "good", "bad"),
        [
            ("integer", [2**31 - 1, None, [1, 2]], [2**31, "1", 1.5]),
            ("short", [-(2**15)], [2**15]),
            ("byte", [127], [128]),
            ("unsigned_long", [2**64 - 1], [-1, 2**64]),
            ("double", [1e300, 1], ["1"]),
            ("half_float", [1.5], [70_000]),
            ("scaled_float", [1.5], [1e13]),
            (
                "date",
                ["2026-01-01T01:02Z", "2026-01-01T01:02:03.123456789+02:00"],
                ["01.02.2026", 1],
            ),
            ("date_nanos", ["2026-01-01"], ["1969-12-31", "2262-01-01", 5]),
            ("ip", ["10.0.0.1", "fe80::1"], ["10.0.0.256", 1]),
            ("boolean", [True], ["true", 0]),
            ("flattened", [{"any": {"thing": 1}}], ["x", [1]]),
            ("flat_object", [{"any": 1}], [5]),
            ("object", [{"a": 1}], [5]),
            ("geo_point", [{"lat": 1, "lon": 2.5}], ["1,2", {"lat": 1}, {"lat": True, "lon": 1}]),
            ("constant_keyword", [], ["x"]),
            ("dense_vector", ["whatever", 5], []),
        ],
    )
    def test_each_type_takes_what_its_field_takes(self, kind, good, bad):
        for value in good:
            assert render(renderer(mapping={"f": kind}), f=value) == {"f": value}
        for value in bad:
            document = render(renderer(mapping={"f": kind}), f=value)
            assert list(document) == ["labels"]

    def test_fields_of_this_package_are_its_own_whatever_the_mapping_says(self):
        mapping = {"pylog.folded": "flattened", "pylog.truncated": "keyword", "labels": "flattened"}
        fields = {"pylog.folded": {"a": 1}, "pylog.truncated": ["x"], "b": 1, "c": 2}

        assert render(renderer(mapping=mapping, max_fields=1), **fields) == {
            "b": 1,
            "labels": {"pylog_folded_a": "1", "pylog_truncated": '["x"]'},
            "pylog.folded": {"c": "2"},
        }

    def test_a_mapping_overrides_the_schema(self):
        guarded = renderer(mapping={"http.response.status_code": "keyword", "labels": "flattened"})

        assert render(guarded, **{"http.response.status_code": 404, "http": "x"}) == {
            "http.response.status_code": "404",
            "labels": {"http": "x"},
        }

    def test_labels_that_are_mapped_to_something_else_are_folded(self):
        guarded = renderer(mapping={"labels.http": "long", "labels.http_str": "long"})

        assert render(guarded, http="x") == {"pylog.folded": {"labels_http_str": "x"}}

    @pytest.mark.parametrize(
        "wrong",
        [7, {"a": 1}, {"mappings": {}}, {"properties": {"a": 5}}, {"": "long"}, {"a": {"b": 1}, "c": 2}, {"index_templates": []}],
    )  # fmt: skip
    def test_what_is_no_mapping_is_refused(self, wrong):
        with pytest.raises(ConfigError, match=r"TypeGuard\.mapping"):
            TypeGuard(wrong)

    @pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "many"])
    def test_the_number_of_fields_has_to_be_one(self, wrong):
        with pytest.raises(ConfigError, match=r"TypeGuard\.max_fields"):
            TypeGuard(max_fields=wrong)
        with pytest.raises(ConfigError, match=r"TypeGuard\.date_detection"):
            TypeGuard(date_detection="yes")


class TestNumberOfFields:
    def test_five_thousand_keys_leave_no_more_than_the_limit_in_the_mapping(self, capsys):
        told = Told()
        guard = TypeGuard(max_fields=200)
        guarded = ECS(guard=guard, on_error=told)
        index = FakeIndex()
        index.add(guarded(None, "", EVENT))
        ours = len(index.types)
        for start in range(0, 5_000, 10):
            fields = {f"k{number}": number for number in range(start, start + 10)}
            line = guarded(None, "", {**EVENT, **fields})
            index.add(line)
            document = check_document(line)
            found = {**document, **document.get("pylog.folded", {})}
            assert {key: str(found[key]) for key in fields} == {
                key: str(value) for key, value in fields.items()
            }

        assert len(index.types) == ours + 200 + 1  # and the object that pylog.folded is in
        assert len(guard.fields) == 200
        assert told.stages == ["fields_folded"] * 480
        report = capsys.readouterr().err
        assert report.count("\n") == 1
        assert "more than 200 fields: 'k200'" in report
        assert f"{__file__}:" in report

    def test_one_event_does_not_use_up_the_fields_of_all_others(self):
        guarded = renderer(max_fields=100)
        document = render(guarded, data={f"k{number}": number for number in range(1_000)}, after=1)

        assert document["after"] == 1
        assert len(document["data"]) == 24
        assert len(document["pylog.folded"]) == 976

    def test_folded_values_are_text_and_known_fields_still_have_their_place(self):
        guarded = renderer(max_fields=4)
        assert render(guarded, a=1) == {"a": 1}
        assert render(guarded, b=1, c="x", d=2.5) == {"b": 1, "c": "x", "d": 2.5}
        document = render(guarded, a=2, e=[1], f={"x": {"y": 1}}, g=True, http="x")

        assert document == {
            "a": 2,
            "pylog.folded": {"e": "[1]", "f": '{"x":{"y":1}}', "g": "true", "labels_http": "x"},
        }

    def test_one_name_folded_twice_keeps_both(self):
        guarded = renderer(max_fields=1)
        render(guarded, a=1)
        document = render(guarded, **{"b.c": 1, "b_c": 2, "b": {"c": 3}})

        assert document["pylog.folded"] == {"b_c": "1", "b_c_2": "2", "b": '{"c":3}'}

    def test_a_field_below_a_value_is_obstructed(self):
        guard = TypeGuard({"a": "long"}, max_fields=2)

        assert guard.learn("a.b", "long") == OBSTRUCTED
        assert guard.learn("x.y.z", "long") == FULL
        assert guard.learn("x.y", "long") == "long"
        assert guard.fields == {"a": "long", "x": "object", "x.y": "long"}


class TestConflicts:
    def test_they_are_counted_and_the_first_offender_is_reported_once(self, capsys):
        registry = CollectorRegistry()
        sink = MemorySink()
        pylog_struct.configure(sink=sink, format="ecs", registry=registry)
        log = structlog.get_logger()
        log.info("a", code=1)
        log.info("b", code="x")
        log.info("c", code="y", other=1)

        value = registry.get_sample_value
        assert value("pylog_processing_errors_total", {"stage": "type_conflict"}) == 2
        report = capsys.readouterr().err
        assert report.count("\n") == 1
        assert "field 'code' (long) does not take this str: see labels.code_str" in report
        assert f"{__file__}:" in report
        assert [check_document(record.line).get("code") for record in sink.records] == [
            1,
            None,
            None,
        ]

    def test_the_number_of_reports_is_bounded(self, capsys):
        guard = TypeGuard(max_fields=1_000)
        for number in range(150):
            guard.report(f"f{number}", "no")

        assert capsys.readouterr().err.count("\n") == 100

    def test_without_a_guard_types_are_the_indexs_business(self, capsys):
        told = Told()
        free = ECS(guard=False, process=False, on_error=told)

        for value in (1, "x", 1.5, True, None):
            for _ in range(2):
                assert render(free, code=value) == {"code": value}
        assert render(free, **{"a": 1, "a.b": 2})["a"] == 1
        assert render(free, **{"http.response.status_code": 200}) == {
            "http.response.status_code": 200
        }
        assert told.stages == []
        assert capsys.readouterr().err == ""

    def test_an_index_without_a_template_takes_every_document(self):
        guarded, index = ECS(), FakeIndex()
        values = [
            1, "x", 1.5, True, None, {"a": 1}, {"a": "x"}, {"a": {"b": 1}}, [1, "x"], [{"a": 1}, {"a": "x"}],
            "2026-01-01", "2026-02-30", 2**63, 1e300, float("nan"), "x" * 100_000, [[1], ["a"]], {}, [], {"": 1},
        ]  # fmt: skip
        for turn in range(len(values)):
            for name in ("v", "http", "a.b", "labels", "message", "_id", f"w{turn}"):
                for value in values[turn:] + values[:turn]:
                    index.add(guarded(None, "", {**EVENT, name: value}))
        with pytest.raises(Rejected):
            index.add(b'{"log":"x"}')

    def test_threads_agree_on_one_type(self):
        for _ in range(20):
            guarded, index = ECS(), FakeIndex()
            start, lines = threading.Barrier(4), []

            def work(value, guarded=guarded, start=start, lines=lines):
                start.wait()
                for number in range(20):
                    fields = {f"k{number}": value, f"k{number}.x": value}
                    lines.append(guarded(None, "", {**EVENT, **fields}))

            values = [1, "x", {"a": 1}, True]
            threads = [threading.Thread(target=work, args=(value,)) for value in values]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for line in lines:
                index.add(line)


def test_one_guard_serves_every_configuration_that_is_given_it():
    guard = TypeGuard()
    sinks = [MemorySink(), MemorySink()]
    for sink, value in zip(sinks, (1, "x"), strict=True):
        pylog_struct.configure(sink=sink, format=ECS(guard=guard), registry=CollectorRegistry())
        structlog.get_logger().info("x", code=value)

    assert check_document(sinks[1].records[0].line)["labels"] == {"code_str": "x"}


def test_a_copy_of_a_guard_knows_what_it_was_given():
    guard = TypeGuard({"a": "long"}, max_fields=7, date_detection=False)
    guard.learn("b", "long")
    copy = pickle.loads(pickle.dumps(guard))

    assert (copy.fields, copy.max_fields, copy.date_detection) == ({"a": "long"}, 7, False)
