"""Exceptions as data: nothing lost, everything bounded, nothing secret."""

from __future__ import annotations

import linecache
import pickle
import sys
import traceback
import types

import pytest
from support.payloads import RaisingError, RaisingRepr, strict_loads

from pylog_struct.processors import _source, exceptions
from pylog_struct.processors.exceptions import (
    ExceptionFormatter,
    describe_exception,
    describe_stack,
    format_exception,
)
from pylog_struct.processors.json_renderer import render_json
from pylog_struct.processors.limits import Limits


def raised(error, cause=None):
    try:
        if cause is not None:
            raise error from cause
        raise error
    except BaseException as caught:
        return caught


def chain(length):
    """Causes that were never raised; the outermost says length - 1, the root cause says 0."""
    error = ValueError(0)
    for number in range(1, length):
        following = ValueError(number)
        following.__cause__ = error
        error = following
    return error


def messages(described):
    found = []
    while described is not None:
        found.append(described["message"])
        described = described.get("cause") or described.get("context")
    return found


class TestShape:
    def test_of_a_plain_one(self):
        described = describe_exception(raised(ValueError("boom")))

        assert list(described) == ["type", "message", "frames", "stack"]
        assert (described["type"], described["message"]) == ("ValueError", "boom")
        (frame,) = described["frames"]
        assert frame["file"] == __file__
        assert frame["function"] == "raised"
        assert frame["code"] == "raise error"
        assert type(frame["line"]) is int

    def test_the_stack_reads_like_the_traceback_modules(self):
        error = raised(KeyError("inner"), cause=raised(ValueError("outer")))
        expected = "".join(traceback.format_exception(error))
        expected = "\n".join(
            line for line in expected.split("\n") if set(line) - set(" ^~")
        ).strip()
        stack = describe_exception(error)["stack"]

        assert "\n".join(line for line in stack.split("\n") if line) == expected

    def test_of_a_class_with_a_module(self):
        described = describe_exception(type("Mine", (Exception,), {"__module__": "shop"})())

        assert (described["type"], described["module"]) == ("Mine", "shop")
        assert described["stack"] == "shop.Mine"

    def test_one_that_was_never_raised_has_no_frames(self):
        described = describe_exception(ValueError("boom"))

        assert described["frames"] == []
        assert described["stack"] == "ValueError: boom"

    def test_another_traceback_may_be_given(self):
        given = raised(KeyError()).__traceback__

        assert len(describe_exception(ValueError(), traceback=given)["frames"]) == 1

    def test_a_syntax_error_shows_its_line(self):
        with pytest.raises(SyntaxError) as caught:
            compile("x = 1\n  y = = 2\n", "config.py", "exec")
        described = describe_exception(caught.value)

        assert '  File "config.py", line 2\n    y = = 2' in described["stack"]
        assert (
            described["stack"]
            .rstrip()
            .split("\n")[-1]
            .startswith("IndentationError: unexpected indent")
        )

    def test_a_syntax_error_with_odd_parts(self):
        error = SyntaxError("bad")
        error.lineno, error.filename, error.text, error.offset = (
            RaisingRepr(),
            RaisingRepr(),
            "x",
            10**9,
        )
        stack = describe_exception(error)["stack"]

        assert stack.endswith("SyntaxError: bad")

    def test_notes(self):
        error = ValueError("boom")
        error.add_note("first")
        error.add_note("second\nline")
        described = describe_exception(error)

        assert described["notes"] == ["first", "second\nline"]
        assert described["stack"] == "ValueError: boom\nfirst\nsecond\nline"

    @pytest.mark.parametrize("notes", ["text", 5, (1, 2), {"a": 1}, [RaisingRepr()]])
    def test_odd_notes(self, notes):
        error = ValueError("boom")
        error.__notes__ = notes

        assert describe_exception(error)["notes"]

    def test_many_notes(self):
        error = ValueError("boom")
        error.__notes__ = ["n"] * 1000
        described = describe_exception(error)

        assert len(described["notes"]) == 20
        assert described["truncated"] == {"notes": 980}
        assert "980 more notes left out" in described["stack"]


