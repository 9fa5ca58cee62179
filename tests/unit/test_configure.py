"""configure(): what it refuses, what it sets up, and what a second call does."""

from __future__ import annotations

import inspect
import io
import json
import logging
import signal
import sys
import threading
import warnings

import pytest
import structlog
from prometheus_client import CollectorRegistry
from support.events import memory_pipeline, without

import pylog_struct
from pylog_struct import ConfigError, LogManager, PylogError
from pylog_struct.sinks import (
    FanOutSink,
    LockedSink,
    MemorySink,
    NullSink,
    QueueSink,
    StreamSink,
)

CLOSED = MemorySink(name="used-up")
CLOSED.close()

NONSENSE = [
    ("level", "loud", "loud"),
    ("level", -1, "-1"),
    ("level", None, "None"),
    ("level", True, "True"),
    ("format", "xml", "json, console"),
    ("format", None, "None"),
    ("sink", "stdout", "write, flush and close"),
    ("sink", MemorySink, "no sink"),
    ("sink", 5, "5"),
    ("sink", CLOSED, "make a new one"),
    ("processors", 5, "5"),
    ("processors", [None], "processors[0]"),
    ("processors", [print, "x"], "processors[1]"),
    ("service", 5, "5"),
    ("service", "", "''"),
    ("service", {}, "{}"),
    ("service", {1: 2}, "checkout"),
    ("redact", True, "masking"),
    ("stdlib", "yes", "yes"),
    ("warnings", 1, "1"),
    ("uncaught", None, "None"),
    ("strict", "on", "on"),
    ("signals", 5, "5"),
    ("signals", ["SIGNOPE"], "SIGNOPE"),
    ("signals", [3.5], "3.5"),
    ("signals", [4000], "4000"),
    ("signals", ["SIGKILL"], "cannot be handled"),
    ("signals", [signal.SIGSTOP], "cannot be handled"),
    ("queue_size", 0, "queue_size"),
    ("queue_size", -5, "queue_size"),
    ("queue_size", "big", "queue_size"),
    ("full_policy", "maybe", "full_policy"),
    ("registry", "prometheus", "CollectorRegistry"),
    ("shutdown_timeout", -1, "shutdown_timeout"),
    ("shutdown_timeout", "soon", "soon"),
    ("shutdown_timeout", None, "None"),
    ("config", 5, "5"),
    ("config", {"levle": "INFO"}, "did you mean 'level'"),
    ("config", {5: 6}, "unknown option"),
    ("config", "logging.toml", "logging.toml"),
]


@pytest.mark.parametrize(("argument", "value", "said"), NONSENSE)
def test_nonsense_is_one_error_that_names_argument_and_remedy_and_changes_nothing(
    argument, value, said
):
    sink = memory_pipeline()
    hooks = sys.excepthook, warnings.showwarning, threading.excepthook
    handlers = list(logging.getLogger().handlers)

    with pytest.raises(ConfigError) as caught:
        pylog_struct.configure(**{argument: value})

    assert argument in str(caught.value)
    assert said in str(caught.value)
    assert (sys.excepthook, warnings.showwarning, threading.excepthook) == hooks
    assert logging.getLogger().handlers == handlers
    structlog.get_logger("x").debug("still here")
    logging.getLogger("x").debug("this too")
    assert [event["event"] for event in sink.events] == ["still here", "this too"]


def test_nonsense_in_a_first_call_leaves_structlog_alone():
    with pytest.raises(ConfigError):
        pylog_struct.configure(level="loud")

    assert not structlog.is_configured()
    assert logging.getLogger().level == logging.WARNING


def test_a_queue_twice_is_refused():
    with pytest.raises(ConfigError, match=r"queue_size, full_policy: .*QueueSink already"):
        pylog_struct.configure(sink=QueueSink(NullSink()), queue_size=10)


def test_two_sinks_of_one_name_are_refused():
    sinks = [MemorySink(name="twin"), MemorySink(name="twin")]

    with pytest.raises(ConfigError, match="'twin'"):
        pylog_struct.configure(sink=FanOutSink(sinks))


def test_sinks_without_a_name_get_different_ones():
    manager = pylog_struct.configure(sink=FanOutSink([MemorySink(), MemorySink(name="memory")]))

    assert sorted(manager.statistics()) == ["fan_out", "locked", "memory", "memory-2"]


