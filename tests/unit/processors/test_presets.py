"""Field names of Logstash, Google Cloud and Datadog, as their documentation has them."""

from __future__ import annotations

import logging
import pickle
import sys
import threading

import pytest
import structlog
from prometheus_client import CollectorRegistry
from support.payloads import PAYLOADS, strict_loads

import pylog_struct
from pylog_struct.errors import ConfigError
from pylog_struct.processors import Callsite, Datadog, GoogleCloud, Logstash
from pylog_struct.sinks import MemorySink

EVENT = {
    "timestamp": "2026-02-03T04:05:06.789012Z",
    "level": "warning",
    "logger": "shop.orders",
    "event": "order placed",
}
PRESETS = {"logstash": Logstash, "gcp": GoogleCloud, "datadog": Datadog}


def render(renderer, **fields):
    return strict_loads(renderer(None, "", {**EVENT, **fields}))


def logged(format_, log, **options):
    sink = MemorySink()
    pylog_struct.configure(
        level="DEBUG", sink=sink, format=format_, registry=CollectorRegistry(), **options
    )
    log()
    return [strict_loads(record.line) for record in sink.records]


def fail(log=None, **fields):
    try:
        raise ConfigError("boom")
    except ConfigError:
        (log or structlog.get_logger("shop")).exception("failed", **fields)


def test_logstash():
    document = render(Logstash(), order_id=7, level="warning")

    assert document == {
        "@timestamp": EVENT["timestamp"],
        "@version": "1",
        "message": "order placed",
        "level": "WARNING",
        "logger_name": "shop.orders",
        "thread_name": threading.current_thread().name,
        "order_id": 7,
    }


def test_logstash_with_an_exception_and_its_origin():
    [document] = logged(Logstash(origin=True), fail)

    assert document["exception"] == {
        "exception_class": "pylog_struct.errors.ConfigError",
        "exception_message": "boom",
    }
    assert document["stack_trace"].startswith("Traceback (most recent call last):")
    assert document["caller_file_name"] == "test_presets.py"
    assert document["caller_method_name"] == "fail"
    assert isinstance(document["caller_line_number"], int)


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        ("debug", "DEBUG"),
        ("info", "INFO"),
        ("warn", "WARNING"),
        ("error", "ERROR"),
        ("critical", "CRITICAL"),
        ("WARNING", "WARNING"),
    ],
)
def test_the_severities_of_google_cloud(level, severity):
    document = render(GoogleCloud(), level=level)

    assert document["severity"] == severity
    assert "level" not in document


@pytest.mark.parametrize("level", ["notice", 25, ["x"]])
def test_a_level_that_google_cloud_does_not_know_stays(level):
    document = render(GoogleCloud(), level=level)

    assert (document["severity"], document["level"]) == ("DEFAULT", level)


def test_google_cloud():
    renderer = GoogleCloud(project="my-project")
    document = render(
        renderer, trace_id="abc", span_id="def", service={"name": "checkout", "version": "1.2"}, x=1
    )

    assert document == {
        "severity": "WARNING",
        "time": EVENT["timestamp"],
        "message": "order placed",
        "logger": "shop.orders",
        "logging.googleapis.com/trace": "projects/my-project/traces/abc",
        "logging.googleapis.com/spanId": "def",
        "serviceContext": {"service": "checkout", "version": "1.2"},
        "x": 1,
    }
    ready = "projects/other/traces/abc"
    assert render(renderer, **{"trace.id": ready})["logging.googleapis.com/trace"] == ready
    assert render(GoogleCloud(), trace_id="abc")["logging.googleapis.com/trace"] == "abc"
    assert render(GoogleCloud(), trace_id=5)["trace_id"] == 5
    assert render(GoogleCloud(), service="checkout")["serviceContext"] == {"service": "checkout"}
    more = render(GoogleCloud(), service={"name": "checkout", "team": "a"})
    assert more["service"] == {"team": "a"}


def test_google_cloud_error_reporting_finds_the_stack():
    [document] = logged(GoogleCloud(origin=True), fail, service="checkout")

    assert document["severity"] == "ERROR"
    assert document["stack_trace"].startswith("Traceback (most recent call last):\n  File ")
    assert document["stack_trace"].endswith("ConfigError: boom")
    assert document["error"] == {"type": "pylog_struct.errors.ConfigError", "message": "boom"}
    place = document["logging.googleapis.com/sourceLocation"]
    assert (place["file"], place["function"]) == ("test_presets.py", "fail")
    assert place["line"].isdigit()


def test_datadog():
    document = render(
        Datadog(),
        trace_id="123",
        span_id="456",
        service={"name": "checkout", "version": "1.2", "environment": "prod", "team": "a"},
    )

    assert document == {
        "timestamp": EVENT["timestamp"],
        "status": "warning",
        "message": "order placed",
        "logger": {"name": "shop.orders", "thread_name": threading.current_thread().name},
        "service": "checkout",
        "dd.service": "checkout",
        "dd.version": "1.2",
        "dd.env": "prod",
        "dd.trace_id": "123",
        "dd.span_id": "456",
        "extra.service": {"team": "a"},
    }


