"""Documents of bounded size: what shrinks first, what is noted, and that it stays JSON."""

from __future__ import annotations

import orjson
import pytest
import structlog
from prometheus_client import CollectorRegistry
from support.ecs import check_document
from support.payloads import strict_loads

import pylog_struct
from pylog_struct.errors import ConfigError
from pylog_struct.processors import CONTAINER, ECS, DocumentLimits, Logstash
from pylog_struct.processors._shrink import Roles, harmless, shrunk
from pylog_struct.sinks import MemorySink

EVENT = {
    "timestamp": "2026-02-03T04:05:06.789012Z",
    "level": "info",
    "logger": "shop",
    "event": "hello",
}
MB = 1_000_000
ROLES = Roles(
    prefix=("time", "level", "message"),
    message="message",
    messages=frozenset({"error.message"}),
    stacks=frozenset({"stack"}),
    maps=frozenset({"map"}),
)


def render(limits=None, **fields):
    renderer = ECS(process=False, limits=limits or DocumentLimits())
    line = renderer(None, "", {**EVENT, **fields})
    return line, check_document(line)


def fit(document, line_max, **limits):
    document = {"time": "2026", "level": "info", **document}
    line = shrunk(orjson.dumps(document), DocumentLimits(max_line=line_max, **limits), ROLES)
    assert len(line) < line_max
    found = strict_loads(line)
    assert found["time"] == "2026"
    assert found["level"] == "info"
    return found


class TestStrings:
    @pytest.mark.parametrize("letter", ["x", "é", "€", "😀"])
    def test_a_string_of_a_megabyte_becomes_one_that_lucene_takes(self, letter):
        text = letter * (MB // len(letter.encode()))
        for where in (
            {"note": text},
            {"http": text},
            {"a": {"b": {"c": [text]}}},
            {"user": {"id": text}},
            {"labels": {"x": text}},
            {"event": text},
        ):
            _, document = render(**where)
            note = document.pop("pylog.truncated")
            longest = max(_strings(document), key=len)
            size = len(longest.encode())
            assert 31_000 < size <= 32_766
            assert longest.rstrip("…").strip(letter) in ("", " [737856 more characters]")
            assert len(note) == 1
            assert note[0].endswith(" bytes left out")

    def test_the_note_says_which_field_and_how_many_bytes(self):
        _, document = render(DocumentLimits(max_keyword=100), note="é" * 100)

        assert document["note"] == "é" * 48 + "…"
        assert document["pylog.truncated"] == ["note: 101 bytes left out"]

    def test_message_and_stack_have_limits_of_their_own(self):
        limits = DocumentLimits(max_message=200, max_stack=300, max_keyword=100)
        stack = "Stack (most recent call last):\n" + "\n".join(f"frame {n}" for n in range(200))
        _, document = render(limits, event="m" * 1_000, stack=stack, note="n" * 1_000)

        assert len(document["message"].encode()) == 200
        assert len(document["note"].encode()) == 100
        assert len(document["pylog.stack"].encode()) <= 300
        assert document["pylog.stack"].startswith("Stack (most recent call last):\nframe 0")
        assert document["pylog.stack"].endswith("frame 199")
        assert "bytes left out] …" in document["pylog.stack"]

    def test_values_of_a_map_leave_room_for_their_key(self):
        _, document = render(http="x" * MB, http_="y" * 31_743)

        assert len(document["labels"]["http"].encode()) == 31_742
        assert document["http_"] == "y" * 31_743

    def test_what_fits_is_not_touched(self):
        line, document = render(note="x" * 30_000, event="y" * 30_000)

        assert "pylog.truncated" not in document
        assert len(line) > 60_000

    def test_without_limits_there_are_none(self):
        line = ECS(limits=None)(None, "", {**EVENT, "note": "x" * 100_000})

        assert len(check_document(line)["note"]) == 100_000


def _strings(value):
    if isinstance(value, str):
        return [value]
    members = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    )
    return [text for member in members for text in _strings(member)]