class TestChains:
    def test_a_cause_that_was_never_raised_is_kept(self):
        described = describe_exception(raised(ValueError("x"), cause=KeyError("cause")))

        assert described["cause"]["type"] == "KeyError"
        assert described["cause"]["message"] == "'cause'"
        assert described["stack"].startswith(
            "KeyError: 'cause'\n\nThe above exception was the direct cause"
        )

    def test_a_context_is_told_from_a_cause(self):
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise ValueError("second")  # noqa: B904
        except ValueError as caught:
            described = describe_exception(caught)

        assert described["context"]["message"] == "'first'"
        assert "cause" not in described
        assert "During handling of the above exception" in described["stack"]

    def test_a_suppressed_context_is_not_shown(self):
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise ValueError("second") from None
        except ValueError as caught:
            described = describe_exception(caught)

        assert messages(described) == ["second"]

    def test_a_cycle_ends(self):
        first, second = ValueError("first"), ValueError("second")
        first.__cause__, second.__cause__ = second, first
        described = describe_exception(first)

        assert messages(described) == ["first", "second", "first"]
        assert described["cause"]["cause"]["repeated"] is True
        assert "[ValueError: first: shown elsewhere]" in described["stack"]

    def test_two_thousand_links_keep_first_and_last(self):
        described = describe_exception(chain(2000))

        assert messages(described) == [
            "1999",
            "1998",
            "1997",
            "1996",
            "1995",
            "4",
            "3",
            "2",
            "1",
            "0",
        ]
        node = described
        for _ in range(4):
            node = node["cause"]
        assert node["truncated"] == {"causes": 1990}
        assert "[… 1990 more exceptions left out …]" in described["stack"]
        assert len(described["stack"]) < 2000

    @pytest.mark.parametrize("most", [1, 2, 3])
    def test_few_links_allowed(self, most):
        described = describe_exception(chain(5), Limits(max_causes=most))

        assert messages(described) == {1: ["4"], 2: ["4", "0"], 3: ["4", "3", "0"]}[most]
        assert f"{5 - most} more exceptions left out" in described["stack"]


class TestGroups:
    def test_members_are_nested(self):
        inner = ExceptionGroup("inner", [raised(OSError(2, "gone"))])
        described = describe_exception(raised(ExceptionGroup("outer", [ValueError(1), inner])))

        assert [member["type"] for member in described["exceptions"]] == [
            "ValueError",
            "ExceptionGroup",
        ]
        assert described["exceptions"][1]["exceptions"][0]["message"] == "[Errno 2] gone"
        assert "Exception Group Traceback (most recent call last):" in described["stack"]
        assert (
            "  +---------------- 2 ----------------\n  | ExceptionGroup: inner"
            in described["stack"]
        )

    def test_ten_thousand_members_keep_first_and_last(self):
        described = describe_exception(ExceptionGroup("g", [ValueError(n) for n in range(10_000)]))

        kept = [member["message"] for member in described["exceptions"]]
        assert kept == ["0", "1", "2", "3", "4", "9995", "9996", "9997", "9998", "9999"]
        assert described["truncated"] == {"exceptions": 9990}
        assert (
            "  +---------------- 10000 ----------------\n  | ValueError: 9999" in described["stack"]
        )

    def test_groups_of_groups_share_what_is_allowed(self):
        def group(levels):
            return (
                ValueError("leaf")
                if levels == 0
                else ExceptionGroup(f"g{levels}", [group(levels - 1) for _ in range(6)])
            )

        described = describe_exception(group(5))

        def count(node):
            return 1 + sum(count(member) for member in node.get("exceptions", ()))

        assert count(described) <= 32
        assert [member["message"] for member in described["exceptions"]] == [
            "g4 (6 sub-exceptions)"
        ] * 6

    def test_deep_groups_stay_within_the_depth_of_an_event(self):
        error = ValueError("leaf")
        for _ in range(100):
            error = ExceptionGroup("g", [error])
        document = strict_loads(render_json({"event": "x", "exception": describe_exception(error)}))

        assert "<depth>" not in str(document)
        assert "'exceptions': 1" in str(document)

    def test_a_member_that_refers_to_its_group(self):
        member = ValueError("member")
        group = ExceptionGroup("g", [member])
        member.__cause__ = group
        described = describe_exception(group)

        assert described["exceptions"][0]["cause"]["repeated"] is True

    def test_no_room_for_members(self):
        described = describe_exception(
            ExceptionGroup("g", [ValueError(1)]), Limits(max_exceptions=1)
        )

        assert described["truncated"] == {"exceptions": 1}
        assert "[… 1 more exceptions left out …]" in described["stack"]


