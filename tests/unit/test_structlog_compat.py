"""What users of structlog rely on: loggers bound before configure, capture_logs, own chains and classes."""

from __future__ import annotations

import gc
import json
import logging
import pickle

import pytest
import structlog
from structlog.testing import CapturingLoggerFactory, LogCapture, capture_logs
from support.events import memory_pipeline, only_the_bridge, without

import pylog_struct
from pylog_struct import BoundLogger
from pylog_struct.dispatch import DISPATCH


class TestBoundBeforeConfigure:
    def test_the_same_object_emits_json_through_the_new_pipeline(self, capsys):
        log = structlog.get_logger().bind(x=1)
        log.info("before %s", "configure")
        assert "before configure" in capsys.readouterr().out

        sink = memory_pipeline()
        log.info("after")
        log.info("bad %d", "number")
        log.info("clash", event=1, level=2)

        assert capsys.readouterr().out == ""
        events = sink.events
        assert without(events[0]) == {"level": "info", "logger": "root", "event": "after", "x": 1}
        assert events[1]["event"] == "bad %d"
        assert "TypeError" in events[1]["log_format_error"]
        assert (events[2]["extra.event"], events[2]["extra.level"]) == (1, 2)

    def test_lazy_proxies_cached_or_not(self):
        structlog.configure(cache_logger_on_first_use=True)
        cached = structlog.get_logger("cached", a=1)
        cached.info("use it")
        unused = structlog.get_logger("unused", a=1)

        sink = memory_pipeline()
        cached.info("bad %d", "x")
        unused.info("one")

        assert [(event["a"], event["event"]) for event in sink.events] == [
            (1, "bad %d"),
            (1, "one"),
        ]
        assert sink.events[1]["logger"] == "unused"

    @pytest.mark.parametrize("chain", [list, tuple])
    def test_filtering_loggers_follow_our_level(self, chain):
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(50),
            processors=chain([structlog.processors.JSONRenderer()]),
        )
        log = structlog.get_logger().bind(a=1)

        sink = memory_pipeline(level="DEBUG")
        log.debug("now audible")

        assert sink.events[0]["a"] == 1

    def test_stdlib_loggers_of_structlog_arrive_with_name_and_arguments(self):
        structlog.configure(
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
            processors=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.PositionalArgumentsFormatter(),
                structlog.processors.JSONRenderer(),
            ],
        )
        log = structlog.get_logger("shop").bind(a=1)

        sink = memory_pipeline()
        log.info("took %d ms", 5)
        log.info("bad %d", "x")
        try:
            raise ValueError("boom")
        except ValueError:
            log.exception("failed")

        events = sink.events
        assert [event["logger"] for event in events] == ["shop"] * 3
        assert [event["event"] for event in events] == ["took 5 ms", "bad %d", "failed"]
        assert events[2]["exception"]["message"] == "boom"
        assert pickle.loads(pickle.dumps(DISPATCH)) is DISPATCH
        assert "dispatch" in repr(log)

    @pytest.mark.parametrize("chain", [list, tuple])
    def test_a_wrapper_class_of_the_users_own_keeps_its_methods(self, chain):
        class Mine(structlog.BoundLoggerBase):
            def audit(self, event, **kw):
                return self._proxy_to_logger("critical", event, audited=True, **kw)

        structlog.configure(
            wrapper_class=Mine, processors=chain([structlog.processors.JSONRenderer()])
        )
        log = structlog.get_logger().bind(a=1)

        sink = memory_pipeline()
        log.audit("kept")

        assert type(log) is Mine
        assert without(sink.events[0]) == {
            "level": "critical",
            "logger": "root",
            "event": "kept",
            "a": 1,
            "audited": True,
        }

    def test_a_logger_that_is_no_bound_logger_at_all_arrives_by_the_list(self):
        class Alien:
            """Implements structlog's protocol without its base class."""

            def __init__(self, processors):
                self.processors = processors

            def shout(self, event):
                try:
                    event_dict = {"event": event}
                    for processor in self.processors:
                        event_dict = processor(None, "error", event_dict)
                except structlog.DropEvent:
                    pass

        alien = Alien(structlog.get_config()["processors"])
        sink = memory_pipeline()

        alien.shout("heard")

        assert without(sink.events[0]) == {"level": "error", "logger": "root", "event": "heard"}

    def test_below_the_level_such_a_logger_is_quiet(self):
        class Mine(structlog.BoundLoggerBase):
            def debug(self, event):
                return self._proxy_to_logger("debug", event)

        structlog.configure(wrapper_class=Mine)
        log = structlog.get_logger().bind()
        sink = memory_pipeline(level="INFO")

        log.debug("quiet")

        assert not sink.records

    def test_another_context_class_does_not_matter(self):
        class Odd(dict):
            pass

        structlog.configure(context_class=Odd)
        log = structlog.get_logger().bind(a=1)
        sink = memory_pipeline()

        log.bind(b=2).info("x")

        assert (sink.events[0]["a"], sink.events[0]["b"]) == (1, 2)

    def test_loggers_with_a_chain_of_their_own_are_left_alone(self):
        captured = LogCapture()
        log = structlog.wrap_logger(None, processors=[captured]).bind()
        memory_pipeline()

        log.info("private")

        assert captured.entries[0]["event"] == "private"
        gc.collect()


