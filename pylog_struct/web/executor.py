"""A thread pool whose jobs see the context variables of whoever submitted them."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ContextExecutor"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


class ContextExecutor(ThreadPoolExecutor):
    """A ``ThreadPoolExecutor`` that runs each job in a copy of the submitter's context.

    ``asyncio.to_thread`` does that; a plain executor does not, and neither does
    ``loop.run_in_executor``: what is bound (a request's id) is missing in their threads.  With this
    one it is there, for ``submit``, ``map`` and ``run_in_executor``.  What a job binds itself stays in
    its copy: the next job of the same thread does not see it.

    Args: those of ``ThreadPoolExecutor``.

    Threads: thread-safe.  Cost: a copy of the context for each job, whatever is in it.
    """

    def submit(self, fn: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_R]:
        """Schedule a call of *fn* in a copy of the current context."""
        run: Callable[..., Any] = copy_context().run
        return super().submit(run, fn, *args, **kwargs)