class TestLines:
    def test_nothing_happens_below_the_limit_and_the_newline_counts(self):
        document = {"time": "2026", "level": "info", "message": "", "a": ""}
        document["a"] = "x" * (2_047 - len(orjson.dumps(document)))
        line = orjson.dumps(document)
        assert len(line) == 2_047

        assert shrunk(line, DocumentLimits(max_line=2_048), ROLES) is line
        assert shrunk(line, DocumentLimits(max_line=2_047), ROLES) is not line

    def test_first_the_stack_from_its_middle(self):
        stack = "first\n" + "frame\n" * 2_000 + "last"
        found = fit({"message": "m" * 400, "note": "n" * 900, "stack": stack}, 4_096)

        assert (found["message"], found["note"]) == ("m" * 400, "n" * 900)
        assert found["stack"].startswith("first\nframe")
        assert found["stack"].endswith("frame\nlast")
        assert len(found["stack"].encode()) >= 1_024
        assert found["pylog.truncated"][0].startswith("stack: ")

    def test_then_the_longest_strings_to_one_length(self):
        fields = {"message": "m" * 500, "stack": "s" * 1_000, "a": "a" * 9_000, "b": "b" * 3_000, "c": "c" * 300}  # fmt: skip
        found = fit(fields, 5_000)

        assert (found["message"], found["stack"], found["c"]) == ("m" * 500, "s" * 1_000, "c" * 300)
        assert len(found["a"].encode()) == len(found["b"].encode())
        assert found["a"].endswith("…")

    def test_then_the_message_and_that_of_the_exception(self):
        found = fit(
            {"message": "m" * 5_000, "error": {"message": "e" * 5_000}, "a": "a" * 5_000}, 3_000
        )

        assert len(found["a"].encode()) == 256
        assert len(found["message"].encode()) == len(found["error"]["message"].encode())
        assert 300 < len(found["message"]) < 1_000

    def test_then_fields_are_left_out_largest_first(self):
        numbers = {f"n{index}": index for index in range(1_000)}
        found = fit(
            {"message": "hello", "big": {"list": list(range(500))}, "few": 1, **numbers}, 8_192
        )

        assert found["message"] == "hello"
        assert "big" not in found
        assert found["n1"] == 1
        assert "n100" not in found
        assert "n999" in found
        assert found["pylog.truncated"][0].startswith("big.list: ")
        assert found["pylog.truncated"][-1].startswith(tuple("123456789"))
        assert "more fields: " in found["pylog.truncated"][-1]

    def test_at_last_the_prefix_and_what_room_there_is_for_the_message(self):
        found = fit({"message": "\x01" * 3_000, **{f"\x02{n}" * 40: n for n in range(100)}}, 1_024)

        assert found["message"].startswith("\x01\x01")
        assert found["message"].endswith("…")
        assert len(orjson.dumps(found)) > 900

    def test_a_prefix_of_odd_values_is_still_short(self):
        document = {
            "time": ["x"] * 1_000,
            "level": {"a": "y" * 5_000},
            "message": list(range(1_000)),
        }
        line = shrunk(orjson.dumps(document), DocumentLimits(max_line=1_024), ROLES)

        assert len(line) < 1_024
        assert list(strict_loads(line)) == ["time", "level", "pylog.truncated"]

    def test_hundreds_of_strings_shrink_together(self):
        found = fit({"message": "hello", **{f"k{n}": "x" * 1_000 for n in range(30)}}, 16_384)

        assert len({found[f"k{n}"] for n in range(30)}) == 1
        assert len(found["k0"]) > 256
        assert len(found["pylog.truncated"]) == 11

    def test_what_is_no_object_is_refused(self):
        with pytest.raises(ValueError, match="not a JSON object"):
            shrunk(b"[1]", DocumentLimits(), ROLES)

    @pytest.mark.parametrize(
        "fields",
        [
            {"note": "😀" * 50_000},
            {"note": "\x00" * 50_000},
            {"note": '"' * 50_000, "event": "\\" * 50_000},
            {f"k{n}": "v" * 100 for n in range(2_000)},
            {"a": [{"b": "x" * 1_000}] * 100},
            {"labels": {f"k{n}": "v" * 100 for n in range(500)}},
            {"x" * 5_000: "y" * 50_000},
        ],
        ids=range(7),
    )
    def test_no_line_for_a_container_is_over_16384_bytes(self, fields):
        line, document = render(CONTAINER, **fields)

        assert len(line) + 1 <= 16_384
        assert document["@timestamp"] == EVENT["timestamp"]
        assert document["pylog.truncated"]

    def test_an_exception_with_everything(self):
        sink, registry = MemorySink(), CollectorRegistry()
        pylog_struct.configure(sink=sink, format=ECS(limits=CONTAINER), registry=registry)
        try:
            try:
                raise ValueError("v" * 20_000)
            except ValueError as cause:
                raise RuntimeError("r" * 20_000) from cause
        except RuntimeError:
            structlog.get_logger().exception("e" * 50_000, note="n" * 50_000)
        line = sink.records[0].line
        document = check_document(line)

        assert len(line) + 1 <= 16_384
        assert document["error.type"] == "RuntimeError"
        assert document["message"].startswith("eeee")
        found = registry.get_sample_value("pylog_processing_errors_total", {"stage": "truncated"})
        assert found == 1

    def test_presets_take_limits_too(self):
        told = []
        renderer = Logstash(limits=CONTAINER, on_error=lambda stage, _: told.append(stage))
        line = renderer(None, "", {**EVENT, "note": "x" * 100_000})

        assert len(line) < 16_384
        assert strict_loads(line)["message"] == "hello"
        assert told == ["truncated"]

    def test_a_document_that_cannot_be_shortened_is_better_long_than_lost(self, monkeypatch):
        from pylog_struct.processors import ecs

        told = []
        monkeypatch.setattr(ecs, "shrunk", lambda *_: 1 / 0)
        line = ECS(on_error=lambda stage, _: told.append(stage))(
            None, "", {**EVENT, "note": "x" * 100_000}
        )

        assert check_document(line)["note"] == "x" * 100_000
        assert told == ["render"]


class TestOptions:
    def test_sizes_may_be_text(self):
        limits = DocumentLimits(max_line="16 KiB", max_keyword="1 kB")

        assert (limits.max_line, limits.max_keyword) == (16_384, 1_000)
        assert DocumentLimits(max_line=16_384) == CONTAINER

    @pytest.mark.parametrize(
        ("name", "value"),
        [("max_line", 1_023), ("max_line", "big"), ("max_keyword", 63), ("max_stack", -1), ("max_message", None)],
    )  # fmt: skip
    def test_wrong_ones_are_named(self, name, value):
        with pytest.raises(ConfigError, match=f"DocumentLimits.{name}"):
            DocumentLimits(**{name: value})

    def test_short_lines_are_known_to_be_harmless(self):
        assert harmless(DocumentLimits()) == 32_766 - 1_024
        assert harmless(DocumentLimits(max_keyword=100)) == 64
        assert harmless(CONTAINER) == 16_383