class TestCaptureLogs:
    def test_cached_loggers_are_captured_and_come_back(self):
        sink = memory_pipeline()
        log = structlog.get_logger().bind(a=1)
        log.info("before")

        with capture_logs() as entries:
            log.warning("captured %s", "text", b=2)
            log.exception("no exception")  # noqa: LOG004
        log.info("after")

        assert entries[0] == {"a": 1, "b": 2, "event": "captured text", "log_level": "warning"}
        assert entries[1]["log_level"] == "error"
        assert [event["event"] for event in sink.events] == ["before", "after"]

    def test_bad_arguments_do_not_raise_while_capturing(self):
        memory_pipeline()

        with capture_logs() as entries:
            structlog.get_logger().info("bad %d", "x")

        assert entries[0]["event"] == "bad %d"
        assert "TypeError" in entries[0]["log_format_error"]

    def test_a_configure_inside_the_block_does_not_end_the_capture(self):
        first = memory_pipeline()
        log = structlog.get_logger().bind()

        with capture_logs() as entries:
            second = memory_pipeline()
            log.info("captured")
        log.info("after")

        assert [entry["event"] for entry in entries] == ["captured"]
        assert not first.records
        assert [event["event"] for event in second.events] == ["after"]

    @pytest.mark.parametrize("method", ["ainfo"])
    def test_async_methods_are_captured_too(self, method):
        memory_pipeline()

        with capture_logs() as entries:
            getattr(structlog.get_logger(), method)("async")

        assert entries[0]["event"] == "async"


class TestChainsOfTheUsersOwnAfterConfigure:
    def test_log_capture(self):
        sink = memory_pipeline()
        captured = LogCapture()

        structlog.configure(processors=[captured])
        structlog.get_logger().info("x", a=1)

        assert captured.entries == [{"a": 1, "event": "x", "log_level": "info"}]
        assert not sink.records

    def test_what_a_renderer_of_theirs_returns_still_arrives(self):
        sink = memory_pipeline()

        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.JSONRenderer(),
            ]
        )
        structlog.get_logger("x").info("mine", a=1)

        assert json.loads(sink.lines[0]) == {"a": 1, "event": "mine", "logger": "x"}
        assert sink.records[0].level == 20

    def test_a_chain_without_a_renderer_goes_on_as_fields(self):
        sink = memory_pipeline()

        structlog.configure(processors=[structlog.processors.CallsiteParameterAdder()])
        structlog.get_logger().info("mine", a=1)

        assert sink.events[0]["event"] == "mine"
        assert sink.events[0]["a"] == 1
        assert sink.events[0]["func_name"]

    def test_a_chain_that_fails_or_returns_garbage_costs_no_event(self, capfd):
        sink = memory_pipeline()

        def fails(*_):
            raise ValueError("broken")

        structlog.configure(processors=[fails])
        structlog.get_logger().info("one", a=1)
        structlog.configure(processors=[lambda *_: 5])
        structlog.get_logger().info("two")

        assert [event["event"] for event in sink.events] == ["one", "two"]
        assert sink.events[0]["processor_error"] == "ValueError: broken"
        assert sink.events[1]["result"] == 5
        assert "foreign processor chain" in capfd.readouterr().err

    def test_strict_lets_the_error_of_such_a_chain_through(self):
        memory_pipeline(strict=True)

        def fails(*_):
            raise ValueError("broken")

        structlog.configure(processors=[fails])
        with pytest.raises(ValueError, match="broken"):
            structlog.get_logger().info("one")

    def test_without_a_pipeline_a_rendered_line_is_reported(self, capfd):
        from pylog_struct.active import ACTIVE

        memory_pipeline()
        structlog.configure(processors=[structlog.processors.JSONRenderer()])
        ACTIVE.pipeline = None

        structlog.get_logger().info("one")

        assert "configure()" in capfd.readouterr().err

    def test_loggers_of_another_factory_keep_their_name(self):
        sink = memory_pipeline()

        structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())
        structlog.get_logger("named").info("one")
        structlog.configure(logger_factory=CapturingLoggerFactory())
        structlog.get_logger().info("two")
        structlog.wrap_logger(logging.getLogger("wrapped")).info("three")

        assert [event["logger"] for event in sink.events] == ["named", "root", "wrapped"]

    def test_a_list_that_a_formatter_shares_does_not_log_twice(self, tmp_path):
        shared = [structlog.processors.add_log_level]
        structlog.configure(processors=shared)
        handler = logging.FileHandler(tmp_path / "std.log")
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=shared, processor=structlog.processors.JSONRenderer()
            )
        )
        sink = memory_pipeline()
        logger = logging.getLogger("shared")
        logger.addHandler(handler)
        try:
            logger.info("once")
        finally:
            logger.removeHandler(handler)
            handler.close()

        assert [event["event"] for event in sink.events] == ["once"]
        assert "once" in (tmp_path / "std.log").read_text()


