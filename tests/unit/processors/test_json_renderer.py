"""The renderer that cannot fail: every odd payload, one strict JSON line, the good parts in place."""

from __future__ import annotations

import copy
import math
import pickle
import re
import sys
import threading

import orjson
import pytest
from support.payloads import PAYLOADS, UNSAID, RaisingRepr, nested_list, strict_loads

from pylog_struct.processors import _bounded_call, json_renderer
from pylog_struct.processors.json_renderer import JSONRenderer, render_json
from pylog_struct.processors.limits import Limits

BY_NAME = {payload.name: payload for payload in PAYLOADS}

_TOO_SLOW = re.compile(r"known to be slow|took longer than")


def rendered(value, **options):
    event = {"event": "odd", "before": 1, "value": value, "after": [2]}
    line = render_json(event, **options)
    assert b"\n" not in line
    document = strict_loads(line)
    assert list(document) == ["event", "before", "value", "after"]
    assert (document["event"], document["before"], document["after"]) == ("odd", 1, [2])
    return document["value"]


def test_the_corpus_is_wide():
    assert len(PAYLOADS) >= 100
    assert len(BY_NAME) == len(PAYLOADS)


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.name)
class TestEveryPayload:
    def test_becomes_strict_json_with_its_neighbours_in_place(self, payload):
        shown = rendered(payload.make())
        for _ in range(
            10
        ):  # on a busy machine anything may take too long; that is not the question
            if (
                payload.shown is UNSAID
                or shown == payload.shown
                or not _TOO_SLOW.search(str(shown))
            ):
                break
            _bounded_call.forget()
            shown = rendered(payload.make())

        if payload.shown is not UNSAID:
            assert shown == payload.shown
            assert type(shown) is type(payload.shown)

    def test_is_bounded(self, payload):
        line = render_json({"event": "odd", "value": payload.make()})

        assert len(line) <= 8_000_000

    def test_costs_only_its_own_member_of_a_list(self, payload):
        shown = rendered([1, payload.make(), 2])

        assert shown[0] == 1
        assert shown[2] == 2

    def test_as_the_event_itself(self, payload):
        document = strict_loads(render_json({"level": "info", "event": payload.make()}))

        assert document["level"] == "info"

    def test_reaches_the_encoder_as_exact_builtins_only(self, payload, monkeypatch):
        """What crashes the encoder never gets there: it sees nothing that could run Python code."""
        seen = []

        def spy(document):
            seen.append(document)
            return b"{}"

        value = payload.make()
        monkeypatch.setattr(json_renderer.orjson, "dumps", spy)
        render_json({"event": "odd", "value": value, 1: 2})
        monkeypatch.undo()

        assert seen
        stack = list(seen)
        while stack:
            node = stack.pop()
            assert type(node) in {dict, list, str, int, float, bool, type(None)}
            if type(node) is dict:
                stack += node.values()
            elif type(node) is list:
                stack += node
            elif type(node) is str:
                assert len(node) < 300_000


class TestMisuse:
    @pytest.mark.parametrize("event", [None, 5, "text", [], object(), RaisingRepr(), {}])
    def test_an_event_that_is_no_dict_still_makes_an_object(self, event):
        assert type(strict_loads(render_json(event))) is dict

    def test_odd_keys_of_the_event_itself(self):
        document = strict_loads(render_json({"event": "x", 1: "a", "1": "b", "\ud800": "c"}))

        assert document == {"event": "x", "1 (int)": "a", "1": "b", "\\ud800": "c"}

    def test_more_keys_than_allowed(self):
        limits = Limits(max_items=3)
        document = strict_loads(render_json(dict.fromkeys("abcde", 1), limits=limits))

        assert document == {"a": 1, "b": 1, "c": 1, "…": "<… 2 more>"}

    def test_a_key_that_is_too_long_is_cut(self):
        line = render_json({"event": "x", "k" * 1000: 1}, limits=Limits(max_string=300))

        assert len(line) < 400
        assert strict_loads(line)["k" * 300 + "… [700 more characters]"] == 1