def test_signals_outside_of_the_main_thread_are_refused_before_anything_starts():
    sink = memory_pipeline()
    caught = []

    def configure():
        try:
            pylog_struct.configure(sink=MemorySink(), signals=("SIGUSR1",))
        except ConfigError as error:
            caught.append(str(error))

    thread = threading.Thread(target=configure)
    thread.start()
    thread.join()

    assert "main thread" in caught[0]
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    structlog.get_logger().info("goes to the first sink")
    assert len(sink.records) == 1


@pytest.mark.parametrize("call", ["flush", "shutdown", "statistics"])
def test_without_configure_the_functions_say_so(call):
    with pytest.raises(PylogError, match=r"call pylog_struct.configure\(\) first"):
        getattr(pylog_struct, call)()
    with pytest.raises(PylogError, match="configure"):
        getattr(LogManager, call)()


def test_the_class_can_be_looked_at_before_configure_and_its_methods_act_on_the_manager_of_the_call():
    names = dict(inspect.getmembers(LogManager))  # as help(), Sphinx and mock.create_autospec do
    flush, statistics = names["flush"], names["statistics"]
    assert flush.__doc__ == pylog_struct.LogManager.flush.__doc__ is not None
    with pytest.raises(PylogError, match="configure"):
        statistics()

    for root in ("first", "second"):
        pylog_struct.configure(sink=QueueSink(NullSink(), name=root))
        assert statistics().root == root
        assert flush(60) is True


def test_with_no_argument_json_goes_to_stdout(capfd):
    pylog_struct.configure()

    structlog.get_logger("shop").info("order placed", order_id=7)
    structlog.get_logger("shop").debug("not at level info")

    lines = capfd.readouterr().out.splitlines()
    assert [without(json.loads(line)) for line in lines] == [
        {"level": "info", "logger": "shop", "event": "order placed", "order_id": 7}
    ]


