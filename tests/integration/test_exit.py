"""However a process ends on its own: the last 1,000 records arrive, once, and the exit code is its own."""

from __future__ import annotations

import time

import pytest
from support.process import finish, run, start

SETUP = """
import asyncio, atexit, json, logging, os, sys, threading, time
import pylog_struct, structlog
from pylog_struct.sinks import MemorySink, NullSink, QueueSink, StreamSink

class Slow(StreamSink):
    seconds = 0.02
    def write(self, batch):
        time.sleep(self.seconds)
        super().write(batch)

def setup(**options):
    options.setdefault("uncaught", True)
    return pylog_struct.configure(sink=QueueSink(Slow("stdout"), batch_records=100), format="json", **options)

def burst(log=None, first=0, last=1000):
    log = log or structlog.get_logger()
    for number in range(first, last):
        log.error("burst", number=number)
"""

ENDINGS = {
    "falling off the end": ("setup(); burst()", 0),
    "sys.exit": ("setup(); burst(); sys.exit(3)", 3),
    "unhandled exception": ("setup(); burst(); raise ValueError('boom')", 1),
    "exit in a function": ("setup(); burst(); raise SystemExit('bye')", 1),
    "end of asyncio.run": (
        """
async def main():
    log = structlog.get_logger()
    for number in range(1000):
        await log.aerror("burst", number=number)
setup(); asyncio.run(main())""",
        0,
    ),
    "async without await": (
        """
async def main():
    log = structlog.get_logger()
    for number in range(1000):
        log.aerror("burst", number=number)
setup(); asyncio.run(main())""",
        0,
    ),
    "a thread that goes on after main": (
        "setup(); threading.Thread(target=burst).start()",
        0,
    ),
    "daemon thread, joined by nobody": (
        "setup(); t = threading.Thread(target=burst, daemon=True); t.start(); t.join()",
        0,
    ),
    "an exit function registered before configure": (
        "atexit.register(burst); setup()",
        0,
    ),
    "the first log call ever, in an exit function": (
        "setup(); atexit.register(burst)",
        0,
    ),
    "without a queue": ("pylog_struct.configure(format='json'); burst()", 0),
    "without a queue, in an exit function": (
        "pylog_struct.configure(format='json'); atexit.register(burst)",
        0,
    ),
    "configured in an exit function": ("atexit.register(lambda: (setup(), burst()))", 0),
    "child of os.fork that leaves by sys.exit": (
        """
setup()
if os.fork() == 0:
    burst(); sys.exit(0)
assert os.wait()[1] == 0""",
        0,
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_all_1000_arrive_once_and_the_exit_code_stands(ending):
    script, code = ENDINGS[ending]

    done = run(SETUP + script)

    numbers = [event["number"] for event in done.named("burst")]
    assert len(numbers) == 1000, done.stderr
    assert sorted(numbers) == list(range(1000))
    assert done.code == code
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("level", ["info", "error"])
@pytest.mark.parametrize("queued", [True, False])
@pytest.mark.parametrize("first", [True, False], ids=["first event ever", "after others"])
def test_logging_in_del_while_the_interpreter_is_taken_down_is_not_silent(queued, level, first):
    done = run(
        f"""
        import pylog_struct, structlog
        from pylog_struct.sinks import QueueSink, StreamSink

        sink = StreamSink("stdout")
        pylog_struct.configure(sink=QueueSink(sink) if {queued} else sink, format="json")

        class Late:
            def __init__(self, number):
                self.number, self.log = number, log
            def __del__(self):
                self.log.{level}("late", number=self.number)

        log = structlog.get_logger().bind()
        if not {first}:
            log.info("other")
        keep = [Late(number) for number in range(200)]
        """
    )

    # The sinks are closed by then: stderr is all there is, and says every one in full.
    reported = [line for line in done.stderr.splitlines() if '"event":"late"' in line]
    assert len(reported) == 200
    assert "Traceback" not in done.stderr
    assert done.code == 0


def test_multiprocessing_children_lose_and_repeat_nothing_without_a_hook():
    done = run(
        SETUP
        + """
import multiprocessing
def work(name):
    burst(structlog.get_logger(name))
setup()
burst(structlog.get_logger("parent"), 0, 500)
context = multiprocessing.get_context("fork")
children = [context.Process(target=work, args=(f"child-{n}",)) for n in range(3)]
for child in children: child.start()
burst(structlog.get_logger("parent"), 500, 1000)
for child in children: child.join()
assert [child.exitcode for child in children] == [0, 0, 0]
"""
    )

    assert done.code == 0, done.stderr
    events = [(event["logger"], event["number"]) for event in done.named("burst")]
    assert len(events) == len(set(events)) == 4000


def test_a_pool_of_forked_workers():
    done = run(
        SETUP
        + """
import multiprocessing
def work(number):
    structlog.get_logger("pool").info("job", number=number)
    logging.getLogger("pool").info("stdlib job", extra={"number": number})
setup()
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(work, range(200))
    pool.close()
    pool.join()
"""
    )

    assert done.code == 0, done.stderr
    assert sorted(event["number"] for event in done.named("job")) == list(range(200))
    assert sorted(event["number"] for event in done.named("stdlib job")) == list(range(200))


@pytest.mark.parametrize("queued", [True, False])
def test_with_every_sink_blocked_the_interpreter_still_exits(queued):
    began = time.monotonic()
    done = run(
        SETUP
        + f"""
class Stuck:
    def write(self, batch): threading.Event().wait()
    def flush(self, timeout=None): threading.Event().wait()
    def close(self, timeout=None): threading.Event().wait()
if {queued}:
    pylog_struct.configure(sink=QueueSink(Stuck(), spill=False), shutdown_timeout=0.5)
    burst(last=10)
else:
    pylog_struct.configure(sink=Stuck(), shutdown_timeout=0.5)
    threading.Thread(target=burst, daemon=True).start()
    time.sleep(0.2)
sys.stdout.write("end of main\\n")
"""
    )

    assert time.monotonic() - began < 30
    assert done.code == 0
    assert "end of main" in done.stdout
    assert "Traceback" not in done.stderr
    if queued:
        assert "10 record(s) abandoned" in done.stderr
    else:
        assert "shutdown: locked" in done.stderr


def test_pytest_ends_with_everything_written(tmp_path):
    (tmp_path / "test_it.py").write_text(
        SETUP + "\ndef test_it():\n    setup(stdlib=False, warnings=False)\n    burst()\n"
    )

    done = run(
        "import pytest, sys; sys.exit(pytest.main(['-q', '-s', '-p', 'no:cacheprovider', sys.argv[1]]))",
        tmp_path,
    )

    assert done.code == 0, done.stdout[-2000:]
    assert sorted(event["number"] for event in done.named("burst")) == list(range(1000))


class TestUncaught:
    def test_in_the_main_thread(self):
        done = run(SETUP + "setup(); burst(last=1); raise ValueError('boom')")

        assert done.code == 1
        event = done.named("uncaught exception")[0]
        assert (event["level"], event["exception"]["message"]) == ("critical", "boom")
        assert "Traceback" not in done.stderr

    def test_the_traceback_is_on_stderr_when_no_sink_is_a_stream(self):
        done = run(SETUP + "pylog_struct.configure(sink=NullSink()); raise ValueError('boom')")

        assert done.code == 1
        assert "ValueError: boom" in done.stderr

    def test_an_interrupt_ends_the_process_as_it_always_did(self):
        done = run(SETUP + "setup(); raise KeyboardInterrupt")

        assert done.code in (130, -2)
        assert not done.named("uncaught exception")
        assert "KeyboardInterrupt" in done.stderr

    def test_in_a_thread_in_asyncio_and_unraisable(self):
        done = run(
            SETUP
            + """
import gc
setup()
def fail(): raise ValueError("in a thread")
thread = threading.Thread(target=fail, name="worker"); thread.start(); thread.join()
class Loud:
    def __del__(self): raise ValueError("in del")
Loud(); gc.collect()
async def task(): raise ValueError("in a task")
async def main():
    asyncio.create_task(task())
    await asyncio.sleep(0.01)
    gc.collect()
asyncio.run(main())
"""
        )

        assert done.code == 0
        shown = {
            event["event"].partition("\n")[0]: event["exception"]["message"]
            for event in done.events
        }
        assert shown["uncaught exception in thread"] == "in a thread"
        assert shown["unraisable exception"] == "in del"
        assert shown["Task exception was never retrieved"] == "in a task"
        assert "Traceback" not in done.stderr


def test_warnings_of_a_script_are_events():
    done = run(
        SETUP + "import warnings; setup(); warnings.warn('old', DeprecationWarning, stacklevel=1)",
        options=["-W", "always"],
    )

    event = done.named("old")[0]
    assert (event["logger"], event["category"]) == ("py.warnings", "DeprecationWarning")
    assert done.stderr == ""


def test_leaving_by_os_exit_takes_the_backlog_along_as_documented():
    process = start(SETUP + "Slow.seconds = 600; setup(); burst(); os._exit(7)")

    done = finish(process)

    assert done.code == 7
    assert not done.named("burst")