class TestBounds:
    def test_runaway_recursion_keeps_first_and_last_frames(self):
        def down(n):
            down(n + 1)

        try:
            down(0)
        except RecursionError as caught:
            described = describe_exception(caught)
        left = described["truncated"]["frames"]

        assert len(described["frames"]) == 50
        assert left > 500
        assert described["frames"][0]["code"] == "down(0)"
        assert described["frames"][-1]["function"].endswith("down")
        assert f"[… {left} frames left out …]" in described["stack"]

    def test_a_megabyte_of_message(self):
        line = render_json(
            {"event": "x", "exception": describe_exception(ValueError("x" * 1_000_000))}
        )

        assert len(line) < 20_000
        assert "991808 more characters" in strict_loads(line)["exception"]["message"]

    @pytest.mark.parametrize(
        "text", ["x", "é", "\U0001f600", "\ud800", "\x00", "line\n"], ids=ascii
    )
    def test_the_stack_is_bounded_in_bytes(self, text):
        group = ExceptionGroup("g", [ValueError(text * 8000) for _ in range(10)])
        described = describe_exception(raised(group))

        assert len(described["stack"].encode()) <= 32_768
        assert described["stack"].startswith("Exception Group Traceback")
        assert described["stack"].endswith("  +------------------------------------")
        assert described["truncated"]["stack_bytes"] > 0

    @pytest.mark.parametrize("limit", [1, 50, 100])
    def test_a_tiny_stack(self, limit):
        assert (
            len(
                describe_exception(raised(ValueError("é" * 500)), Limits(max_stack_bytes=limit))[
                    "stack"
                ].encode()
            )
            <= limit + 3
        )

    def test_everything_at_once(self):
        def worst(levels):
            error = chain(2000)
            if levels:
                error = ExceptionGroup("g" * 100_000, [worst(levels - 1) for _ in range(12)])
            error.__notes__ = ["n" * 10_000] * 100
            return raised(error, cause=chain(50))

        line = render_json({"event": "x", "exception": describe_exception(worst(2))})

        assert len(line) < 400_000


