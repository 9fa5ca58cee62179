"""The processes of Celery: a worker, the children of its pool, beat.  None of them prints.

The banner becomes an event, prints become events, signal handlers that write to the terminal emit
events, and a child of the pool delivers what it logged before it leaves by ``os._exit``.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Final

from pylog_struct import configure, diagnostics, get_logger
from pylog_struct.errors import ConfigError
from pylog_struct.levels import WARNING, parse_level
from pylog_struct.manager import current_manager_or_none
from pylog_struct.stdlib_bridge import BRIDGE
from pylog_struct.web._celery import request as celery_request
from pylog_struct.web._celery import stdout as celery_stdout
from pylog_struct.web._celery.signals import move

__all__ = ["PROCESS", "Process", "quiet_beat"]

_LAST_SECONDS: Final = 1.0  # for a child whose sinks did not take everything in time


class Process:
    """What is done when Celery says what it is about to do; a receiver of its signals for each."""

    def __init__(self) -> None:
        self.redirect_stdouts: bool | None = None
        """Whether prints become events; None: as the app's ``worker_redirect_stdouts`` has it."""

    # -- logging ----------------------------------------------------------------------------------

    def on_setup_logging(self, loglevel: Any = None, **_: Any) -> None:
        """Set up nothing: Celery does neither, because somebody listens (``setup_logging``)."""
        if current_manager_or_none() is None:
            configure(level=loglevel or WARNING)
        if not BRIDGE.installed:
            diagnostics.report(
                "celery stdlib", "Celery's lines are lost: configure() was called with stdlib=False"
            )
        self._bridge_billiard()

    @staticmethod
    def _bridge_billiard() -> None:
        """Let billiard log through the root logger; where it cannot log, it prints stacks."""
        from billiard import util  # type: ignore[import-untyped]  # noqa: PLC0415 - Celery has imported it

        logger = util.get_logger()
        logger.propagate = True
        logger.setLevel(logging.ERROR)  # as Celery does

    # -- a worker ---------------------------------------------------------------------------------

    @staticmethod
    def on_worker_init(instance: Any = None, **_: Any) -> None:
        """Keep the worker from printing (``celeryd_init``)."""
        from celery.apps import worker  # type: ignore[import-untyped]  # noqa: PLC0415 - only a worker needs it

        if instance is not None:
            instance.quiet = True  # the banner: an event says it, a moment later
        worker.safe_say = _say
        celery_request.install()

    def on_worker_setup(self, sender: Any = None, instance: Any = None, **_: Any) -> None:
        """Say what the banner says (``celeryd_after_setup``: the last one before it is printed)."""
        from celery import signals  # type: ignore[import-untyped]  # noqa: PLC0415 - it is there when this is called

        # By now the modules with tasks, and with receivers of the user's, were imported.
        move(signals.task_postrun, last=True)
        move(signals.worker_process_shutdown, last=True)
        app = instance.app
        self._take_over(app.conf)
        fields: dict[str, Any] = {
            "hostname": str(sender),
            "app": app.main or "__main__",
            "concurrency": instance.concurrency,
            "pool": _pool_name(instance.pool_cls),
            "queues": sorted(app.amqp.queues.consume_from),
            "tasks": sorted(name for name in app.tasks if not name.startswith("celery.")),
        }
        _tell("celery.worker", "worker starting", app, fields)

    @staticmethod
    def on_child_init(**_: Any) -> None:
        """Give warnings back to the pipeline in a child of the pool (``worker_process_init``)."""
        logging.captureWarnings(capture=False)

    @staticmethod
    def on_child_exit(**_: Any) -> None:
        """Deliver what is waiting: the child leaves past ``atexit`` (``worker_process_shutdown``)."""
        celery_stdout.end_lines()
        manager = current_manager_or_none()
        # The pool gives a child that it kills 0.1 s from SIGTERM to SIGKILL; any other one has time.
        if manager is not None and not manager.flush(manager._timeout):
            manager.shutdown(_LAST_SECONDS)  # says what is lost, or keeps it on disk

    # -- beat -------------------------------------------------------------------------------------

    def on_beat_init(self, sender: Any = None, **_: Any) -> None:
        """Say that beat starts (``beat_init``; embedded in a worker, too)."""
        app = sender.app
        self._take_over(app.conf)
        scheduler = sender.get_scheduler(lazy=True)
        fields = {
            "scheduler": f"{type(scheduler).__module__}.{type(scheduler).__qualname__}",
            "max_interval": scheduler.max_interval,
        }
        _tell("celery.beat", "beat starting", app, fields)

    def _take_over(self, conf: Any) -> None:
        logging.captureWarnings(capture=False)  # else they come as text, from Celery's setup
        wanted = self.redirect_stdouts
        if conf.worker_redirect_stdouts if wanted is None else wanted:
            try:
                level = parse_level(conf.worker_redirect_stdouts_level or WARNING)
            except ConfigError as error:
                diagnostics.report("celery prints", "prints become warnings", error)
                level = WARNING
            celery_stdout.redirect(level)


PROCESS: Final = Process()
"""The one of this process."""


def quiet_beat() -> None:
    """Keep ``celery beat`` from printing its banner; again changes nothing."""
    from celery.apps.beat import Beat  # type: ignore[import-untyped]  # noqa: PLC0415 - Celery is there when this is called

    original = Beat.run
    if getattr(original, "_pylog_struct", False):
        return

    @functools.wraps(original)
    def run(self: Any) -> None:
        self.quiet = True
        original(self)

    run._pylog_struct = True  # type: ignore[attr-defined]
    Beat.run = run


def _say(message: object, *_: object) -> None:
    """Stand in for ``celery.apps.worker.safe_say``, which writes to the terminal's descriptor."""
    get_logger("celery.worker").warning(str(message).strip())


def _tell(logger: str, event: str, app: Any, fields: dict[str, Any]) -> None:
    """Emit what a banner says; without passwords: ``as_uri`` masks them."""
    import celery  # noqa: PLC0415 - it is there when this is called

    try:
        fields["broker"] = app.connection().as_uri()
        fields["results"] = app.backend.as_uri()
    except Exception as error:  # the worker is about to say so itself
        diagnostics.report("celery banner", "the broker or the results cannot be named", error)
    get_logger(logger).info(event, version=celery.__version__, **fields)


def _pool_name(pool: Any) -> str:
    name = pool if isinstance(pool, str) else pool.__module__
    return str(name).rpartition(".")[2]