def test_a_mapping_holds_the_keywords_and_keywords_win():
    sink = MemorySink()

    pylog_struct.configure(
        {"level": "ERROR", "service": "from the mapping", "format": "json"},
        sink=sink,
        level="INFO",
    )
    structlog.get_logger().info("x")

    assert sink.events[0]["service"] == "from the mapping"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_auto_is_console_on_a_terminal_and_json_elsewhere(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    terminal, plain = Terminal(), io.StringIO()

    pylog_struct.configure(sink=StreamSink(terminal))
    structlog.get_logger().info("hello", a=1)
    pylog_struct.configure(sink=StreamSink(plain))
    structlog.get_logger().info("hello", a=1)

    assert "\x1b[" in terminal.getvalue()
    assert "hello" in terminal.getvalue()
    assert json.loads(plain.getvalue())["a"] == 1


@pytest.mark.parametrize(
    ("variable", "stream", "colored"),
    [("NO_COLOR", Terminal, False), ("FORCE_COLOR", io.StringIO, True)],
)
def test_colours_follow_the_environment(monkeypatch, variable, stream, colored):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv(variable, "1")
    out = stream()

    pylog_struct.configure(sink=StreamSink(out), format="console")
    structlog.get_logger().info("hello")

    assert ("\x1b[" in out.getvalue()) is colored


def test_service_as_a_name_or_a_mapping_is_on_every_event_and_cannot_be_overwritten():
    sink = memory_pipeline(service={"name": "checkout", "version": "1.2"})

    structlog.get_logger().info("x", service="mine")

    assert sink.events[0]["service"] == {"name": "checkout", "version": "1.2"}
    assert sink.events[0]["extra.service"] == "mine"


def test_queue_size_and_full_policy_put_a_queue_around_the_sink():
    sink = MemorySink()
    manager = pylog_struct.configure(sink=sink, queue_size=7, full_policy="Block", format="json")

    structlog.get_logger().info("through the queue")

    assert isinstance(manager.root, QueueSink)
    assert pylog_struct.flush(5)
    assert manager.statistics()["queue"].details["queue.capacity"] == 7
    assert len(sink.records) == 1


def test_full_policy_alone_means_a_queue_of_4096():
    manager = pylog_struct.configure(sink=LockedSink(NullSink()), full_policy="discard")

    assert manager.statistics()["queue"].details["queue.capacity"] == 4096


def test_a_locked_sink_of_the_users_own_is_used_as_it_is():
    locked = LockedSink(MemorySink())

    assert pylog_struct.configure(sink=locked).root is locked


class Plain:
    """A sink of the user's own: three methods."""

    def __init__(self):
        self.lines = []
        self.closed = 0

    def write(self, batch):
        assert not self.closed
        self.lines += [record.line for record in batch]

    def flush(self, timeout=None):
        pass

    def close(self, timeout=None):
        self.closed += 1


def test_any_object_with_three_methods_will_do_and_stays_open_in_the_next_configuration():
    sink = Plain()

    pylog_struct.configure(sink=sink)
    structlog.get_logger().info("one")
    pylog_struct.configure(sink=sink, queue_size=10)
    structlog.get_logger().info("two")
    pylog_struct.shutdown()

    assert [json.loads(line)["event"] for line in sink.lines] == ["one", "two"]
    assert sink.closed == 1


def test_the_next_configuration_closes_what_it_does_not_use():
    first, second = MemorySink(), MemorySink()
    pylog_struct.configure(sink=first)

    pylog_struct.configure(sink=second)
    structlog.get_logger().info("x")

    assert (len(first.records), len(second.records)) == (0, 1)
    with pytest.raises(ConfigError, match="closed"):
        pylog_struct.configure(sink=first)


def test_the_same_root_again_stays_open_and_does_not_wait_for_itself(capfd):
    sink = MemorySink()
    root = pylog_struct.configure(sink=sink).root

    assert pylog_struct.configure(sink=root, level="DEBUG").root is root
    structlog.get_logger().debug("x")

    assert len(sink.records) == 1
    assert capfd.readouterr().err == ""


def test_the_level_of_a_second_configuration_reaches_the_stdlib_too():
    memory_pipeline(level="ERROR")

    sink = memory_pipeline(level="DEBUG")
    logging.getLogger("lib").debug("now audible")
    structlog.get_logger().debug("this too")

    assert len(sink.records) == 2


def test_two_configurations_may_share_a_registry_and_its_numbers_go_on():
    registry = CollectorRegistry()
    labels = {"level": "info"}

    for _ in range(2):
        memory_pipeline(registry=registry)
        structlog.get_logger().info("x")

    assert registry.get_sample_value("pylog_events_total", labels) == 2


def test_processors_of_the_users_own_run_on_both_doors_after_the_standard_keys():
    seen = []

    def spy(logger, name, event_dict):
        seen.append((name, list(event_dict)[:4]))
        event_dict["spied"] = True
        return event_dict

    sink = memory_pipeline(processors=[spy])
    structlog.get_logger().warning("a")
    logging.getLogger("x").warning("b")

    assert seen == [("warning", ["timestamp", "level", "logger", "event"])] * 2
    assert all(event["spied"] for event in sink.events)


def test_configuring_from_inside_a_sink_does_not_hang_and_takes_its_turn(capfd):
    last = MemorySink()
    done = threading.Event()

    class Reconfigures(MemorySink):
        def _close(self, timeout):
            # Runs in a thread of its own, so it waits for the turn of the call that closes it.
            pylog_struct.configure(sink=last, format="json")
            super()._close(timeout)
            done.set()

    pylog_struct.configure(sink=Reconfigures(), shutdown_timeout=0.2)
    pylog_struct.configure(sink=MemorySink())

    assert done.wait(20)
    structlog.get_logger().info("to the last one")
    assert len(last.records) == 1
    assert "did not finish" in capfd.readouterr().err


def test_hooks_that_cannot_be_taken_back_are_reported_and_do_not_stop_the_others(capfd):
    from pylog_struct.hooks import Hooks

    class Broken:
        def install(self):
            pass

        def uninstall(self):
            raise OSError("no")

    class Good:
        state = "new"

        def install(self):
            self.state = "in"

        def uninstall(self):
            self.state = "out"

    good = Good()
    hooks = Hooks(good, Broken())
    hooks.install()
    hooks.uninstall()

    assert good.state == "out"
    assert "Broken could not be taken back" in capfd.readouterr().err


def test_when_one_hook_fails_to_install_those_before_it_are_taken_back():
    from pylog_struct.hooks import Hooks

    class Failing:
        def install(self):
            raise ConfigError("signals: no")

        def uninstall(self):
            raise AssertionError("never installed")

    class Good:
        state = "new"

        def install(self):
            self.state = "in"

        def uninstall(self):
            self.state = "out"

    good = Good()

    with pytest.raises(ConfigError):
        Hooks(good, Failing()).install()

    assert good.state == "out"