def test_what_ddtrace_has_put_there_stays():
    injected = {"dd.trace_id": "1", "dd.span_id": "2", "dd.service": "s", "dd.env": "e"}
    document = render(Datadog(), **injected, trace_id="other", service="checkout")

    assert {key: document[key] for key in injected} == injected
    assert document["trace_id"] == "other"


def test_datadog_with_an_exception_and_its_origin():
    [document] = logged(Datadog(origin=True), fail)

    assert document["status"] == "error"
    assert document["error"]["kind"] == "pylog_struct.errors.ConfigError"
    assert document["error"]["message"] == "boom"
    assert document["error"]["stack"].endswith("ConfigError: boom")
    assert document["logger"]["method_name"] == "fail"


@pytest.mark.parametrize("format_", PRESETS)
class TestEveryPreset:
    def test_both_doors_give_one_document(self, format_):
        documents = logged(
            format_,
            lambda: (fail(order_id=7), fail(logging.getLogger("shop"), extra={"order_id": 7})),
            service="checkout",
        )
        for document in documents:
            for key in ("@timestamp", "time", "timestamp"):
                document.pop(key, None)

        assert documents[0] == documents[1]

    def test_a_key_that_is_the_vendors_moves_aside(self, format_):
        fields = {"message": 1, "extra.message": 2, "stack_trace": 3, "error": 4, "severity": 5}
        [document] = logged(format_, lambda: fail(**fields))

        assert document["message"] == "failed"
        assert document["extra.message_2"] == 1
        assert document["extra.message"] == 2
        values = [value for value in document.values() if type(value) is int]
        assert sorted(values) == [1, 2, 3, 4, 5]

    def test_a_callsite_of_the_users_is_the_origin(self, format_):
        [document] = logged(format_, lambda: fail(), processors=[Callsite()])

        assert not {"filename", "lineno", "func_name"} & document.keys()
        assert "test_presets.py" in str({**document, "stack_trace": "", "error": ""})

    def test_odd_services_and_words_are_left_alone(self, format_):
        document = render(PRESETS[format_](), service=7, filename="a.pdf", exception="x", stack="y")

        assert document["service"] == 7
        assert (document["filename"], document["exception"], document["stack"]) == (
            "a.pdf",
            "x",
            "y",
        )

    def test_notices_of_sinks_have_the_format(self, format_):
        sink = MemorySink()
        pylog_struct.configure(sink=sink, format=format_, registry=CollectorRegistry())
        document = strict_loads(sink.notice(40, "log.gap", {"count": 3}).line)

        assert (document["message"], document["count"]) == ("log.gap", 3)

    def test_an_event_of_another_chain_is_rendered_too(self, format_):
        assert strict_loads(PRESETS[format_]()(None, "", {"event": "bare"}))["message"] == "bare"

    def test_a_key_whose_code_fails_costs_the_names_and_no_more(self, format_):
        class Key(str):
            __slots__ = ()

            def __eq__(self, other):
                raise RuntimeError("no")

            __hash__ = str.__hash__

        told = []
        renderer = PRESETS[format_](on_error=lambda stage, _: told.append(stage))
        line = renderer(None, "", {**EVENT, Key("message"): 1})

        assert b"order placed" in line
        with pytest.raises(Exception):
            PRESETS[format_](strict=True)(None, "", {**EVENT, Key("message"): 1})

    @pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.name)
    def test_any_value_whatever(self, format_, payload):
        renderer = PRESETS[format_]()
        assert render(renderer, value=payload.make())["message"] == "order placed"
        strict_loads(renderer(None, "", payload.make()))

    def test_wrong_options_are_named(self, format_):
        preset = PRESETS[format_]
        for options in ({"limits": 5}, {"origin": 1}, {"strict": "no"}):
            with pytest.raises(ConfigError, match=f"{preset.__name__}.{next(iter(options))}"):
                preset(**options)

    def test_a_copy_works_like_the_original(self, format_):
        renderer = PRESETS[format_](origin=True)
        copy = pickle.loads(pickle.dumps(renderer))

        assert render(copy, x=1) == render(renderer, x=1)

    def test_trouble_is_told_and_strict_is_strict(self, format_):
        circle = []
        circle.append(circle)
        told = []
        prepared = PRESETS[format_]().prepared(on_error=lambda stage, _: told.append(stage))
        render(prepared, value=circle)

        assert told == ["sanitise"]
        with pytest.raises(TypeError):
            PRESETS[format_]().prepared(strict=True)(None, "", {**EVENT, "value": circle})


def test_the_project_has_to_be_one():
    with pytest.raises(ConfigError, match=r"GoogleCloud\.project"):
        GoogleCloud(project=7)


def test_the_modules_are_light():
    assert "pylog_struct.processors.presets" in sys.modules
