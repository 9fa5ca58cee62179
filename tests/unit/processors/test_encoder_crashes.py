"""What takes the whole process down when the encoder sees it, and that ours never does.

Each program runs in a process of its own, so that a crash is seen as one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

PREAMBLE = """
import dataclasses, datetime, enum, json, resource, sys, threading, uuid
import orjson
from pylog_struct.processors.json_renderer import render_json

OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS

def render(value):
    if sys.argv[1] == "orjson":
        print(len(orjson.dumps({"value": value}, option=int(sys.argv[2]))))
    else:
        print(json.dumps(json.loads(render_json({"event": "x", "value": value}))["value"])[:200])
"""

# Each builds one value that the bare encoder must not see.
VILLAINS = {
    "a tzinfo that raises": """
        class Zone(datetime.tzinfo):
            def utcoffset(self, moment): raise RuntimeError
        render(datetime.datetime(2024, 1, 1, tzinfo=Zone()))
    """,
    "an enum whose value raises": """
        class Odd(enum.Enum):
            ONE = 1
            @property
            def value(self): raise RuntimeError
        render(Odd.ONE)
    """,
    "an enum whose value is itself": """
        class Odd(enum.Enum):
            ONE = 1
            @property
            def value(self): return self
        render(Odd.ONE)
    """,
    "an enum that empties the list that it is in": """
        members = []
        class Odd(enum.Enum):
            ONE = 1
            @property
            def value(self):
                members.clear()
                keep.append([bytes(1000) for _ in range(1000)])
                return 1
        for _ in range(20):
            keep = []
            members.extend(Odd.ONE if n % 2 else "x" * 50 + str(n) for n in range(5000))
            render(members)
    """,
    "a uuid that was never initialised": """
        render(uuid.UUID.__new__(uuid.UUID))
    """,
    "a dataclass with an empty slot": """
        @dataclasses.dataclass(slots=True)
        class Odd:
            field: int
        render(Odd.__new__(Odd))
    """,
    "a small value that unfolds to gigabytes": """
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        value = "lol"
        for _ in range(9): value = [value] * 10
        render(value)
    """,
    "text that the memory does not hold twice": """
        text = "a" * (300 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (800 << 20, 800 << 20))
        render([text, text])
    """,
    "a list of a hundred thousand levels": """
        value = []
        for _ in range(100_000): value = [value]
        render(value)
    """,
    "a fragment that is no JSON": """
        render(orjson.Fragment(b"not json \\n"))
    """,
    "eight threads that change it": """
        shared = {f"k{n}": {"a": [n]} for n in range(200)}
        stop = threading.Event()
        sys.setswitchinterval(1e-6)
        def change():
            n = 0
            while not stop.is_set():
                n += 1
                shared[f"n{n % 500}"] = {"v": "v" * (n % 100)}
                shared.pop(f"n{n * 7 % 500}", None)
        threads = [threading.Thread(target=change) for _ in range(8)]
        for thread in threads: thread.start()
        for _ in range(50): render(shared)
        stop.set()
        for thread in threads: thread.join()
    """,
}


def run(program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(program), *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


@pytest.mark.parametrize("name", VILLAINS)
def test_no_villain_takes_the_process_down(name):
    done = run(VILLAINS[name], "ours")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


def test_the_bare_encoder_can_be_taken_down():
    """If this fails the encoder has become robust, and the copy before it may be thought over."""
    done = run(VILLAINS["an enum whose value raises"], "orjson", "0")

    assert done.returncode != 0