def test_drop_event_is_counted_by_level():
    def drop(logger, name, event_dict):
        if event_dict.get("noise"):
            raise structlog.DropEvent
        return event_dict

    sink = memory_pipeline(processors=[drop])
    structlog.get_logger().info("kept")
    structlog.get_logger().info("dropped", noise=True)
    logging.getLogger("x").error("dropped", extra={"noise": True})

    ledger = pylog_struct.statistics()
    assert len(sink.records) == 1
    assert (ledger.emitted, ledger.discarded, ledger["locked"].received) == (3, 2, 1)
    assert ledger.balanced


class TestProcessors:
    def test_one_that_raises_costs_its_own_work_only(self, capfd):
        def fails(logger, name, event_dict):
            event_dict["half"] = True
            raise ValueError("boom")

        def works(logger, name, event_dict):
            event_dict["works"] = True
            return event_dict

        sink = memory_pipeline(processors=[fails, works])
        structlog.get_logger().info("x")

        event = sink.events[0]
        assert (event["half"], event["works"]) == (True, True)
        assert event["processor_error"] == "fails: ValueError: boom"
        assert "processor fails failed" in capfd.readouterr().err

    @pytest.mark.parametrize("garbage", [None, 5, [], object()])
    def test_one_that_returns_garbage_is_passed_over(self, garbage):
        sink = memory_pipeline(processors=[lambda *_: garbage])

        structlog.get_logger().info("x", a=1)

        assert sink.events[0]["a"] == 1
        assert type(garbage).__name__ in sink.events[0]["processor_error"]

    def test_one_may_return_another_kind_of_mapping(self):
        from types import MappingProxyType

        sink = memory_pipeline(processors=[lambda _, __, event: MappingProxyType(event)])

        structlog.get_logger().info("x", a=1)

        assert sink.events[0]["a"] == 1

    @pytest.mark.parametrize("line", ["mine\n", b"mine", bytearray(b"mine\n")])
    def test_one_may_render_itself(self, line):
        sink = memory_pipeline(processors=[lambda *_: line])

        structlog.get_logger().info("x")

        assert sink.lines == [b"mine"]

    def test_text_with_surrogates_is_escaped(self):
        sink = memory_pipeline(processors=[lambda *_: "a\ud800"])

        structlog.get_logger().info("x")

        assert sink.lines == [b"a\\ud800"]

    def test_strict_lets_errors_and_garbage_through(self):
        def fails(*_):
            raise KeyError("mine")

        memory_pipeline(processors=[fails], strict=True)
        with pytest.raises(KeyError, match="mine"):
            structlog.get_logger().info("x")
        memory_pipeline(processors=[lambda *_: 5], strict=True)
        with pytest.raises(pylog_struct.PylogError, match="returned int"):
            structlog.get_logger().info("x")

    def test_one_that_logs_is_not_processed_without_end(self):
        def chatty(logger, name, event_dict):
            structlog.get_logger("chatty").info("nested")
            return event_dict

        sink = memory_pipeline(processors=[chatty])
        structlog.get_logger().info("outer")

        events = sink.events
        assert len(events) == 5
        assert events[-1]["event"] == "outer"
        assert "logging while logging" in events[0]["render_error"]

    def test_what_cannot_even_be_merged_becomes_a_stub(self, monkeypatch):
        from pylog_struct.active import ACTIVE

        sink = memory_pipeline()

        def broken(event_dict):
            raise ZeroDivisionError("renderer")

        monkeypatch.setattr(ACTIVE.pipeline, "_render", broken)
        structlog.get_logger("x").error("still says this", a={1})
        structlog.get_logger("x").error("\ud800", a=1)
        structlog.get_logger("x").error({"a": 1})

        assert [event["event"] for event in sink.events] == [
            "still says this",
            "\\ud800",
            "{'a': 1}",
        ]
        assert all("ZeroDivisionError" in event["render_error"] for event in sink.events)
        assert pylog_struct.statistics().balanced

    def test_isinstance_of_what_get_logger_gives(self):
        memory_pipeline()

        assert isinstance(structlog.get_logger().bind(), BoundLogger)


def test_stdlib_handlers_of_pytest_are_not_needed():
    sink = memory_pipeline()
    only_the_bridge()

    logging.getLogger("x").info("still here")

    assert len(sink.records) == 1