class TestLimitsHoldOnTheQuickPathToo:
    """Whether an event needs the sanitiser or not, the same limits give the same line."""

    @pytest.mark.parametrize(
        "value",
        [
            nested_list(7),
            nested_list(8),
            list(range(20)),
            list(range(21)),
            "x" * 50,
            "x" * 51,
            [["y" * 30] * 3],
        ],
        ids=repr,
    )
    def test_same_line(self, value):
        limits = Limits(max_depth=8, max_items=20, max_string=50, max_text=200)
        quick = strict_loads(render_json({"event": "x", "value": value}, limits=limits))
        full = strict_loads(
            render_json({"event": "x", "value": value, "odd": object()}, limits=limits)
        )

        assert quick["value"] == full["value"]

    def test_total_members(self):
        value = [[0] * 10] * 10
        shown = rendered_with_few_nodes(value)

        assert str(shown).count("0,") + str(shown).count("0]") == 29
        assert len(shown["value"]) == 10

    def test_depth_of_a_dict(self):
        limits = Limits(max_depth=2)

        assert strict_loads(render_json({"a": {"b": {"c": 1}}}, limits=limits)) == {
            "a": {"b": "<depth>"}
        }


def rendered_with_few_nodes(value):
    return strict_loads(render_json({"value": value}, limits=Limits(max_nodes=40)))


class TestErrorsAreTold:
    def told(self, value, **options):
        calls = []
        render_json(
            {"event": "x", "value": value}, on_error=lambda *call: calls.append(call), **options
        )
        return [(stage, type(error)) for stage, error in calls]

    @pytest.mark.parametrize(
        "name", ["none", "uuid", "aware", "enum", "dataclass", "nan", "plain repr"]
    )
    def test_nothing_for_what_has_a_documented_shape(self, name):
        assert self.told(BY_NAME[name].make()) == []

    @pytest.mark.parametrize(
        "name", ["lone surrogate", "2**64", "circular dict", "300 levels", "raising repr"]
    )
    def test_sanitise_for_what_was_replaced(self, name):
        assert self.told(BY_NAME[name].make()) == [("sanitise", TypeError)]

    def test_the_reason_names_the_place(self):
        calls = []
        value = {"a b": [1, RaisingRepr()]}
        render_json({"value": value}, on_error=lambda *call: calls.append(str(call[1])))

        assert calls == ['$.value["a b"][1]: <unrepresentable RaisingRepr: RuntimeError>']

    def test_a_hook_that_raises_is_contained(self):
        def hook(stage, error):
            raise RuntimeError

        assert strict_loads(render_json({"event": "\ud800"}, on_error=hook)) == {"event": "\\ud800"}

    def test_an_interrupt_in_the_hook_is_not(self):
        def hook(stage, error):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            render_json({"event": "\ud800"}, on_error=hook)


class TestStrict:
    @pytest.mark.parametrize(
        "name", ["lone surrogate", "2**64", "int key", "circular dict", "raising repr"]
    )
    def test_errors_come_through(self, name):
        with pytest.raises(TypeError):
            render_json({"event": "x", "value": BY_NAME[name].make()}, strict=True)

    @pytest.mark.parametrize("name", ["uuid", "aware", "dataclass", "plain repr", "good mapping"])
    def test_documented_shapes_are_no_errors(self, name):
        assert render_json({"event": "x", "value": BY_NAME[name].make()}, strict=True)


