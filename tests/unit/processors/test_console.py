"""The console format: one line an event for people; nothing from outside acts on the terminal."""

from __future__ import annotations

import pickle
import re
import unicodedata

import pytest
from support.payloads import PAYLOADS, RaisingRepr

from pylog_struct.processors import console
from pylog_struct.processors.console import ConsoleRenderer, escape_controls
from pylog_struct.processors.exceptions import describe_exception
from pylog_struct.processors.limits import Limits

STAMP = "2026-11-23T19:34:57.123456Z"
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
CONTROLS = [
    chr(code) for code in [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0xFEFF]
] + list(BIDI)
COLORS = re.compile("\x1b\\[[0-9;]*m")


def shown(colors=False, **event):
    return ConsoleRenderer(colors)(None, "info", event).decode()


class TestLayout:
    def test_of_an_ordinary_event(self):
        line = shown(
            timestamp=STAMP,
            level="info",
            logger="shop.orders",
            event="order placed",
            order_id=7,
            user="ann",
        )

        assert (
            line
            == f"{STAMP} [info    ] order placed                   order_id=7 user=ann [shop.orders]"
        )

    def test_without_keys_nothing_is_padded(self):
        assert shown(level="warning", event="careful") == "[warning ] careful"

    def test_of_nothing(self):
        assert shown() == ""

    def test_keys_line_up(self):
        first, second = shown(event="a", k=1), shown(event="longer", k=1)

        assert first.index("k=") == second.index("k=") == 31

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("bare-word/1.0", "bare-word/1.0"),
            ("two words", '"two words"'),
            ("", '""'),
            ('say "hi"', '"say \\"hi\\""'),
            ("a=b", '"a=b"'),
            ("back\\slash", '"back\\\\slash"'),
            (1, "1"),
            (1.5, "1.5"),
            (None, "null"),
            (True, "true"),
            ([1, "a"], '[1,"a"]'),
            ({"a": {1: 2}}, '{"a":{"1":2}}'),
            (2**70, str(2**70)),
            (float("nan"), "null"),
        ],
    )
    def test_values(self, value, text):
        assert shown(k=value).strip() == f"k={text}"

    def test_an_exception_stands_below_indented(self):
        try:
            raise ValueError("boom\nof two lines")
        except ValueError as error:
            described = describe_exception(error)
        lines = shown(event="failed", exception=described).split("\n")

        assert lines[0] == "failed"
        assert lines[1] == "    Traceback (most recent call last):"
        assert lines[-2:] == ["    ValueError: boom", "    of two lines"]

    def test_text_in_the_place_of_an_exception(self):
        assert shown(event="failed", exception="Traceback:\n  x").split("\n") == [
            "failed",
            "    Traceback:",
            "      x",
        ]
        assert shown(event="failed", exception={"odd": 1}).split("\n") == [
            "failed",
            '    {"odd":1}',
        ]
        assert shown(event="failed", exception=None) == "failed"

    def test_a_stack_stands_below_too(self):
        assert shown(event="here", stack="Stack:\n  x").split("\n") == [
            "here",
            "    Stack:",
            "      x",
        ]

    def test_colors_change_nothing_but_the_colors(self):
        event = {"timestamp": STAMP, "level": "error", "logger": "a", "event": "x", "k": "v w"}
        colored = shown(colors=True, **event)

        assert COLORS.sub("", colored) == shown(**event)
        assert "\x1b[31merror   \x1b[0m" in colored

    def test_a_level_without_a_color_of_its_own(self):
        assert COLORS.sub("", shown(colors=True, level="odd", event="x")) == "[odd     ] x"

    def test_the_event_dict_is_left_alone(self):
        event = {"event": "x", "k": [1], "level": "info"}
        ConsoleRenderer()(None, "info", event)

        assert event == {"event": "x", "k": [1], "level": "info"}


