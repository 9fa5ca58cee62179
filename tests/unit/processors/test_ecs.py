"""ECS documents: the specification, collisions, both doors, exceptions, and that nothing is lost."""

from __future__ import annotations

import datetime as dt
import logging
import pickle
import sys
import threading

import pytest
import structlog
from prometheus_client import CollectorRegistry
from support.ecs import SPEC, check_document, leaves
from support.payloads import PAYLOADS

import pylog_struct
from pylog_struct.errors import ConfigError
from pylog_struct.processors import ECS, Callsite, TypeGuard
from pylog_struct.processors._ecs_fields import ECS_ROOTS, ecs_fields, ecs_objects
from pylog_struct.sinks import MemorySink

EVENT = {
    "timestamp": "2026-02-03T04:05:06.789012Z",
    "level": "warning",
    "logger": "shop.orders",
    "event": "order placed",
}


def render(fields=None, *, renderer=None, **more):
    return check_document((renderer or ECS())(None, "", {**EVENT, **(fields or {}), **more}))


def configured(sink, **options):
    return pylog_struct.configure(
        level="DEBUG", sink=sink, registry=CollectorRegistry(), **{"format": "ecs", **options}
    )


class TestSpecification:
    def test_the_first_four_fields_come_in_the_order_of_the_specification(self):
        line = ECS()(None, "", {"order_id": 7, **EVENT})

        assert list(check_document(line))[:4] == SPEC["order"]
        assert line.startswith(
            b'{"@timestamp":"2026-02-03T04:05:06.789012Z","log.level":"warning",'
            b'"message":"order placed","ecs.version":"'
        )

    def test_names_of_an_event_become_those_of_the_schema(self):
        document = render(order_id=7)

        assert document["@timestamp"] == EVENT["timestamp"]
        assert document["log.level"] == "warning"
        assert document["log.logger"] == "shop.orders"
        assert document["process.thread.name"] == threading.current_thread().name
        assert document["order_id"] == 7
        assert not {"timestamp", "level", "logger", "event"} & document.keys()

    def test_the_second_event_is_like_the_first_though_it_goes_another_way(self):
        renderer = ECS().prepared(service="checkout")
        fields = {"service": "checkout", "a": 1, "b": "x", "c": 1.5, "d": True, "e": None}
        first = render(fields, renderer=renderer)
        second = render(fields, renderer=renderer)

        assert first == second
        assert {key: second[key] for key in "abcd"} == {"a": 1, "b": "x", "c": 1.5, "d": True}

    def test_without_process_there_are_no_process_fields(self):
        for renderer in (ECS(process=False), ECS(process=False, guard=False)):
            for _ in range(2):
                document = render(a=1, renderer=renderer)
                assert not [key for key in document if key.startswith("process.")]

    def test_an_event_without_a_message_has_none(self):
        event = {key: value for key, value in EVENT.items() if key != "event"}

        assert "message" not in check_document(ECS()(None, "", event))

    def test_in_a_chain_without_ours_time_and_level_are_there_all_the_same(self):
        document = check_document(ECS()(None, "", {"event": "bare"}))

        assert document["log.level"] == "info"
        assert check_document(ECS()(None, "", {**EVENT, "timestamp": 1_700_000_000.25}))[
            "@timestamp"
        ] == ("2023-11-14T22:13:20.250000Z")

    @pytest.mark.parametrize("junk", ["soon", "2026-02-30T00:00:00.000000Z", [1], -5, {"a": 1}])
    def test_a_timestamp_that_is_none_is_a_label_and_now_takes_its_place(self, junk):
        document = render(timestamp=junk)

        assert document["@timestamp"] > "2026"
        assert "timestamp" in document["labels"]

    @pytest.mark.parametrize("level", [30, None, "x" * 500, ["warning"]])
    def test_any_level_becomes_text(self, level):
        assert len(render(level=level)["log.level"]) < 100

    def test_a_message_that_is_no_text_becomes_text(self):
        assert render(event={"a": 1})["message"] == '{"a":1}'

    def test_a_field_called_message_stands_in_for_a_message_that_is_missing(self):
        renderer = ECS()
        for _ in range(2):
            document = render(event=None, message="mine", renderer=renderer)
            assert list(document)[:4] == SPEC["order"]
            assert document["message"] == "mine"
        assert not {"message", "labels"} & render(event=None, message=None).keys()

        # And what was learned from such events does not put two of them into others.
        document = render(message="mine", renderer=renderer)
        assert (document["message"], document["labels"]) == ("order placed", {"message": "mine"})


