"""Celery: every line of a worker, its pool and beat as one event, with the ids of task and request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pylog_struct.errors import ConfigError

if TYPE_CHECKING:
    from celery import Celery  # type: ignore[import-untyped]

__all__ = ["install_celery"]


def install_celery(
    app: Celery | None = None,
    *,
    propagate: bool = True,
    arguments: bool = False,
    redirect_stdouts: bool | None = None,
) -> None:
    """Make Celery log through the pipeline, and every line of a task say whose it is.

    Call it beside ``configure()``, in the module that makes the Celery app; once for the web app
    that sends tasks and the worker that runs them, because both import that module.

    - Celery leaves logging alone (no handlers, no hijacked root logger); a worker's and beat's banner
      is the event ``worker starting`` or ``beat starting``, and prints are events of the logger
      ``celery.redirected``.
    - While a task runs, ``task_id``, ``task_name``, ``root_id``, ``parent_id`` and ``retries`` are in
      the context, and the ``request_id``, ``trace_id`` and ``span_id`` that were bound where the task
      was sent: they travel as the message headers ``x-request-id`` and ``traceparent``.  After it the
      context is what it was before, whatever the task bound and however it ended.
    - One event for each end of a task: ``task succeeded``, ``task failed``, ``task retried``,
      ``task rejected``, ``task ignored``, ``task revoked``, with ``state`` and ``duration`` (seconds)
      in place of Celery's sentences.  The level is Celery's own; an exception comes once.
    - A child of the prefork pool delivers what it logged before it leaves.  One that is killed loses
      what only its own queue held: with a hard time limit it has 0.1 s, with SIGKILL nothing.

    Celery's signals and loggers are one for the whole process, so one call serves all its apps;
    called again, it sets the options anew.  ``--loglevel`` of the command line is not looked at:
    the level is that of ``configure``.

    Args:
        app: Your Celery app; only its type is checked.
        propagate: Whether the ids are put into the headers of what is sent from here.
        arguments: Whether the events have ``task_args``, ``task_kwargs`` and ``result``, as Celery's
            shortened texts.  Off by default: they hold what users entered.
        redirect_stdouts: Whether prints of a worker or beat become events, at the level of the
            setting ``worker_redirect_stdouts_level``; None: as ``worker_redirect_stdouts`` says,
            which is true by default.

    Raises:
        ConfigError: an argument is wrong; nothing was changed.
        ImportError: Celery is not installed.

    Threads: call it while the program is set up.  Blocks: never.  Fork: before it; the children of a
    pool inherit everything.  A receiver never raises; trouble goes to the diagnostics channel.

    Source: Celery's user guide, "Signals"; for ``traceparent``, W3C Trace Context level 1.
    """
    for name, value in (("propagate", propagate), ("arguments", arguments)):
        if not isinstance(value, bool):
            raise ConfigError(f"install_celery.{name}: {value!r} is neither True nor False")
    if redirect_stdouts is not None and not isinstance(redirect_stdouts, bool):
        raise ConfigError(
            f"install_celery.redirect_stdouts: {redirect_stdouts!r} is neither True, False nor None"
        )
    try:
        from celery import Celery, signals  # noqa: PLC0415 - it may not be installed
    except ImportError as error:
        raise ImportError("install_celery needs the package celery: pip install celery") from error
    if app is not None and not isinstance(app, Celery):
        raise ConfigError(f"install_celery.app: {app!r} is no celery.Celery; use your app, or None")

    from pylog_struct.web._celery import context as celery_context  # noqa: PLC0415 - Celery is there
    from pylog_struct.web._celery import request as celery_request  # noqa: PLC0415 - Celery is there
    from pylog_struct.web._celery.lines import LINES  # noqa: PLC0415
    from pylog_struct.web._celery.process import PROCESS, quiet_beat  # noqa: PLC0415
    from pylog_struct.web._celery.signals import connect, disconnect  # noqa: PLC0415

    LINES.arguments = arguments
    LINES.install()
    PROCESS.redirect_stdouts = redirect_stdouts
    quiet_beat()
    connect(signals.setup_logging, PROCESS.on_setup_logging)
    connect(signals.celeryd_init, PROCESS.on_worker_init)
    connect(signals.celeryd_after_setup, PROCESS.on_worker_setup)
    connect(signals.worker_process_init, PROCESS.on_child_init)
    connect(signals.worker_process_shutdown, PROCESS.on_child_exit)
    connect(signals.beat_init, PROCESS.on_beat_init)
    connect(signals.task_prerun, celery_context.on_prerun, first=True)
    connect(signals.task_postrun, celery_context.on_postrun)
    connect(signals.task_revoked, celery_request.on_revoked)
    if propagate:
        connect(signals.before_task_publish, celery_context.on_publish)
    else:
        disconnect(signals.before_task_publish)