@pytest.mark.parametrize("colors", [False, True])
@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: f"U+{ord(control):04X}")
class TestInjection:
    def assert_clean(self, text, colors):
        text = COLORS.sub("", text) if colors else text
        raw = [
            c
            for c in text
            if c != "\n" and (unicodedata.category(c) in {"Cc", "Zl", "Zp"} or c in BIDI)
        ]
        assert raw == []

    def test_nothing_raw_reaches_the_terminal(self, control, colors):
        odd = f"a{control}[31mb"
        text = shown(
            colors,
            **{
                "timestamp": odd,
                "level": odd,
                "logger": odd,
                "event": odd,
                odd: odd,
                "list": [odd, {odd: odd}],
            },
        )

        assert "\n" not in text
        self.assert_clean(text, colors)
        assert escape_controls(control) in text

    def test_nor_through_an_exception(self, control, colors):
        error = ValueError(f"boom{control}{STAMP} [error   ] forged")
        error.add_note(f"note{control}x")
        text = shown(
            colors, event="failed", exception=describe_exception(error), stack=f"a{control}b"
        )
        first, *below = text.split("\n")

        assert COLORS.sub("", first) == "failed"
        assert all(line.startswith("    ") for line in below)
        self.assert_clean(text, colors)


def test_escapes_are_readable():
    assert escape_controls("\n\r\t\x1b\x00\x85\u2028\u202e") == r"\n\r\t\x1b\x00\x85\u2028\u202e"
    assert escape_controls("plain ünïcödé \U0001f600 \\n") == "plain ünïcödé \U0001f600 \\n"
    assert escape_controls("\ud800") == r"\ud800"


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.name)
def test_any_payload_anywhere_makes_one_line(payload):
    for event in (
        {"event": payload.make()},
        {"event": "x", "k": payload.make()},
        {"level": payload.make(), "timestamp": payload.make(), "logger": payload.make()},
    ):
        line = ConsoleRenderer()(None, "info", event)

        assert b"\n" not in line
        assert len(line) < 20_000_000
        line.decode("utf-8")


class TestFailure:
    @pytest.mark.parametrize("event", [None, 5, [], object(), RaisingRepr()])
    def test_no_dict_at_all(self, event):
        assert ConsoleRenderer()(None, "info", event)

    @pytest.fixture
    def broken(self, monkeypatch):
        def fail(self, value, depth):
            raise MemoryError("no\nroom")

        monkeypatch.setattr(console.Sanitiser, "value", fail)

    def test_a_stub(self, broken):
        calls = []
        line = ConsoleRenderer(on_error=lambda *call: calls.append(call))(
            None, "info", {"event": "x"}
        )

        assert line == b"<unrenderable dict: MemoryError('no\\nroom')>"
        assert [(stage, type(error)) for stage, error in calls] == [("render", MemoryError)]

    def test_a_hook_that_raises(self, broken):
        def hook(stage, error):
            raise RuntimeError

        assert ConsoleRenderer(on_error=hook)(None, "info", {}).startswith(b"<unrenderable dict")

    def test_not_even_a_stub(self, broken, monkeypatch):
        monkeypatch.setattr(console, "type_name", None)

        assert ConsoleRenderer()(None, "info", {}) == b"<unrenderable event: no memory or stack>"

    @pytest.mark.parametrize("step", ["Sanitiser", "safe_repr"])
    def test_an_interrupt_passes(self, monkeypatch, step):
        def interrupted(*args):
            raise KeyboardInterrupt

        if step == "safe_repr":
            monkeypatch.setattr(console, "Sanitiser", None)
        monkeypatch.setattr(console, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            ConsoleRenderer()(None, "info", {})


def test_can_be_pickled():
    renderer = pickle.loads(
        pickle.dumps(ConsoleRenderer(True, limits=Limits(max_items=5), event_width=3))
    )

    assert COLORS.sub("", renderer(None, "info", {"event": "a", "k": 1}).decode()) == "a   k=1"