class TestService:
    def test_a_name_gives_service_and_dataset(self):
        document = render(
            service="Check-Out", renderer=ECS(process=False).prepared(service="Check-Out")
        )

        assert document["service.name"] == "Check-Out"
        assert document["event.dataset"] == "check_out.log"

    def test_a_mapping_gives_all_fields_and_the_rest_are_labels(self):
        service = {
            "name": "checkout", "version": 12, "environment": "prod", "node": {"name": "n1"}, "team": "a",
        }  # fmt: skip
        renderer = ECS().prepared(service=service)
        for _ in range(2):
            document = render(service=service, renderer=renderer)
            found = {key: value for key, value in document.items() if "service" in key}
            assert found == {
                "service.name": "checkout",
                "service.version": "12",
                "service.environment": "prod",
                "service.node.name": "n1",
            }
            # Not "labels.service_team": where labels is mapped as flattened, Elasticsearch 7 takes no dots.
            assert document["labels"] == {"service_team": "a"}

    def test_labels_of_the_service_and_of_the_call_share_one_object(self):
        renderer = ECS().prepared(service={"name": "s", "team": {"lead": "a"}})
        for _ in range(2):
            document = render(labels={"x": 1, "service_team_lead": "b"}, renderer=renderer)
            labels = {"service_team_lead": "a", "x": "1", "service_team_lead_2": "b"}
            assert document["labels"] == labels

    def test_an_event_that_cannot_be_rendered_has_them_too(self, monkeypatch):
        renderer = ECS().prepared(service={"name": "s", "team": "a"})
        monkeypatch.setattr("pylog_struct.processors.ecs.document_of", None)
        document = render(a=object(), renderer=renderer)

        assert document["message"] == "order placed"
        assert document["labels"] == {"service_team": "a"}

    def test_the_dataset_can_be_chosen(self):
        renderer = ECS(dataset="Shop Front/1").prepared(service="checkout")

        assert render(service="checkout", renderer=renderer)["event.dataset"] == "shop_front_1"

    @pytest.mark.parametrize("service", [None, {}, 7, {"name": None}])
    def test_odd_services_do_no_harm(self, service):
        renderer = ECS().prepared(service=service)

        assert "event.dataset" not in render(service=service, renderer=renderer)

    def test_a_service_of_the_call_is_kept_beside_the_configured_one(self):
        renderer = ECS().prepared(service="checkout")
        document = render(service="other", renderer=renderer)

        assert document["service.name"] == "checkout"
        assert document["labels"]["service"] == "other"

    def test_a_service_that_is_no_unicode_is_rendered_all_the_same(self):
        document = render(service="a\ud800", renderer=ECS().prepared(service="a\ud800"))

        assert document["service.name"] == "a\\ud800"