class TestHostility:
    def test_a_raising_str(self):
        assert (
            describe_exception(RaisingError())["message"]
            == "<unrepresentable RaisingError: RuntimeError>"
        )

    def test_properties_that_raise_are_not_asked(self):
        class Hostile(Exception):
            @property
            def __cause__(self):
                raise RuntimeError

            __context__ = __traceback__ = __notes__ = args = __suppress_context__ = __cause__

        described = describe_exception(raised(Hostile("boom")))

        assert described["type"] == "Hostile"
        assert len(described["frames"]) == 1

    def test_getattribute_that_raises(self):
        class Hostile(Exception):
            def __getattribute__(self, name):
                raise RuntimeError

        assert describe_exception(raised(Hostile("boom")))["frames"]

    def test_a_dict_that_raises(self):
        class Hostile(Exception):
            @property
            def __dict__(self):
                raise RuntimeError("no dict")

        described = describe_exception(raised(Hostile("boom")))

        assert described["message"] == "boom"
        assert "no dict" in str(described.get("notes", "no dict"))

    def test_a_metaclass_that_lies(self):
        class Meta(type):
            def __getattribute__(cls, name):
                raise RuntimeError(name)

        hostile = Meta("Hostile", (Exception,), {})
        described = describe_exception(raised(hostile("boom")))

        assert described["type"] == "Hostile"
        assert described["message"] == "<unrepresentable Hostile: RuntimeError>"
        assert described["frames"]

    def test_surrogates_everywhere(self):
        namespace = {}
        exec(
            compile(
                "def f():\n    raise ValueError('\ud800')".encode("utf-8", "surrogatepass").decode(
                    "utf-8", "replace"
                ),
                "a\udcff.py",
                "exec",
            ),
            namespace,
        )
        try:
            namespace["f"]()
        except ValueError as caught:
            caught.args = ("\ud800",)
            caught.add_note("\udfff")
            line = render_json({"event": "x", "exception": describe_exception(caught)}, strict=True)

        shown = strict_loads(line)["exception"]
        assert shown["message"] == "\\ud800"
        assert shown["notes"] == ["\\udfff"]
        assert shown["frames"][-1]["file"] == "a\\udcff.py"

    def test_when_nothing_works(self, monkeypatch):
        def collect(*args, **kwargs):
            raise MemoryError("no room")

        monkeypatch.setattr(exceptions, "collect", collect)
        described = describe_exception(ValueError("boom"))

        assert described["type"] == "ValueError"
        assert described["stack"] == "ValueError: boom"
        assert described["truncated"] == {"reason": "MemoryError('no room')"}

    def test_an_interrupt_passes(self, monkeypatch):
        def collect(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(exceptions, "collect", collect)
        with pytest.raises(KeyboardInterrupt):
            describe_exception(ValueError())


class TestLocals:
    def failing(self):
        password = "hunter2"
        odd = RaisingRepr()
        many = list(range(10_000))
        raise ValueError(bool(password), bool(odd), bool(many))

    def caught(self):
        try:
            self.failing()
        except ValueError as error:
            return error

    def test_are_not_shown(self):
        line = render_json({"event": "x", "exception": describe_exception(self.caught())})

        assert b"hunter2" not in line.replace(b'password = \\"hunter2\\"', b"")
        assert "locals" not in describe_exception(self.caught())["frames"][-1]

    def test_unless_asked_for(self):
        described = describe_exception(self.caught(), show_locals=True)
        shown = described["frames"][-1]["locals"]

        assert shown["password"] == "'hunter2'"
        assert shown["odd"] == "<unrepresentable RaisingRepr: RuntimeError>"
        assert len(shown["many"]) < 300
        assert "      password = 'hunter2'" in described["stack"]

    def test_are_bounded_in_number(self):
        namespace = {f"v{n}": n for n in range(100)}
        with pytest.raises(ZeroDivisionError) as caught:
            exec("1 / 0", namespace, dict(namespace))
        shown = describe_exception(caught.value, show_locals=True)["frames"][-1]["locals"]

        assert len(shown) == 21
        assert shown["…"] == "<… 80 more>"

    def test_a_namespace_that_raises(self):
        class Namespace(dict):
            def keys(self):
                raise RuntimeError

            def __iter__(self):
                raise RuntimeError

        with pytest.raises(ZeroDivisionError) as caught:
            exec("1 / 0", {}, Namespace())

        assert (
            describe_exception(caught.value, show_locals=True)["frames"][-1]["locals"] is not None
        )


class TestSource:
    @pytest.fixture(autouse=True)
    def _forget(self):
        _source._unavailable.clear()
        yield
        _source._unavailable.clear()
        linecache.clearcache()

    def frames_of(self, filename, module=None):
        namespace = module or {}
        with pytest.raises(ZeroDivisionError) as caught:
            exec(compile("1 / 0", filename, "exec"), namespace)
        return describe_exception(caught.value)["frames"]

    @pytest.mark.parametrize("filename", ["<string>", "no/such/file.py", "/dev/zero", "/"])
    def test_a_file_that_cannot_be_read_costs_only_the_line(self, filename):
        for _ in range(2):
            assert "code" not in self.frames_of(filename)[-1]

    def test_only_regular_files_are_opened(self, monkeypatch):
        opened = []
        monkeypatch.setattr(linecache, "updatecache", lambda name, *rest: opened.append(name) or [])
        self.frames_of("/dev/zero")
        self.frames_of("/")

        assert not {"/dev/zero", "/"} & set(opened)

    def test_a_file_that_is_too_long_is_not_read(self, tmp_path):
        path = tmp_path / "long.py"
        path.write_text("1 / 0\n" * 1_000_000)

        assert "code" not in self.frames_of(str(path))[-1]

    def test_source_from_a_loader(self):
        class Loader:
            def get_source(self, name):
                return "1 / 0  # from the loader\n"

        module = {"__name__": "zipped", "__loader__": Loader()}

        assert self.frames_of("<zip>/zipped.py", module)[-1]["code"] == "1 / 0  # from the loader"

    def test_a_loader_that_raises(self):
        class Loader:
            def get_source(self, name):
                raise RuntimeError

        module = {"__name__": "zipped", "__loader__": Loader()}

        assert "code" not in self.frames_of("<zip>/other.py", module)[-1]

    def test_memory_of_missing_files_is_bounded(self, monkeypatch):
        monkeypatch.setattr(_source, "_UNAVAILABLE_MAX", 2)
        for number in range(5):
            self.frames_of(f"<none {number}>")

        assert len(_source._unavailable) <= 2

    def test_a_frame_without_a_line(self):
        assert _source.source_line(__file__, None, {}) == ""


class TestProcessor:
    def formatted(self, **event):
        return format_exception(None, "error", {"event": "x", **event})

    def test_true_means_the_one_being_handled(self):
        try:
            raise ValueError("boom")
        except ValueError:
            event = self.formatted(exc_info=True)

        assert event["exception"]["message"] == "boom"
        assert "exc_info" not in event

    def test_one_means_the_same(self):
        try:
            raise ValueError("boom")
        except ValueError:
            assert self.formatted(exc_info=1)["exception"]["message"] == "boom"

    def test_an_exception(self):
        assert self.formatted(exc_info=ValueError("boom"))["exception"]["message"] == "boom"

    def test_a_tuple(self):
        error = raised(ValueError("boom"))
        given = raised(KeyError()).__traceback__

        assert self.formatted(exc_info=(ValueError, error, given))["exception"]["message"] == "boom"
        assert (
            len(
                self.formatted(exc_info=(ValueError, ValueError("x"), given))["exception"]["frames"]
            )
            == 1
        )
        assert (
            self.formatted(exc_info=(ValueError, ValueError("x"), "odd"))["exception"]["frames"]
            == []
        )

    @pytest.mark.parametrize("given", [True, False, None, 0, 1, (None, None, None)])
    def test_no_exception_leaves_no_key(self, given):
        assert self.formatted(exc_info=given) == {"event": "x"}

    @pytest.mark.parametrize(
        "given", ["boom", ["a"], (1, 2, 3), (1, 2), ValueError, RaisingRepr(), {}]
    )
    def test_what_is_no_exception_is_not_lost(self, given):
        assert self.formatted(exc_info=given) == {"event": "x", "exc_info": given}

    def test_a_key_of_the_same_name_makes_way(self):
        event = self.formatted(
            exc_info=ValueError("boom"), exception="mine", stack="mine too", stack_info="text"
        )

        assert event["exception"]["message"] == "boom"
        assert event["extra.exception"] == "mine"
        assert event["stack"] == "text"
        assert event["extra.stack"] == "mine too"

    def test_nothing_to_do(self):
        assert self.formatted(exception="mine") == {"event": "x", "exception": "mine"}

    def test_stack_info_ends_at_the_caller(self):
        stack = self.formatted(stack_info=True)["stack"]
        lines = stack.split("\n")

        assert lines[0] == "Stack (most recent call last):"
        assert lines[-2].endswith("in formatted")
        assert "pylog_struct" not in lines[-2].rpartition("/")[2]

    def test_stack_info_made_by_the_stdlib(self):
        assert self.formatted(stack_info="Stack:\n  x")["stack"] == "Stack:\n  x"

    @pytest.mark.parametrize("given", [None, False, 0, ""])
    def test_no_stack_info(self, given):
        assert self.formatted(stack_info=given) == {"event": "x"}

    def test_odd_stack_info_is_not_lost(self):
        assert self.formatted(stack_info=["odd"]) == {"event": "x", "stack_info": ["odd"]}

    def test_frames_of_the_machinery_are_left_out(self):
        call = format_exception
        for name in ("pylog_struct.processors.x", "logging", "structlog", "structlog._native"):
            module = {"__name__": name, "inner": call}
            exec("def call(*args): return inner(*args)", module)
            call = module["call"]
        stack = call(None, "error", {"stack_info": True})["stack"]

        assert "in call\n" not in stack
        assert stack.split("\n")[-2].endswith("in test_frames_of_the_machinery_are_left_out")

    def test_options(self):
        formatter = ExceptionFormatter(Limits(max_frames=1), show_locals=True)
        event = formatter(None, "error", {"exc_info": raised(ValueError("boom"))})

        assert "locals" in event["exception"]["frames"][0]

    def test_can_be_pickled(self):
        formatter = pickle.loads(pickle.dumps(ExceptionFormatter(show_locals=True)))
        event = formatter(None, "error", {"exc_info": raised(ValueError("boom"))})

        assert "locals" in event["exception"]["frames"][0]


def test_a_stack_of_thousands_of_frames_is_bounded():
    def down(n):
        return describe_stack(sys._getframe()) if n == 0 else down(n - 1)

    stack = down(500)

    assert "frames left out" in stack
    assert len(stack) <= 32_768
    assert describe_stack(None) == "Stack (most recent call last):"


def test_only_machinery_on_the_stack(monkeypatch):
    monkeypatch.setattr(
        exceptions,
        "_MACHINERY",
        {
            None,
            *{
                (frame.f_globals.get("__name__") or "").partition(".")[0]
                for frame, _ in traceback.walk_stack(None)
            },
        },
    )

    assert isinstance(exceptions._caller(), types.FrameType)
