"""Positional arguments: % as in the stdlib, and never an error in the caller."""

from __future__ import annotations

import decimal
import random
import time
import types

import pytest
from support.payloads import PAYLOADS, Number, RaisingRepr, RaisingStr

from pylog_struct.processors import interpolation
from pylog_struct.processors.interpolation import interpolate, positional_arguments
from pylog_struct.processors.limits import Limits


class TestFormats:
    @pytest.mark.parametrize(
        ("event", "args"),
        [
            ("took %d ms for %s", (12, "ann")),
            ("%5.1f%%", (99.95,)),
            ("%r and %a", ("é", "é")),
            ("%x %o %c %c", (255, 8, "a", 65)),
            ("%d %i", (decimal.Decimal("1.5"), Number.SEVEN)),
            ("%f", (decimal.Decimal("1.25"),)),
            ("%x", (Number.SEVEN,)),
            ("%s", ({},)),
            ("%s", ((1, 2),)),
            ("%s %s", ([1, "a"], {"b": None})),
            ("%*d|%-*s|", (5, 1, 3, "a")),
            ("%s", (None,)),
            ("%s", (ValueError("boom"),)),
        ],
        ids=repr,
    )
    def test_as_the_stdlib(self, event, args):
        assert interpolate(event, args) == (event % args, None)

    @pytest.mark.parametrize(
        "mapping", [{"user": "ann", "n": 3}, types.MappingProxyType({"user": "ann", "n": 3})]
    )
    def test_one_mapping_is_looked_up_by_name(self, mapping):
        assert interpolate("%(user)s has %(n)03d", (mapping,)) == ("ann has 003", None)

    def test_one_mapping_may_also_be_shown(self):
        assert interpolate("got %s", ({"a": [1]},)) == ("got {'a': [1]}", None)

    @pytest.mark.parametrize("event", ["100%", "%s %d", "{} {x} {0!r}", "%(x)s", ""])
    def test_without_arguments_nothing_is_formatted(self, event):
        assert interpolate(event, ()) == (event, None)

    def test_braces_are_data(self):
        assert interpolate("{} {x} %s", ({1},)) == ("{} {x} {1}", None)


class TestFailures:
    @pytest.mark.parametrize(
        ("event", "args", "error"),
        [
            ("a %s %d", ("b",), "TypeError: not enough arguments for format string"),
            ("a", ("b",), "TypeError: not all arguments converted during string formatting"),
            ("100%", (1,), "ValueError: incomplete format"),
            ("%y", (1,), "ValueError: unsupported format character 'y' (0x79) at index 1"),
            ("%(a)s", ({"b": 1},), "KeyError: 'a'"),
            ("%(a)s", (1,), "TypeError: format requires a mapping"),
            ("%d", ("b",), "TypeError: %d format: a real number is required, not str"),
            ("%d", (object(),), "ValueError: a number is required, not object"),
            ("%d", (b"12",), "ValueError: a number is required, not bytes"),
            ("%d", (decimal.Decimal("1E+999999"),), "ValueError: more than 4300 digits"),
            ("%d", (10**5000,), None),
            ("%c", (-1,), "OverflowError: %c arg not in range(0x110000)"),
            ("%99999d", (1,), "ValueError: a width or precision of 10000 or more"),
            ("%.99999f", (1.0,), "ValueError: a width or precision of 10000 or more"),
            ("%(a)99999d", ({"a": 1},), "ValueError: a width or precision of 10000 or more"),
            ("%*d", (10**9, 1), "ValueError: * with a number of 10000 or more among the arguments"),
            (
                "%-.*f",
                (10**9, 1.0),
                "ValueError: * with a number of 10000 or more among the arguments",
            ),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_the_text_stays_verbatim_and_the_error_is_told(self, event, args, error):
        text, told = interpolate(event, args)

        assert text == event
        assert told
        if error is not None:
            assert told == error

    @pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.name)
    @pytest.mark.parametrize("event", ["%s", "%r", "%d", "%(a)s", "a"])
    def test_any_argument(self, event, payload):
        text, error = interpolate(event, (payload.make(),))

        assert type(text) is str
        assert len(text) < 50_000 or payload.name == "50 MB of text"
        assert error is None or text == event

    def test_ten_thousand_random_messages(self):
        generator = random.Random(1)
        alphabet = "{}%\\()sdrxfc*.#0- 19ab\n\x00é"
        arguments = ["b", 1, 2.5, None, b"x", {"a": 1}, (1,), RaisingRepr(), {}]
        for _ in range(10_000):
            event = "".join(generator.choices(alphabet, k=generator.randrange(12)))
            args = tuple(generator.choices(arguments, k=generator.randrange(4)))
            text, error = interpolate(event, args)

            assert type(text) is str
            assert error is None or text == event

    def test_a_hostile_text_costs_linear_time(self):
        started = time.monotonic()
        for piece in ("%(", "%", "%0", "%-*", ")", "%(a)", ") 9", "%.9"):
            interpolate(piece * 200_000, (1,))
            interpolate(piece * 200_000, ({"a": 1},))

        assert time.monotonic() - started < 20


class TestOtherEvents:
    @pytest.mark.parametrize(
        ("event", "text"),
        [
            (b"abc", "abc"),
            (b"a\xff", "a\\xff"),
            (bytearray(b"abc"), "abc"),
            (ValueError("boom"), "ValueError: boom"),
            (KeyError(), "KeyError"),
            (RaisingStr("text"), "text"),
            (None, None),
            (5, 5),
            ({"a": 1}, {"a": 1}),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_without_arguments(self, event, text):
        shown, error = interpolate(event, ())

        assert shown == text
        assert error is None

    @pytest.mark.parametrize("event", [None, 5, {"a": 1}, ["%s"]])
    def test_what_is_no_text_takes_no_arguments(self, event):
        assert interpolate(event, (1,)) == (
            event,
            f"TypeError: an event of type {type(event).__name__} takes no arguments",
        )

    def test_text_made_from_bytes_does(self):
        assert interpolate(b"%d", (1,)) == ("1", None)

    def test_long_bytes_are_cut(self):
        assert interpolate(b"x" * 20, (), limits=Limits(max_string=5)) == (
            "xxxxx… [15 more bytes]",
            None,
        )

    def test_odd_bytes_are_left_to_the_renderer(self):
        class Odd(bytes):
            def __getitem__(self, index):
                raise RuntimeError

        event = Odd(b"x")

        assert interpolate(event, ())[0] is event


class TestInterrupts:
    @pytest.mark.parametrize("name", ["safe_str", "_formatted"])
    def test_pass(self, monkeypatch, name):
        def interrupted(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(interpolation, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            interpolate(ValueError() if name == "safe_str" else "%s", (1,))


class TestKeptArguments:
    def test_are_reprs(self):
        assert positional_arguments((1, "a", RaisingRepr())) == [
            "1",
            "'a'",
            "<unrepresentable RaisingRepr: RuntimeError>",
        ]

    def test_are_bounded(self):
        shown = positional_arguments(("x" * 100,) * 5, limits=Limits(max_items=2, max_repr=10))

        assert len(shown) == 3
        assert shown[-1] == "<… 3 more>"
        assert all(len(text) < 60 for text in shown)
