"""Jobs of a pool see the context of whoever submitted them, and leave nothing behind."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from pylog_struct.web.executor import ContextExecutor

bound = structlog.contextvars.get_contextvars


def test_each_job_sees_its_own_submitters_context():
    with ContextExecutor(max_workers=1) as pool:
        structlog.contextvars.bind_contextvars(request_id="one")
        first = pool.submit(bound)
        structlog.contextvars.bind_contextvars(request_id="two")
        second = pool.submit(bound)
        assert (first.result(60), second.result(60)) == (
            {"request_id": "one"},
            {"request_id": "two"},
        )
        assert list(pool.map(lambda _: bound(), range(3))) == [{"request_id": "two"}] * 3


def test_what_a_job_binds_stays_in_the_job():
    with ContextExecutor(max_workers=1) as pool:
        pool.submit(structlog.contextvars.bind_contextvars, left="behind").result(60)
        assert pool.submit(bound).result(60) == {}
    assert bound() == {}


def test_results_arguments_and_errors_are_those_of_the_job():
    with ContextExecutor() as pool:
        assert pool.submit(divmod, 7, 2).result(60) == (3, 1)
        assert pool.submit(dict, fn=1, self=2).result(60) == {"fn": 1, "self": 2}
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result(60)


def test_run_in_executor_has_the_context_too():
    async def run(pool):
        structlog.contextvars.bind_contextvars(request_id="three")
        return await asyncio.get_running_loop().run_in_executor(pool, bound)

    with ContextExecutor() as pool:
        assert asyncio.run(run(pool)) == {"request_id": "three"}