class TestCollisions:
    @pytest.mark.parametrize("root", sorted(ECS_ROOTS - {"labels", "event"}))
    def test_a_value_where_the_schema_has_an_object_is_a_label(self, root):
        for value, text in (("yes", "yes"), (True, "true"), (1, "1"), ([1, "a"], '[1,"a"]')):
            document = render({root: value})
            assert document["labels"] == {root: text}
            assert root not in document

    @pytest.mark.parametrize(
        ("fields", "labels"),
        [
            ({"http.status": 200}, {"http_status": "200"}),
            ({"http": {"status": 200, "x": {"y": None}}}, {"http_status": "200", "http_x_y": None}),
            ({"http": {}}, {"http": "{}"}),
            ({"message": "mine"}, {"message": "mine"}),
            ({"@timestamp": "mine"}, {"@timestamp": "mine"}),
            ({"log.level": "mine"}, {"log_level": "mine"}),
            ({"ecs.version": "0"}, {"ecs_version": "0"}),
            ({"ecs": {"version": "0"}}, {"ecs_version": "0"}),
            ({"log": {"logger": "mine"}}, {"log_logger": "mine"}),
            ({"process.pid": 1}, {"process_pid": "1"}),
            ({"data_stream.dataset": "x"}, {"data_stream_dataset_str": "x"}),
            ({"pylog": 1}, {"pylog": "1"}),
            ({"pylog.folded": "x"}, {"pylog_folded": "x"}),
            ({"labels": "x"}, {"labels": "x"}),
            ({"labels": {"a.b": 1, "c": {"d*": True}, "e": [1]}}, {"a_b": "1", "c_d_": "true", "e": "[1]"}),
            ({"labels": {"a.b": 1, "a_b": 2}}, {"a_b": "1", "a_b_2": "2"}),
            ({"labels.a": "x", "labels.b.c": 1, "labels": {"z": True}}, {"a": "x", "b_c": "1", "z": "true"}),
            ({"labels.a": {"b": 1, "c": {"d": None}}}, {"a_b": "1", "a_c_d": None}),
            ({"_id": "x"}, {"_id": "x"}),
            ({"": 1}, {"_": "1"}),
            ({"a..b": 1}, {"a__b": "1"}),
            ({" ": 1, ".": 2}, {"_": "1", "__2": "2"}),
            ({"a\x00b": 1}, {"a_b": "1"}),
            ({"x": {"": 1}}, {"x_": "1"}),
        ],
    )  # fmt: skip
    def test_what_cannot_stand_where_it_was_put_is_a_label(self, fields, labels):
        if "__2" in labels:
            labels = {"_": "1", "__2": "2"}
        assert render(fields)["labels"] == labels

    def test_a_value_and_an_object_of_one_name(self):
        document = render({"a": 1, "a.b": 2})
        assert (document["a"], document["labels"]) == (1, {"a_b_long": "2"})

        document = render({"a.b": 2, "a": 1})
        assert (document["a.b"], document["labels"]) == (2, {"a_long": "1"})

    def test_one_field_in_two_spellings_is_there_twice(self):
        document = render({"a": {"b": 1}, "a.b": 2})
        assert (document["a"], document["labels"]) == ({"b": 1}, {"a_b": "2"})

        document = render({"http": {"request": {"id": "x"}}, "http.request": {"id": "y"}})
        assert document["labels"] == {"http_request_id": "y"}

    def test_what_collides_with_ours_within_the_pipeline_goes_to_extra(self):
        sink = MemorySink()
        configured(sink, service="checkout")
        structlog.get_logger().info("x", event=True, level=1, timestamp=2, logger=3, service=4)
        document = check_document(sink.records[0].line)

        extra = {key: value for key, value in document.items() if key.startswith("extra.")}
        assert extra == {
            "extra.event": True,
            "extra.level": 1,
            "extra.timestamp": 2,
            "extra.logger": 3,
            "extra.service": 4,
        }

    def test_fields_of_the_schema_stay_where_they_are(self):
        fields = {
            "http.response.status_code": 404,
            "url": {"path": "/a", "port": 80},
            "client.ip": "::1",
            "event.duration": 12,
            "event.start": "2026-01-01T00:00:00Z",
            "tags": ["a", "b"],
            "client.geo.location": {"lat": 1.5, "lon": -2},
            "host.cpu.usage": 0.5,
            "email.subject": "hello",
        }
        document = render(fields)

        assert {key: document[key] for key in fields} == fields
        assert "labels" not in document

    @pytest.mark.parametrize(
        ("path", "value", "label"),
        [
            ("http.response.status_code", "404", "http_response_status_code_str"),
            ("http.response.status_code", 1.5, "http_response_status_code_float"),
            ("event.duration", 2**63, "event_duration_long"),
            ("event.start", "today", "event_start_str"),
            ("event.start", 1_700_000_000, "event_start_long"),
            ("event.start", "2026-02-30", "event_start_str"),
            ("client.ip", "unknown", "client_ip_str"),
            ("client.ip", "::1%eth0", "client_ip_str"),
            ("client.geo.location", {"lat": 91, "lon": 0}, "client_geo_location_object"),
            ("client.geo.location", "here", "client_geo_location_str"),
            ("host.cpu.usage", "50 %", "host_cpu_usage_str"),
        ],
    )
    def test_a_value_that_its_field_of_the_schema_would_reject_is_a_label(self, path, value, label):
        document = render({path: value})

        assert path not in document
        assert list(document["labels"]) == [label]

    def test_a_keyword_of_the_schema_takes_numbers_as_text(self):
        assert render({"user": {"id": 1}})["user"] == {"id": "1"}
        assert render({"error.code": 7})["error.code"] == "7"
        assert render({"tags": ["a", 1, True, None]})["tags"] == ["a", "1", "true", None]

    def test_subtrees_that_are_not_in_the_table_are_left_alone(self):
        fields = {"threat.tactic.name": "x", "process.parent.pid": 1}
        document = render(fields)

        assert {key: document[key] for key in fields} == fields

    def test_names_of_trace_and_span(self):
        for _ in range(2):
            document = render(trace_id="t", span_id="s", transaction_id="x", renderer=ECS())
            assert (document["trace.id"], document["span.id"]) == ("t", "s")
            assert document["transaction.id"] == "x"
        document = render({"trace_id": "b", "trace.id": "a"})
        assert (document["trace.id"], document["trace_id"]) == ("a", "b")
        assert render(trace_id=7)["trace_id"] == 7

    def test_the_quick_way_renames_too(self):
        renderer = ECS()
        documents = [
            render(order=1, trace_id="t", lineno=5, filename="a.py", renderer=renderer)
            for _ in range(2)
        ]

        assert documents[0] == documents[1]
        assert documents[1]["log.origin.file.line"] == 5
        assert "trace_id" not in documents[1]

    @pytest.mark.parametrize(
        ("before", "fields"),
        [
            ({"filename": "f"}, {"filename": "f", "lineno": 1, "func_name": "g"}),
            ({"thread": 5}, {"thread": 5, "thread_name": "t"}),
            ({"lineno": 5, "filename": "f"}, {"lineno": 2**63, "filename": "f"}),
            ({"trace_id": ["t"]}, {"trace_id": "t"}),
            ({"stack": "mine"}, {"stack": "Stack (most recent call last):\n  here"}),
            ({"event": None, "message": "mine"}, {"message": "mine"}),
            ({"logger": None, "log.logger": "mine"}, {"log.logger": "mine"}),
        ],
    )
    def test_a_document_does_not_depend_on_what_came_before(self, before, fields):
        renderer = ECS()
        for _ in range(2):
            render(before, renderer=renderer)

        assert render(fields, renderer=renderer) == render(fields)

    def test_a_line_number_that_its_field_does_not_take_stays_the_users(self):
        document = render(filename="f", lineno=2**63)

        assert "log.origin.file.line" not in document
        assert document["lineno"] == str(2**63)

    def test_a_lonely_word_of_the_callsite_is_the_users(self):
        document = render(filename="report.pdf", process=7, thread="main", module="m")

        assert document["filename"] == "report.pdf"
        assert document["labels"]["process"] == "7"
        assert document["thread"] == "main"

    def test_an_array_of_objects_stays_if_its_members_agree(self):
        items = [{"sku": "a", "n": 1}, {"sku": "b", "n": 2, "more": {"x": [1]}}]
        assert render(items=items)["items"] == items

        mixed = [{"sku": "a"}, {"sku": {"x": 1}}]
        document = render(items=mixed)
        assert "items" not in document
        assert document["labels"]["items_list"] == '[{"sku":"a"},{"sku":{"x":1}}]'
        assert render(items=[1, {"a": 1}])["labels"] == {"items_list": '[1,{"a":1}]'}

    def test_arrays_of_one_field_have_one_type(self):
        assert b'"a":[1.0,2.5]' in ECS()(None, "", {**EVENT, "a": [1, 2.5]})
        assert render(a=["2026-01-01", "x"])["labels"] == {"a_list": '["2026-01-01","x"]'}
        assert render(a=[1, "x", None, [True]])["a"] == ["1", "x", None, ["true"]]
        assert render(a=[])["a"] == []
        assert render({"http": [None]})["labels"] == {"http": "[null]"}

    def test_names_too_long_or_too_deep_are_labels(self):
        document = render({"k" * 300: 1, ".".join("abcdefghijklmnopqrstuvwxyz"): 2})

        assert sorted(document["labels"].values()) == ["1", "2"]
        assert all(len(name) < 220 for name in document["labels"])

    def test_deep_objects_are_labels_below_the_depth_that_an_index_takes(self):
        value = {"x": 1}
        for _ in range(20):
            value = {"d": value}
        document = render(a=value)

        assert all(path.count(".") < 18 for path, _ in leaves(document))
        assert "1" in str(document["labels"])

    @pytest.mark.parametrize(
        ("fields", "labels"),
        [
            ({"a": None, "a.b": 1}, {"a": None}),
            ({"a.b": 1, "a": None}, {"a": None}),
            ({"a": 1, "a.b": None}, {"a_b": None}),
            ({"a": None, "a.b": None}, {"a": None, "a_b": None}),
            ({"a": [], "a.b": 1}, {"a": "[]"}),
            ({"a": [[None]], "a.b": [], "c": 1}, {"a": "[[null]]", "a_b": "[]"}),
            ({"x": {"a": None}, "x.a.b": 1}, {"x_a": None}),
        ],
    )
    def test_a_null_gives_way(self, fields, labels):
        assert render(fields)["labels"] == labels


