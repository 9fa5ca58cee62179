"""Rules of the whole suite: no test leaves a thread or a file descriptor behind."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
import structlog
from support import servers
from support.kafka_mock import cluster  # noqa: F401
from support.kafka_server import kafka, kafka_broker, tansu  # noqa: F401
from support.opensearch_server import opensearch  # noqa: F401 - a fixture

from pylog_struct import diagnostics, manager
from pylog_struct.active import ACTIVE
from pylog_struct.dispatch import DISPATCH, PROCESSORS
from pylog_struct.stdlib_bridge import BRIDGE, WARNINGS
from pylog_struct.thresholds import THRESHOLDS

_PATIENCE = 3.0  # for what ends by itself a moment after close()
_ALLOWED_THREADS = ("pylog-janitor", "asyncio_", "ThreadPoolExecutor", "pytest_timeout", "execnet")


def _threads() -> set[threading.Thread]:
    return {
        thread
        for thread in threading.enumerate()
        if thread.is_alive() and not thread.name.startswith(_ALLOWED_THREADS)
    }


def _descriptors() -> set[str]:
    directory = Path("/proc/self/fd")
    if not directory.exists():  # no /proc on this system: nothing to compare
        return set()
    found = set()
    for entry in directory.iterdir():
        try:
            found.add(f"{entry.name} -> {entry.readlink()}")
        except OSError:
            continue
    return found


def pytest_configure():
    """Give the processes that tests start the signals of a program in a terminal.

    Under ``nohup``, or in the background of a shell script, SIGHUP or SIGINT is ignored, and every
    program inherits that; a handler is not inherited.
    """
    for name in ("SIGHUP", "SIGINT"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_sessionstart():
    """Take its lock from coverage.

    It takes the lock in the middle of our code whenever a file is new to it.  A signal handler that
    interrupts it there, and then waits for a lock of the code under test, whose holder waits for
    coverage's, is a deadlock that no user will ever see.  It guards against nothing that happens here.
    """
    coverage = sys.modules.get("coverage")
    running = coverage and coverage.Coverage.current()
    if running is not None:
        running._collector.data_lock = None


def pytest_collection_finish():
    """Take what collecting left, some hundred thousand objects, out of the garbage collector's sight.

    ``configure`` looks at all objects for loggers that were made before it, and many tests collect.
    """
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter):
    servers.report_missing(terminalreporter)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    factory = getattr(session.config, "_tmp_path_factory", None)
    if factory is not None and "PYTEST_XDIST_WORKER" not in os.environ:
        servers.stop_what_is_left(factory)


def _silenced() -> set[logging.Logger]:
    return {
        logger
        for logger in list(logging.Logger.manager.loggerDict.values())
        if isinstance(logger, logging.Logger) and (logger.disabled or not logger.propagate)
    }


@pytest.fixture(autouse=True)
def _no_leaks():
    diagnostics.reset()
    threads, descriptors = _threads(), _descriptors()
    yield
    ends = time.monotonic() + _PATIENCE
    while True:
        left_threads = _threads() - threads
        left_descriptors = {
            item
            for item in _descriptors() - descriptors
            if not any(word in item for word in ("/.coverage", "anon_inode", "/dev/pts", "/proc/"))
        }
        if not left_threads and not left_descriptors:
            return
        if time.monotonic() > ends:
            break
        gc.collect()
        time.sleep(0.01)
    if left_threads:
        pytest.fail(f"threads left behind: {sorted(thread.name for thread in left_threads)}")
    if left_descriptors:
        pytest.fail(f"file descriptors left behind: {sorted(left_descriptors)}")


@pytest.fixture(autouse=True)
def _fresh_state(_no_leaks):
    """Give back everything global that ``configure`` touches; before the leaks are counted."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    show = warnings.showwarning
    silenced = _silenced()
    yield
    current = manager.current_manager_or_none()
    if current is not None:
        current.shutdown(timeout=2)
        current.hand_over(frozenset())
    manager._set_current(None)
    ACTIVE.pipeline = None
    ACTIVE.overdue.clear()
    THRESHOLDS.reset(logging.NOTSET)
    PROCESSORS[:] = [DISPATCH]
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    BRIDGE.uninstall()
    WARNINGS.uninstall()
    root.setLevel(level)
    for handler in list(root.handlers):
        if type(handler) is logging.StreamHandler and handler not in handlers:
            root.removeHandler(handler)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    warnings.showwarning = show
    for logger in (
        _silenced() - silenced
    ):  # by a server of this test: uvicorn.Config(access_log=False)
        logger.propagate, logger.disabled = True, False
