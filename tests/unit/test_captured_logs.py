"""captured_logs: events as dicts in a test, whatever is configured, from both doors."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import threading

import pytest
import structlog
from support.events import memory_pipeline
from support.process import environment

import pylog_struct
from pylog_struct.sinks import MemorySink, QueueSink
from pylog_struct.testing.captured import captured_logs as capture

pytest_plugins = ["pylog_struct.testing.pytest_plugin"]

module_logger = structlog.get_logger("module")


def test_cached_loggers_and_the_stdlibs_with_a_queue_in_between():
    sink = MemorySink()
    pylog_struct.configure(sink=QueueSink(sink), level="ERROR")
    module_logger.error("cached before")
    assert pylog_struct.flush(20)

    with capture() as entries:
        module_logger.debug("below the level %s", "too", a=1)
        logging.getLogger("std").debug("from %s", "logging", extra={"b": 2})
        at_once = [entry["event"] for entry in entries]
    module_logger.info("below the level again")
    module_logger.error("after")

    assert at_once == ["below the level too", "from logging"]
    assert [(e["logger"], e["level"]) for e in entries] == [("module", "debug"), ("std", "debug")]
    assert (entries[0]["a"], entries[1]["b"]) == (1, 2)
    assert pylog_struct.flush(20)
    assert [event["event"] for event in sink.events] == ["cached before", "after"]
    assert logging.getLogger().level == logging.ERROR


def test_values_keep_their_python_types():
    value = object()

    with capture() as entries:
        structlog.get_logger().info("x", value=value)

    assert entries[0]["value"] is value


def test_exceptions_and_context_variables_are_there():
    structlog.contextvars.bind_contextvars(request=1)

    with capture() as entries:
        try:
            raise ValueError("boom")
        except ValueError:
            structlog.get_logger().exception("failed")

    assert entries[0]["request"] == 1
    assert entries[0]["exception"]["type"] == "ValueError"


def test_a_level_leaves_out_what_is_below():
    logger = logging.getLogger("talkative")
    logger.setLevel(logging.DEBUG)
    try:
        with capture(logging.WARNING) as entries:
            structlog.get_logger().info("no")
            logger.info("no")
            structlog.get_logger().warning("yes")
            logger.warning("yes")
    finally:
        logger.setLevel(logging.NOTSET)

    assert [entry["event"] for entry in entries] == ["yes", "yes"]


def test_without_configure_everything_is_as_before_afterwards(capsys):
    root = logging.getLogger()
    before = root.level, list(root.handlers), structlog.get_config()

    with capture() as entries:
        structlog.get_logger().info("captured")
        logging.getLogger("x").info("captured")
    structlog.get_logger().info("printed again")

    assert len(entries) == 2
    assert (root.level, list(root.handlers), structlog.get_config()) == before
    assert "printed again" in capsys.readouterr().out


def test_with_a_tuple_of_processors_too():
    structlog.configure(processors=(structlog.processors.JSONRenderer(),))
    before = structlog.get_config()

    with capture() as entries:
        structlog.get_logger().info("captured")

    assert len(entries) == 1
    assert structlog.get_config() == before


def test_from_any_thread():
    memory_pipeline()

    with capture() as entries:
        threads = [
            threading.Thread(target=structlog.get_logger().info, args=("x",), kwargs={"n": n})
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(entry["n"] for entry in entries) == list(range(8))


def test_an_error_in_the_block_ends_the_capture():
    sink = memory_pipeline()

    with pytest.raises(KeyError), capture():
        raise KeyError
    structlog.get_logger().info("arrives")

    assert len(sink.records) == 1


def test_the_fixture_gives_both_doors_and_caplog_sees_both(captured_logs, caplog):
    module_logger.warning("from structlog")
    logging.getLogger("std").warning("from logging")

    assert [entry["event"] for entry in captured_logs] == ["from structlog", "from logging"]
    assert [(record.name, record.message) for record in caplog.records] == [
        ("module", "from structlog"),
        ("std", "from logging"),
    ]


def test_caplogs_level_counts_for_what_it_sees(captured_logs, caplog):
    caplog.set_level(logging.ERROR)

    module_logger.warning("quiet for caplog")

    assert len(captured_logs) == 1
    assert not caplog.records


@pytest.mark.slow
def test_under_xdist(tmp_path):
    """The users' way: a conftest with the plugin, cached module loggers, a queue, two workers."""
    (tmp_path / "conftest.py").write_text(
        'pytest_plugins = ["pylog_struct.testing.pytest_plugin"]\n'
    )
    (tmp_path / "test_app.py").write_text(
        textwrap.dedent(
            """
            import logging
            import pylog_struct
            import pytest
            import structlog
            from pylog_struct.sinks import NullSink, QueueSink

            log = structlog.get_logger("app")
            log.info("used at import")
            pylog_struct.configure(sink=QueueSink(NullSink()))
            log.info("cached")

            @pytest.mark.parametrize("number", range(30))
            def test_both(captured_logs, caplog, number):
                log.info("s", number=number)
                logging.getLogger("std").warning("l %d", number)
                assert [entry["event"] for entry in captured_logs] == ["s", f"l {number}"]
                assert captured_logs[0]["number"] == number
                assert [record.getMessage() for record in caplog.records] == ["s", f"l {number}"]
            """
        )
    )

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=tmp_path,
        env=environment(),
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert "30 passed" in done.stdout