class TestTheStub:
    @pytest.fixture
    def broken(self, monkeypatch):
        def value(self, value, depth):
            raise MemoryError("no room")

        monkeypatch.setattr(json_renderer.Sanitiser, "value", value)

    def test_keeps_what_identifies_the_event(self, broken):
        calls = []
        event = {
            "timestamp": "t",
            "level": "info",
            "logger": "a\ud800",
            "event": "x" * 2000,
            "odd": object(),
        }
        document = strict_loads(render_json(event, on_error=lambda *call: calls.append(call)))

        assert document["timestamp"] == "t"
        assert document["level"] == "info"
        assert document["logger"] == "a\\ud800"
        assert document["event"].startswith("x" * 1000 + "…")
        assert document["render_error"] == "MemoryError: MemoryError('no room')"
        assert [(stage, type(error)) for stage, error in calls] == [("render", MemoryError)]

    def test_without_an_event(self, broken):
        assert strict_loads(render_json(object()))["event"] == "<unrenderable object>"

    def test_an_event_that_is_no_text(self, broken):
        assert strict_loads(render_json({"event": {1: object}}))["event"].startswith("{1: <class")

    def test_strict_raises(self, broken):
        with pytest.raises(MemoryError):
            render_json({"event": object()}, strict=True)

    def test_when_even_the_encoder_fails(self, monkeypatch):
        def dumps(document):
            raise MemoryError

        monkeypatch.setattr(json_renderer.orjson, "dumps", dumps)
        document = strict_loads(render_json({"event": "x"}))

        assert document["event"] == "<unrenderable event>"

    @pytest.mark.parametrize("step", ["_plain", "Sanitiser", "_stub"])
    def test_an_interrupt_passes_every_step(self, monkeypatch, step):
        def interrupted(*args):
            raise KeyboardInterrupt

        if step == "_stub":
            monkeypatch.setattr(json_renderer, "Sanitiser", lambda limits: 1 / 0)
            monkeypatch.setattr(json_renderer, "type_name", interrupted)
        else:
            monkeypatch.setattr(json_renderer, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            render_json({"value": object()})


def test_with_hardly_any_stack_left():
    """An event logged at the bottom of a runaway recursion comes out."""
    lines = []

    def down():
        try:
            down()
        finally:
            if len(lines) < 50:
                lines.append(render_json({"event": "deep", "value": [[object()]]}))

    limit = sys.getrecursionlimit()
    with pytest.raises(RecursionError):
        down()

    assert sys.getrecursionlimit() == limit
    assert len(lines) == 50
    assert strict_loads(lines[-1])["event"] == "deep"


class TestCallersObjects:
    def test_are_never_changed(self):
        inner = {"b": [1, {2, 3}, float("nan"), {1: "\ud800"}]}
        event = {"event": "x", "a": inner}
        before = copy.deepcopy(event)
        render_json(event)

        assert repr(event) == repr(before)
        assert event["a"] is inner
        assert math.isnan(inner["b"][2])

    def test_generators_are_not_consumed(self):
        values = iter(range(3))
        render_json({"event": "x", "values": values, "more": (i for i in values)})

        assert list(values) == [0, 1, 2]

    def test_may_be_changed_by_other_threads_meanwhile(self):
        """Eight threads mutate what is being logged: no error, strict JSON, every time."""
        shared = {"dict": {}, "list": [], "set": set(), "odd": {1: object()}}
        shared["view"] = shared["dict"].values()
        stop = threading.Event()
        errors = []

        def mutate(seed):
            number = seed
            while not stop.is_set():
                number = (number * 1103515245 + 12345) % 2**31
                key = number % 500
                shared["dict"][f"k{key}"] = "v" * (key % 7)
                shared["dict"].pop(f"k{(key * 7) % 500}", None)
                shared["odd"][key] = number
                shared["odd"].pop((key * 3) % 500, None)
                shared["set"].add(key)
                shared["set"].discard((key * 5) % 500)
                shared["list"].append(number)
                if len(shared["list"]) > 300:
                    shared["list"].clear()

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        threads = [threading.Thread(target=mutate, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(60):
                line = render_json(
                    {"event": "x", **shared}, on_error=lambda *call: errors.append(call)
                )
                assert set(strict_loads(line)) == {"event", *shared}
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            sys.setswitchinterval(interval)

        assert errors == []


class TestProcessor:
    def test_renders_what_structlog_gives_it(self):
        assert JSONRenderer()(None, "info", {"event": "x"}) == b'{"event":"x"}'

    def test_passes_its_options_on(self):
        calls = []
        renderer = JSONRenderer(
            limits=Limits(max_string=3), on_error=lambda *call: calls.append(call)
        )

        assert (
            renderer(None, "info", {"event": "abcd"})
            == '{"event":"abc… [1 more characters]"}'.encode()
        )
        assert [stage for stage, _ in calls] == ["sanitise"]

    def test_strict(self):
        with pytest.raises(TypeError):
            JSONRenderer(strict=True)(None, "info", {"event": "\ud800"})

    def test_can_be_pickled(self):
        renderer = pickle.loads(
            pickle.dumps(JSONRenderer(limits=Limits(max_string=3), strict=False))
        )

        assert renderer(None, "info", {"event": "abcd"}).startswith(b'{"event":"abc')


def test_an_ordinary_event_is_what_orjson_makes_of_it():
    event = {
        "event": "x",
        "n": 1,
        "f": 0.5,
        "b": True,
        "z": None,
        "l": [1, ["a"]],
        "d": {"k": (1,)},
    }

    assert render_json(event) == orjson.dumps(event)
