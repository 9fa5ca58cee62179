"""The sanitiser on its own: limits, paths, keys, and what happens to what cannot be shown."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time

import pytest
from support.payloads import (
    PAYLOADS,
    GoodMapping,
    GoodSequence,
    RaisingRepr,
    laughs,
    nested_dict,
    nested_list,
)

from pylog_struct.processors import _bounded_call, _snapshot
from pylog_struct.processors.limits import Limits
from pylog_struct.processors.sanitise import Sanitiser, sanitise


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.name)
def test_what_comes_out_comes_out_again_unchanged(payload):
    once = sanitise(payload.make())

    if " more" not in str(once):  # a second pass cuts the mark of the first
        assert sanitise(once) == once
    json.dumps(once, allow_nan=False).encode()


class TestPaths:
    def test_a_cycle_names_its_ancestor(self):
        inner = {}
        value = {"a": {"b": inner}}
        inner["again"] = [value["a"]["b"], value["a"], value]

        assert sanitise(value)["a"]["b"]["again"] == [
            "<circular: $.a.b>",
            "<circular: $.a>",
            "<circular: $>",
        ]

    def test_steps_that_are_no_names_are_quoted(self):
        inner = []
        inner.append(inner)

        assert sanitise({"a b": [inner]})["a b"] == [['<circular: $["a b"][0]>']]

    def test_long_steps_are_cut(self):
        inner = []
        inner.append(inner)
        (shown,) = sanitise({"k" * 1000: inner}).values()

        assert len(shown[0]) < 120

    def test_trouble_names_the_first_place(self):
        sanitiser = Sanitiser()
        sanitiser.value({"fine": object(), "bad": [0, RaisingRepr(), RaisingRepr()]}, 1)

        assert sanitiser.trouble == "$.bad[1]: <unrepresentable RaisingRepr: RuntimeError>"

    def test_no_trouble_with_ordinary_objects(self):
        sanitiser = Sanitiser()
        sanitiser.value({1: {2}, "x": object(), "f": len, "nan": float("nan")}, 1)

        assert sanitiser.trouble is None


class TestLimits:
    def test_depth(self):
        limits = Limits(max_depth=3)

        assert sanitise(nested_list(3), limits=limits) == [[["bottom"]]]
        assert sanitise(nested_list(4), limits=limits) == [[["<depth>"]]]
        assert sanitise(nested_dict(4), limits=limits) == {"k": {"k": {"k": "<depth>"}}}

    def test_items(self):
        limits = Limits(max_items=2)

        assert sanitise([1, 2, 3, 4], limits=limits) == [1, 2, "<… 2 more>"]
        assert sanitise({"a": 1, "b": 2, "c": 3}, limits=limits) == {
            "a": 1,
            "b": 2,
            "…": "<… 1 more>",
        }
        assert sanitise({"…": 1, "b": 2, "c": 3}, limits=limits) == {
            "…": 1,
            "b": 2,
            "… (more)": "<… 1 more>",
        }
        assert sanitise(GoodSequence(1, 2, 3), limits=limits) == [1, 2, "<… 1 more>"]
        assert sanitise(GoodMapping({1: 1, 2: 2, 3: 3}), limits=limits) == {
            "1": 1,
            "2": 2,
            "…": "<… 1 more>",
        }
        assert sanitise({1, 2, 3}, limits=limits)[-1] == "<… 1 more>"

    def test_nodes_are_shared_fairly_between_the_keys_of_an_event(self):
        shown = sanitise({"greedy": laughs(), "modest": [1, 2, 3]}, limits=Limits(max_nodes=1000))

        assert shown["modest"] == [1, 2, 3]
        assert len(str(shown)) < 40_000

    def test_text_is_shared_fairly_between_the_keys_of_an_event(self):
        shown = sanitise(
            {"greedy": ["x" * 1000] * 100, "modest": "y" * 100}, limits=Limits(max_text=10_000)
        )

        assert shown["modest"] == "y" * 100
        assert len(str(shown)) < 20_000

    def test_time_is_linear_in_what_is_kept(self):
        """A hundred times more members cost no more than ten times the time."""
        few, many = list(range(20_000)), list(range(2_000_000))

        def best(value):
            times = []
            for _ in range(3):
                started = time.perf_counter()
                sanitise(value)
                times.append(time.perf_counter() - started)
            return min(times)

        assert best(many) < 10 * best(few)

    def test_depth_needs_no_stack(self):
        value = nested_list(100_000)
        limit = sys.getrecursionlimit()

        assert "<depth>" in str(sanitise(value))
        assert sys.getrecursionlimit() == limit


class TestKeys:
    def test_order_is_that_of_the_dict(self):
        assert list(sanitise({2: 1, "b": 2, None: 3, "a": 4})) == ["2", "b", "null", "a"]

    def test_none_is_lost_whatever_collides(self):
        keys = [1, "1", 1.5, "1.5", b"1", True.__class__, "bool", None, "null", ("a",), "('a',)"]
        shown = sanitise(dict.fromkeys(keys, 0))

        assert len(shown) == len(keys)


class TestForeignCode:
    def test_a_mapping_that_does_not_come_back(self):
        release = threading.Event()

        class Stuck(GoodMapping):
            def items(self):
                release.wait()
                return []

        try:
            shown = sanitise([Stuck({}), Stuck({})], limits=Limits(repr_seconds=0.05))
        finally:
            release.set()
            while _bounded_call._memory.lost_threads():
                time.sleep(0.001)

        assert shown == [
            "<unrepresentable Stuck: items took longer than 0.05 s>",
            "<unrepresentable Stuck: items is known to be slow>",
        ]

    def test_pydantic_models_are_dumped_without_their_hidden_fields(self):
        pydantic = pytest.importorskip("pydantic")

        class Model(pydantic.BaseModel):
            name: str
            when: set[int]
            password: str = pydantic.Field(repr=False)
            skipped: int = pydantic.Field(1, exclude=True)
            token: pydantic.SecretStr

        class Root(pydantic.RootModel[list[int]]):
            pass

        model = Model(name="a", when={1}, password="hidden", token="hidden")

        assert sanitise(model) == {"name": "a", "when": [1], "token": "SecretStr('**********')"}
        assert sanitise(Root([1])) == {"root": [1]}

    def test_an_unpaired_item_is_contained(self):
        class Odd(GoodMapping):
            def items(self):
                return [1, 2]

        assert sanitise(Odd({})) == "<unrepresentable Odd: TypeError>"

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_interrupts_pass(self, monkeypatch, error):
        class Interrupting(dict):
            pass

        def pairs(*args):
            raise error

        monkeypatch.setattr(_snapshot, "pairs", pairs)
        with pytest.raises(error):
            sanitise([Interrupting()])

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_interrupts_pass_from_keys(self, monkeypatch, error):
        def call(*args, **kwargs):
            raise error

        monkeypatch.setattr(_bounded_call, "call", call)
        with pytest.raises(error):
            sanitise({RaisingRepr(): 1})


class Restless:
    """Lets the first attempts to iterate fail, as a container changed by another thread does."""

    def __init__(self, failures):
        self.failures = itertools.repeat(None, failures)

    def fail(self):
        for _ in self.failures:
            raise RuntimeError("dictionary changed size during iteration")


class TestSnapshots:
    def test_are_tried_again(self, monkeypatch):
        restless = Restless(5)

        def islice(*args):
            restless.fail()
            return itertools.islice(*args)

        monkeypatch.setattr(_snapshot, "islice", islice)

        assert _snapshot.pairs({"a": 1}, 10) == ([("a", 1)], 0)

    def test_fall_back_to_a_whole_copy(self, monkeypatch):
        restless = Restless(10**9)

        def islice(*args):
            restless.fail()

        monkeypatch.setattr(_snapshot, "islice", islice)

        assert _snapshot.pairs({"a": 1, "b": 2}, 1) == ([("a", 1)], 1)
        assert _snapshot.members({1, 2}, 1) == ([1], 1)


def test_a_class_whose_module_is_imported_late_is_known_from_its_first_instance():
    """What takes long to import is left to those who use it: nobody else has an instance."""
    code = """
import sys
sys.modules["rich"] = None
from pylog_struct.processors.json_renderer import render_json
assert not {"fractions", "pathlib"} & set(sys.modules)
print(render_json({"a": object}).decode())
from fractions import Fraction
from pathlib import PurePosixPath
class Place(PurePosixPath): ...
for _ in range(2):
    values = [Fraction(1, 3), PurePosixPath("/x"), Place("/y")]
    print(render_json({"a": values, "b": {Fraction(1, 3): 1}, "c": {Place("/z"): 2}}).decode())
"""
    # A process that coverage measures has imported half of the library for that.
    unmeasured = {key: value for key, value in os.environ.items() if "COVERAGE" not in key}
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        env=unmeasured,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == [
        '{"a":"object"}',
        *2 * ('{"a":["1/3","/x","/y"],"b":{"1/3":1},"c":{"/z":2}}',),
    ]