class TestValues:
    @pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.name)
    def test_any_value_whatever_makes_a_document(self, payload):
        renderer = ECS()
        for name in ("value", "http"):
            line = renderer(None, "", {**EVENT, "before": 1, name: payload.make(), "after": 2})
            document = check_document(line)
            assert (document["message"], document["before"], document["after"]) == (
                "order placed",
                1,
                2,
            )

    @pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.name)
    def test_any_event_whatever_makes_a_document(self, payload):
        check_document(ECS()(None, "", payload.make()))
        check_document(ECS()(None, "", {**EVENT, "event": payload.make()}))

    def test_numbers_that_json_or_an_index_cannot_hold(self):
        renderer = ECS()
        for value, shown in ((float("nan"), None), (float("-inf"), None), (2**63, str(2**63))):
            for _ in range(2):
                assert render({f"n{shown}": value}, renderer=renderer)[f"n{shown}"] == shown
        assert render(n=1e300)["labels"] == {"n_float": "1e+300"}
        assert render(n=10**5000)["n"].startswith("0x")

    def test_text_that_is_no_unicode_anywhere(self):
        document = render({"a\ud800": "b\ud800", "x": {"c": "d\udfff"}})

        assert document["a\\ud800"] == "b\\ud800"
        assert document["x"] == {"c": "d\\udfff"}

    def test_keys_that_are_no_text(self):
        assert render({1: "a", "1": "b"})["1"] == "b"

    def test_dates_are_text_in_iso(self):
        moment = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)

        assert render(at=moment)["at"] == "2026-01-02T00:00:00.000000Z"

    def test_the_event_dict_is_not_changed(self):
        event = {**EVENT, "http": {"a": [1]}, "x": 1}
        ECS()(None, "", event)

        assert event == {**EVENT, "http": {"a": [1]}, "x": 1}


