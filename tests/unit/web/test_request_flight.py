"""The flight recorder: details of a request in memory, written only if they are needed; nothing is uncounted."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections import deque

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from support.events import memory_pipeline
from support.web_requests import Peer, WSGIPeer, answer, environ_of, forget_recorders, scope_of

import pylog_struct
from pylog_struct import diagnostics
from pylog_struct.bound_logger import BoundLogger
from pylog_struct.sinks import MemorySink, QueueSink
from pylog_struct.web import flight
from pylog_struct.web.asgi import RequestMiddleware
from pylog_struct.web.flight import FlightRecorder
from pylog_struct.web.wsgi import WSGIRequestMiddleware

log = structlog.get_logger("handler")


@pytest.fixture(autouse=True)
def _own_methods():
    before = {name: vars(BoundLogger)[name] for name in ("debug", "adebug", "info", "ainfo")}
    yield
    forget_recorders()
    if not hasattr(before["debug"], "__code__"):  # the compiled ones are the same again
        assert {name: vars(BoundLogger)[name] for name in before} == before


def pipeline(level="INFO", **settings_):
    return memory_pipeline(level=level, **settings_)


def names(sink):
    return [event["event"] for event in sink.events]


def handler(status=200, *, error=None, steps=3):
    async def app(scope, receive, send):
        for number in range(steps):
            log.debug("detail", number=number)
        log.info("said")
        await answer(send, status=status)
        if error is not None:
            raise error

    return app


def balanced(recorder):
    found = recorder.statistics()
    assert found.recorded == found.written + found.dropped + found.held
    return found


def call(app, recorder, path="/", **options):
    return Peer().call(RequestMiddleware(app, recorder=recorder, **options), scope_of(path))


def test_a_request_that_goes_well_writes_none_of_its_details_and_counts_them():
    sink, recorder = pipeline(), FlightRecorder()
    call(handler(), recorder)
    assert names(sink) == ["said", "request"]
    assert balanced(recorder).dropped == 3
    statistics = pylog_struct.statistics()
    assert (statistics.emitted, statistics.discarded) == (5, 3)
    assert statistics["memory"].received == 2


@pytest.mark.parametrize("how", ["status", "exception", "slow"])
def test_a_request_that_fails_or_is_slow_writes_them_in_order(how):
    sink, recorder = pipeline(), FlightRecorder()
    if how == "exception":
        with pytest.raises(ValueError, match="boom"):
            call(handler(error=ValueError("boom")), recorder)
    else:
        call(handler(503 if how == "status" else 200), recorder, slow="1 us")
    assert [name for name in names(sink) if name == "detail"] == ["detail"] * 3
    details = [event for event in sink.events if event["event"] == "detail"]
    assert [event["number"] for event in details] == [0, 1, 2]
    assert len({event["request_id"] for event in sink.events}) == 1
    assert {event["level"] for event in details} == {"debug"}
    assert sink.events[0]["timestamp"] > details[-1]["timestamp"]  # "said" went out at once
    found = balanced(recorder)
    assert (found.written, found.held, found.bytes) == (3, 0, 0)
    assert pylog_struct.statistics().discarded == 0


def test_values_are_as_they_were_at_the_call():
    sink, recorder = pipeline(), FlightRecorder()
    basket = ["apple"]

    async def app(scope, receive, send):
        log.debug("basket", basket=basket)
        basket.append("pear")
        await answer(send, status=500)

    call(app, recorder)
    assert next(event for event in sink.events if event["event"] == "basket")["basket"] == ["apple"]


def test_the_newest_are_kept_and_how_many_are_missing_is_said():
    sink, recorder = pipeline(), FlightRecorder(capacity=2)
    call(handler(500, steps=7), recorder)
    details = [event for event in sink.events if event["logger"] != "pylog_struct.access"]
    assert [(event["event"], event.get("number"), event.get("evicted")) for event in details] == [
        ("said", None, None),
        ("details.evicted", None, 5),
        ("detail", 5, None),
        ("detail", 6, None),
    ]
    assert details[1]["request_id"] == details[2]["request_id"]
    assert balanced(recorder).evicted == 5
    assert pylog_struct.statistics().discarded == 5


def test_what_the_level_lets_through_goes_by_the_same_method_as_without_a_recorder():
    def methods():
        found = {name: vars(BoundLogger)[name] for name in ("info", "warning", "error", "ainfo")}
        # Where nothing is compiled they are made anew, of the same code.
        return {name: getattr(method, "__code__", method) for name, method in found.items()}

    pipeline()
    before = methods()
    call(handler(), FlightRecorder())
    assert methods() == before


def test_outside_of_requests_the_ordinary_level_stands():
    sink, recorder = pipeline(), FlightRecorder()
    call(handler(), recorder)
    sink.clear()
    before = pylog_struct.statistics().emitted
    log.debug("outside")
    asyncio.run(log.adebug("outside"))
    log.log(10, "outside")
    asyncio.run(log.alog(10, "outside"))
    log.info("said")
    assert names(sink) == ["said"]
    assert pylog_struct.statistics().emitted == before + 1
    assert recorder.statistics().recorded == 3


def test_all_spellings_of_a_call_are_recorded():
    sink, recorder = pipeline(level="WARNING"), FlightRecorder()

    async def app(scope, receive, send):
        bound = log.bind(user="u-1")
        bound.debug("a %s", "b", x=1)
        await bound.adebug("c")
        bound.log(10, "d")
        await bound.alog("debug", "e")
        bound.info(event="f")
        bound.msg("g")
        await bound.ainfo("h")
        await bound.amsg("i")
        bound.log(5, "below the recorder's")
        bound.warning("j")
        await bound.awarning("k")
        await answer(send, status=500)

    call(app, recorder)
    found = [event for event in sink.events if event["logger"] == "handler"]
    assert [event["event"] for event in found] == ["j", "k", "a b", *"cdefghi"]
    assert {event["user"] for event in found} == {"u-1"}


def test_a_logger_whose_level_lets_details_through_writes_them_at_once():
    sink, recorder = pipeline(), FlightRecorder()
    pylog_struct.set_level("DEBUG", "handler")

    async def app(scope, receive, send):
        log.debug("detail")
        await log.adebug("detail")
        assert names(sink) == ["detail", "detail"]
        await answer(send)

    call(app, recorder)
    assert recorder.statistics().recorded == 0


def test_a_level_that_changes_is_followed():
    sink, recorder = pipeline(), FlightRecorder()
    call(handler(500), recorder)
    pylog_struct.set_level("WARNING")
    sink.clear()
    call(handler(500), recorder)
    assert sorted(names(sink)) == ["detail"] * 3 + ["request", "said"]
    pylog_struct.set_level("DEBUG")
    sink.clear()
    call(handler(), recorder)
    assert names(sink) == ["detail"] * 3 + ["said", "request"]


def test_a_processor_that_drops_an_event_drops_it_from_the_recording_too():
    def drop(_logger, _name, event_dict):
        if event_dict.get("number") == 1:
            raise structlog.DropEvent
        return event_dict

    sink, recorder = pipeline(processors=[drop]), FlightRecorder()
    call(handler(500), recorder)
    assert [event["number"] for event in sink.events if event["event"] == "detail"] == [0, 2]
    assert pylog_struct.statistics().discarded == 1


def test_one_request_never_writes_the_details_of_another():
    sink, recorder = pipeline(), FlightRecorder()

    async def app(scope, receive, send):
        for _ in range(5):
            log.debug("detail", of=scope["path"])
            await asyncio.sleep(0)
        await answer(send, status=500 if scope["path"] == "/7" else 200)

    async def run():
        middleware = RequestMiddleware(app, recorder=recorder)
        each = (middleware(scope_of(f"/{n}"), Peer().receive, Peer().send) for n in range(30))
        await asyncio.gather(*each)

    asyncio.run(run())
    assert [event["of"] for event in sink.events if event["event"] == "detail"] == ["/7"] * 5
    found = balanced(recorder)
    assert (found.written, found.dropped, found.held) == (5, 145, 0)


def test_threads_and_tasks_of_a_request_record_into_the_same_place_until_it_ends():
    sink, recorder = pipeline(), FlightRecorder()
    ended, logged = threading.Event(), threading.Event()

    def late():
        ended.wait(60)
        log.debug("too late")
        logged.set()

    async def app(scope, receive, send):
        await asyncio.to_thread(log.debug, "in a thread")
        await asyncio.create_task(log.adebug("in a task"))
        asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, late)
        await answer(send, status=500)

    async def run():
        await RequestMiddleware(app, recorder=recorder)(scope_of(), Peer().receive, Peer().send)
        ended.set()
        await asyncio.to_thread(logged.wait, 60)

    asyncio.run(run())
    assert {"in a thread", "in a task"} <= set(names(sink))
    assert "too late" not in names(sink)
    assert balanced(recorder).recorded == 2


def test_it_works_with_a_queue_behind_it_and_for_wsgi():
    memory = MemorySink()
    pylog_struct.configure(format="json", sink=QueueSink(memory))
    recorder = FlightRecorder()

    def app(environ, start_response):
        log.debug("detail")
        start_response("500 Sorry", [])
        yield b"sorry"
        log.debug("more")

    WSGIPeer().call(WSGIRequestMiddleware(app, recorder=recorder), environ_of())
    assert pylog_struct.flush(60)
    assert [record.fields["event"] for record in memory.records] == ["request", "detail", "more"]
    assert balanced(recorder).written == 2


def test_a_request_in_a_request_has_details_of_its_own():
    sink, recorder = pipeline(), FlightRecorder()
    outer = recorder.start()
    log.debug("outer")
    inner = recorder.start()
    log.debug("inner")
    recorder.end(inner, needed=True)
    log.debug("outer again")
    assert names(sink) == ["inner"]
    recorder.end(outer, needed=True)
    assert names(sink) == ["inner", "outer", "outer again"]


def test_a_recording_that_ends_twice_or_elsewhere_is_counted_once(capsys):
    sink, recorder = pipeline(), FlightRecorder()
    recording = recorder.start()
    log.debug("detail")
    ending = threading.Thread(target=recorder.end, args=(recording,), kwargs={"needed": True})
    ending.start()
    ending.join()
    recorder.end(recording, needed=True)
    assert names(sink) == ["detail"]
    assert balanced(recorder).written == 1
    assert "ended in another context" in capsys.readouterr().err
    diagnostics.reset()


def test_without_a_pipeline_nothing_is_recorded(capsys):
    recorder = FlightRecorder()
    sink = pipeline()
    recording = recorder.start()
    log.debug("detail")
    current = pylog_struct.active.ACTIVE.pipeline
    pylog_struct.active.ACTIVE.pipeline = None
    log.debug("nowhere")
    recorder.end(recording, needed=True)
    again = recorder.start()
    recorder.end(again, needed=False)
    pylog_struct.active.ACTIVE.pipeline = current
    assert sink.events == []
    assert recorder.statistics().recorded == 1
    assert "the details of a request are lost" in capsys.readouterr().err
    diagnostics.reset()


def test_a_foreign_chain_is_left_alone():
    pipeline()
    recorder = FlightRecorder()
    recording = recorder.start()
    with structlog.testing.capture_logs() as captured:
        log.debug("detail")
    recorder.end(recording, needed=True)
    assert captured == []
    assert recorder.statistics().recorded == 0


def test_an_event_that_cannot_be_rendered_never_raises(capsys):
    pipeline()
    recorder = FlightRecorder()
    recording = recorder.start()

    def deep(number):
        try:
            deep(number + 1)
        except RecursionError:
            log.debug("no stack left")
            raise

    with pytest.raises(RecursionError):
        deep(0)
    recorder.end(recording, needed=False)
    balanced(recorder)
    capsys.readouterr()
    diagnostics.reset()


def test_strict_lets_the_error_through():
    def bad(_logger, _name, _event):
        raise RuntimeError("processor")

    pipeline(strict=True, processors=[bad])
    recorder = FlightRecorder()
    recording = recorder.start()
    with pytest.raises(RuntimeError, match="processor"):
        log.debug("detail")
    recorder.end(recording, needed=False)


def test_all_requests_together_stay_within_their_bytes():
    pipeline()
    recorder = FlightRecorder(max_bytes=2_000, max_total_bytes=5_000)
    recordings = [recorder.start() for _ in range(10)]
    for recording in recordings:
        token = flight._RECORDING.set(recording)
        for number in range(20):
            log.debug("detail", number=number, text="x" * 100)
            assert recorder.statistics().bytes <= 5_000
        flight._RECORDING.reset(token)
    found = balanced(recorder)
    assert found.evicted > 100
    for recording in reversed(recordings):
        recorder.end(recording, needed=False)
    assert balanced(recorder).bytes == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_what_is_held_stays_the_parents():
    sink, recorder = pipeline(), FlightRecorder()
    recording = recorder.start()
    log.debug("parent's")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            log.debug("child's")
            recorder.end(recording, needed=True)
            found = recorder.statistics()
            code = 0 if (found.recorded, found.written, len(sink.records)) == (0, 0, 0) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    recorder.end(recording, needed=True)
    assert names(sink) == ["parent's"]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(min_value=1, max_value=6),
    st.integers(min_value=100, max_value=1_500),
    st.lists(
        st.one_of(
            st.tuples(st.just("log"), st.integers(min_value=0, max_value=1_000)),
            st.tuples(st.just("end"), st.booleans()),
        ),
        max_size=40,
    ),
)
def test_against_a_model(capacity, max_bytes, steps):
    """A list, cut from its old end until both bounds hold; an event larger than the bound clears nothing it need not."""
    sink = pipeline()
    recorder = FlightRecorder(capacity=capacity, max_bytes=max_bytes, max_total_bytes=10**6)
    model, evicted, written, number = deque(), 0, [], 0
    recording = recorder.start()
    for what, value in [*steps, ("end", True)]:
        if what == "log":
            number += 1
            log.debug("d", n=number, text="x" * value)
            size = len(f'{{"timestamp":"{"0" * 27}","level":"debug","logger":"handler","event":"d",'
                       f'"n":{number},"text":"{"x" * value}"}}')  # fmt: skip
            while model and (len(model) >= capacity or sum(s for _, s in model) + size > max_bytes):
                model.popleft()
                evicted += 1
            if size > max_bytes:
                evicted += 1
            else:
                model.append((number, size))
        else:
            recorder.end(recording, needed=value)
            if value:
                written += [n for n, _ in model]
            model.clear()
            recording = recorder.start()
        found = balanced(recorder)
        assert found.held == len(model)
        assert found.bytes == sum(s for _, s in model)
        assert found.evicted == evicted
    recorder.end(recording, needed=False)
    assert [event["n"] for event in sink.events if event["event"] == "d"] == written
    statistics = pylog_struct.statistics()
    assert statistics.emitted == statistics["memory"].received + statistics.discarded


def test_a_finaliser_that_logs_in_the_middle_of_recording_is_counted():
    sink, recorder = pipeline(), FlightRecorder()
    append = recorder._append

    def interrupted(*arguments):
        recorder._append = append
        log.debug("from a finaliser")
        append(*arguments)

    recording = recorder.start()
    recorder._append = interrupted
    log.debug("detail")
    found = balanced(recorder)
    assert (found.recorded, found.held, found.evicted) == (2, 1, 1)
    recorder.end(recording, needed=True)
    assert names(sink) == ["details.evicted", "detail"]


def test_an_event_whose_request_ended_while_it_was_rendered_is_counted():
    pipeline()
    recorder = FlightRecorder()
    recording = recorder.start()

    class Ending:
        def __repr__(self):
            recorder.end(recording, needed=False)
            return "ending"

    log.debug("detail", value=Ending())
    assert balanced(recorder).recorded == 0
    assert pylog_struct.statistics().discarded == 1


def test_two_recorders_reach_as_far_as_the_lower_one():
    sink = pipeline(level="WARNING")
    high, low = FlightRecorder(level="INFO"), FlightRecorder(level="DEBUG")
    for recorder, wanted in ((high, ["said"]), (low, ["seen", "said"]), (high, ["said"])):
        recording = recorder.start()
        log.debug("seen")
        log.info("said")
        recorder.end(recording, needed=True)
        assert names(sink) == wanted
        sink.clear()