class TestTrouble:
    def test_what_was_replaced_is_told_and_strict_raises(self):
        told = []
        renderer = ECS(on_error=lambda stage, error: told.append((stage, str(error))))
        circle = []
        circle.append(circle)

        assert render(value=circle, renderer=renderer)["value"] == ["<circular: $.value>"]
        assert told[0][0] == "sanitise"
        with pytest.raises(TypeError, match="circular"):
            ECS(strict=True)(None, "", {**EVENT, "value": circle})

    def test_a_hook_that_fails_is_nobodys_problem(self):
        def hook(stage, error):
            raise RuntimeError

        render(http="x", renderer=ECS(on_error=hook))

    def test_when_everything_fails_a_document_says_so(self, monkeypatch):
        told = []
        renderer = ECS(on_error=lambda stage, error: told.append(stage))
        monkeypatch.setattr(ECS, "_document", lambda self, event: 1 / 0)
        document = check_document(renderer(None, "", {**EVENT, "value": object()}))

        assert (document["message"], document["log.level"]) == ("order placed", "warning")
        assert document["error.type"] == "ZeroDivisionError"
        assert told == ["render"]
        check_document(renderer(None, "", 7))
        with pytest.raises(ZeroDivisionError):
            ECS(strict=True)(None, "", {**EVENT, "value": object()})

    def test_with_no_memory_left_there_is_a_constant(self, monkeypatch):
        from pylog_struct.processors import _ecs_document

        def no_memory(*_):
            raise MemoryError

        monkeypatch.setattr(_ecs_document, "cut", no_memory)
        monkeypatch.setattr(ECS, "_document", no_memory)
        document = check_document(ECS()(None, "", {**EVENT, "value": object()}))

        assert document["message"] == "<unrenderable event>"

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("dataset", 7),
            ("dataset", ""),
            ("guard", "yes"),
            ("limits", 16_384),
            ("origin", 1),
            ("process", None),
            ("strict", "no"),
        ],
    )
    def test_wrong_options_are_named(self, option, value):
        with pytest.raises(ConfigError, match=f"ECS.{option}"):
            ECS(**{option: value})

    def test_a_copy_works_like_the_original(self):
        renderer = ECS(dataset="d", guard=TypeGuard({"n": "long"})).prepared(service="s")
        copy = pickle.loads(pickle.dumps(renderer))

        assert render(n="x", service="s", renderer=copy) == render(
            n="x", service="s", renderer=renderer
        )


class TestBothDoors:
    def documents(self, **options):
        sink = MemorySink()
        configured(sink, service={"name": "checkout", "version": "1"}, **options)
        return sink

    def test_a_structlog_and_a_stdlib_record_give_the_same_document(self):
        sink = self.documents(format=ECS(origin=True))
        fields = {"order_id": 7, "http": "x", "http.response.status_code": 200, "trace.id": "t"}
        try:
            raise ValueError("boom")
        except ValueError as caught:
            error = caught
            for log in (
                lambda: structlog.get_logger("shop").error("failed", exc_info=error, **fields),
                lambda: logging.getLogger("shop").error("failed", exc_info=error, extra=fields),
            ):
                log()
        ours, theirs = (check_document(record.line) for record in sink.records)

        for key in ("@timestamp", "log.origin.file.line"):
            assert ours.pop(key)
            assert theirs.pop(key)
        assert ours == theirs
        assert ours["error.type"] == "ValueError"
        assert ours["error.message"] == "boom"
        assert ours["error.stack_trace"].startswith("Traceback (most recent call last):")
        assert ours["error.stack_trace"].endswith("ValueError: boom")
        assert ours["log.origin.file.name"] == "test_ecs.py"
        assert ours["log.origin.function"] == "<lambda>"

    def test_the_origin_is_the_callers_line(self):
        sink = self.documents(format=ECS(origin=True))
        for _ in range(2):
            structlog.get_logger().info("here", a=1)
            line = sys._getframe().f_lineno - 1
            assert check_document(sink.records[-1].line)["log.origin.file.line"] == line
        structlog.get_logger().info("here", **{"log.origin.function": "mine"})
        document = check_document(sink.records[-1].line)
        assert document["labels"] == {"log_origin_function": "mine"}

    def test_a_callsite_of_the_users_gives_the_origin_too(self):
        callsite = Callsite(
            "filename", "lineno", "func_name", "thread_name", "process", "process_name", "thread"
        )
        sink = self.documents(processors=[callsite])
        structlog.get_logger().info("here")
        document = check_document(sink.records[0].line)

        assert document["log.origin.file.name"] == "test_ecs.py"
        assert document["process.thread.id"] == threading.get_ident()
        assert not {"filename", "lineno", "process", "thread"} & document.keys()

    def test_the_stack_of_a_call_is_no_error(self):
        sink = self.documents()
        structlog.get_logger().info("here", stack_info=True)
        document = check_document(sink.records[0].line)

        assert document["pylog.stack"].startswith("Stack (most recent call last):")
        assert not [key for key in document if key.startswith("error.")]

    def test_a_chain_of_causes_is_in_the_text_and_the_class_has_its_module(self):
        sink = self.documents()
        try:
            try:
                raise KeyError("cause")
            except KeyError as cause:
                raise ConfigError("effect") from cause
        except ConfigError:
            structlog.get_logger().exception("failed", exception="mine", stack="mine")
        document = check_document(sink.records[0].line)

        assert document["error.type"] == "pylog_struct.errors.ConfigError"
        assert "KeyError: 'cause'" in document["error.stack_trace"]
        assert document["extra.exception"] == "mine"
        assert document["stack"] == "mine"

    def test_notices_of_sinks_have_the_format(self):
        sink = MemorySink()
        manager = configured(sink, service="checkout")
        record = sink.notice(30, "log.failover", {"source": "a", "target": "b"})
        document = check_document(record.line)

        assert manager is not None
        assert document["message"] == "log.failover"
        assert document["log.logger"] == "pylog_struct"
        assert document["service.name"] == "checkout"
        assert document["labels"]["source"] == "a"

    def test_a_warning_has_its_place(self):
        import warnings

        sink = self.documents()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)
        document = check_document(sink.records[0].line)

        assert document["log.logger"] == "py.warnings"
        assert document["log.origin.file.name"].endswith("test_ecs.py")

    def test_unknown_formats_are_named(self):
        for wrong in ("ecz", 7, ECS, None):
            with pytest.raises(ConfigError, match=r"format: .* is unknown; use one of auto, json"):
                configured(MemorySink(), format=wrong)

    def test_a_renderer_of_the_users_is_taken(self):
        sink = MemorySink()
        configured(sink, format=lambda _logger, _name, event: f"{event['event']}!\n")
        structlog.get_logger().info("hello")
        assert sink.records[0].line == b"hello!"

        configured(sink, format=lambda *_: 7)
        structlog.get_logger().info("hello")
        assert b"neither bytes nor str" in sink.records[1].line


def test_the_table_of_the_schema():
    fields = ecs_fields()

    assert len(fields) > 800
    assert fields["http.response.status_code"] == "long"
    assert fields["error.stack_trace"] == "wildcard"
    assert {path for path in SPEC["fields"] if path != "labels"} <= fields.keys()
    assert {path.partition(".")[0] for path in fields} - {"@timestamp", "message", "tags"} <= (
        ECS_ROOTS
    )
    assert "http.response" in ecs_objects()
    assert not ecs_objects() & fields.keys()


def test_the_child_of_a_fork_has_its_own_process_id():
    import os

    renderer = ECS()
    render(renderer=renderer)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, renderer(None, "", EVENT))
        os._exit(0)
    os.waitpid(pid, 0)
    line = os.read(read, 10_000)
    os.close(read)
    os.close(write)

    assert check_document(line)["process.pid"] == pid
