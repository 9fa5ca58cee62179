"""The command line: ``pylog version`` and ``pylog view``."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson
import pytest
import zstandard
from click.testing import CliRunner

import pylog_struct
from pylog_struct._compiled import SPEED
from pylog_struct.cli.commands import pylog
from pylog_struct.cli.pretty import Event, pretty
from pylog_struct.cli.reading import follow, last_lines, read_lines
from pylog_struct.sinks import MemorySink

if TYPE_CHECKING:
    from pathlib import Path


def line(event: str, level: str = "info", **fields: object) -> bytes:
    return orjson.dumps(
        {
            "timestamp": "2026-11-23T19:34:41.123456Z",
            "level": level,
            "logger": "shop",
            "event": event,
            **fields,
        }
    )


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(item + b"\n" for item in lines))
    return path


def view(*arguments: object, **options: object):
    return CliRunner().invoke(pylog, ["view", *map(str, arguments)], **options)


def shown(raw: bytes) -> str:
    return pretty(Event(raw)).plain


def test_version_names_the_versions_that_a_report_needs():
    result = CliRunner().invoke(pylog, ["version"])

    assert result.exit_code == 0
    assert f"pylog_struct {pylog_struct.__version__}\n" in result.output
    for other in ("Python 3.", "structlog ", "orjson ", "prometheus-client "):
        assert other in result.output
    assert f"hot path: {'in Python' if SPEED is None else 'compiled'}\n" in result.output


def test_view_shows_time_level_event_logger_and_fields_in_this_order(tmp_path):
    path = write(tmp_path / "app.jsonl", line("order placed", order_id=7, note="two words"))

    result = view(path)

    assert result.exit_code == 0
    assert result.output.split() == [
        "19:34:41.123", "info", "order", "placed", "[shop]", "order_id=7", "note='two", "words'",
    ]  # fmt: skip


PACKERS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("ending", PACKERS)
def test_view_decompresses_by_the_ending(tmp_path, ending):
    data = line("packed") + b"\n"
    path = tmp_path / f"app.jsonl{ending}"
    # Two members one after the other are one file: that is how appending to them works.
    path.write_bytes(PACKERS[ending](data) * 2)

    result = view(path)

    assert result.exit_code == 0
    assert result.output.count("packed") == 2


def test_view_reads_standard_input():
    result = view("-", input=line("piped") + b"\n")

    assert "piped" in result.output


def test_level_hides_what_is_below_and_lines_counts_what_matches(tmp_path):
    path = write(
        tmp_path / "app.jsonl",
        line("one", "error"),
        line("two", "warning"),
        line("three", "debug"),
        line("four", "critical"),
        line("five", "info"),
    )

    events = [
        row.split()[2] for row in view(path, "--level", "warning", "-n", 2).output.splitlines()
    ]

    assert events == ["two", "four"]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"log.level":"error","message":"x"}',
        b'{"log":{"level":"error"},"message":"x"}',
        b'{"severity":"ERROR","message":"x"}',
        b'{"level":40,"msg":"x"}',
        b'{"status":"error","message":"x"}',
    ],
)
def test_level_is_found_in_other_peoples_formats(raw):
    assert Event(raw).level == 40
    assert shown(raw).split()[-1] == "x"


@pytest.mark.parametrize("name", ["json", "ecs", "logstash", "gcp", "datadog"])
def test_every_format_of_ours_is_read_again(name, tmp_path):
    memory = MemorySink()
    pylog_struct.configure(format=name, sink=memory)
    log = pylog_struct.get_logger("shop")
    log.error("no stock")
    log.info("order placed")
    pylog_struct.shutdown()

    result = view(write(tmp_path / "app.jsonl", *memory.lines), "--level", "error")

    assert len(result.output.splitlines()) == 1
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} (error|ERROR) +no stock +\[shop\].*\n", result.output
    )


@pytest.mark.parametrize("status", [200, "200", "paid"])
def test_a_status_that_is_no_level_is_a_field(status):
    event = Event(orjson.dumps({"event": "x", "status": status}))

    assert event.level == 20
    assert pretty(event).plain.endswith(f" status={status}")


@pytest.mark.parametrize("level", ["loud", "-3", True, None, [1]])
def test_a_level_that_is_none_counts_as_info(level):
    assert Event(orjson.dumps({"level": level, "event": "x"})).level == 20


def test_unknown_level_is_refused_with_the_names_that_exist(tmp_path):
    result = view(write(tmp_path / "a", line("x")), "--level", "loud")

    assert result.exit_code == 2
    assert "debug, info, warning" in result.output


def test_stack_is_printed_below_the_event_once():
    raw = line(
        "payment failed",
        "error",
        exception={
            "type": "ValueError",
            "message": "no",
            "stack": "Traceback:\n  File\nValueError: no",
        },
    )

    first, *rest = shown(raw).split("\n")

    assert "payment failed" in first
    assert "ValueError" not in first
    assert rest == ["    Traceback:", "      File", "    ValueError: no"]


@pytest.mark.parametrize(
    "fields",
    [
        {"error.stack_trace": "A\nB"},
        {"error": {"stack_trace": "A\nB", "type": "T"}},
        {"exception": "A\nB"},
    ],
)
def test_stacks_of_other_formats_are_found(fields):
    assert shown(line("x", **fields)).split("\n")[1:] == ["    A", "    B"]


def test_what_is_no_json_object_stays_as_it_is(tmp_path):
    path = write(tmp_path / "app.log", b"plain text", b"[1, 2]", b"", b"\xff\xfe", line("json"))

    rows = view(path).output.splitlines()

    assert rows[:2] == ["plain text", "[1, 2]"]
    assert len(rows) == 4


def test_a_log_file_cannot_drive_the_terminal():
    raw = line("\x1b[2Jcleared", url="\x1b]0;title\x07", rtl="\u202egnp.exe", **{"k\x1bey": 1})

    for text in (shown(raw), shown(b"raw \x1b[2J \x9b2J")):
        assert not set(text) & set("\x1b\x07\x9b\u202e")
    assert "\\x1b[2Jcleared" in shown(raw)


def test_markup_in_a_log_is_text(tmp_path):
    result = view(write(tmp_path / "a", line("[bold]x[/bold]", note="[red]")), "--color")

    assert "[bold]x[/bold]" in result.output
    assert "[red]" in result.output


def test_color_is_off_when_nobody_looks_and_on_when_asked(tmp_path):
    path = write(tmp_path / "a", line("x"))

    assert "\x1b" not in view(path).output
    assert "\x1b[" in view(path, "--color").output
    assert "\x1b" not in view(path, "--no-color").output


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.jsonl", None, "No such file"),
        ("bad.gz", b"not gzip", "gzip"),
        ("bad.xz", b"not xz", "format"),
        ("short.gz", gzip.compress(line("x") * 99)[:-20], "short.gz ends in the middle"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    result = view(path)

    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("options", [[], ["-n", "9"]])
def test_what_can_be_read_is_shown_beside_what_cannot(tmp_path, options):
    cut = tmp_path / "short.gz"
    cut.write_bytes(gzip.compress(line("first"))[:-4])
    good = write(tmp_path / "good.jsonl", line("second"))

    result = view(*options, cut, tmp_path / "none.jsonl", good)

    assert result.exit_code == 1
    assert "second" in result.stdout
    assert "short.gz ends in the middle" in result.stderr
    assert "none.jsonl" in result.stderr


def test_zst_without_zstandard_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)

    result = view(write(tmp_path / "a.zst", b""))

    assert result.exit_code == 1
    assert "pip install 'pylog-struct[zstd]'" in result.output


@pytest.mark.parametrize("arguments", [["-"], ["a.gz"], ["a", "b"]])
def test_follow_takes_one_plain_file(arguments):
    result = view("-f", *arguments)

    assert result.exit_code == 2
    assert "exactly one plain file" in result.output


class Script:
    """What happens to the file each time the reader has nothing to do; then the reader stops."""

    class Over(Exception):
        pass

    def __init__(self, *steps) -> None:
        self._steps = list(steps)

    def __call__(self) -> None:
        if not self._steps:
            raise self.Over
        self._steps.pop(0)()


def followed(path: Path, *steps, start: int | None = None) -> list[bytes]:
    found: list[bytes] = []
    lines = follow(path, start=start, pause=Script(*steps))
    with suppress(Script.Over):
        while True:
            found.append(next(lines))
    return found


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_follow_yields_what_is_there_and_what_comes(tmp_path):
    path = write(tmp_path / "app", b"1", b"2", b"3")

    assert followed(path, lambda: append(path, b"4\n"), start=1) == [b"3", b"4"]
    assert followed(path, start=0) == []


def test_follow_waits_for_the_end_of_a_line(tmp_path):
    path = write(tmp_path / "app", b"1")

    found = followed(path, lambda: append(path, b"ha"), lambda: append(path, b"lf\n"))

    assert found == [b"1", b"half"]


def test_follow_goes_on_across_a_roll_over_and_loses_nothing(tmp_path):
    path = write(tmp_path / "app", b"1")

    def roll() -> None:
        append(path, b"late\n")
        path.rename(tmp_path / "archive")

    found = followed(
        path,
        roll,
        lambda: append(tmp_path / "archive", b"later\n"),
        lambda: write(path, b"new"),
        lambda: append(path, b"newer\n"),
    )

    assert found == [b"1", b"late", b"later", b"new", b"newer"]


def test_follow_starts_again_when_the_file_is_truncated(tmp_path):
    path = write(tmp_path / "app", b"1", b"2")

    assert followed(path, lambda: write(path, b"3")) == [b"1", b"2", b"3"]


def test_follow_waits_for_a_file_that_does_not_exist_yet(tmp_path):
    path = tmp_path / "logs" / "app"

    found = followed(path, path.parent.mkdir, lambda: write(path, b"1"), start=0)

    assert found == [b"1"]


def test_reading_strips_line_ends_of_both_kinds(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"1\r\n2\n3")

    assert list(read_lines(path)) == [b"1", b"2", b"3"]
    assert last_lines(path, 2) == [b"2", b"3"]


def run(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    program = f"{code}\nfrom pylog_struct.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )


def test_entry_point_runs():
    result = run("version")

    assert result.returncode == 0
    assert result.stdout.startswith("pylog_struct ")


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_the_extra_one_sentence_says_what_to_install(package):
    result = run("version", code=f"import sys; sys.modules[{package!r}] = None")

    assert result.returncode == 1
    assert result.stderr.strip() == (
        f"pylog: the command line needs the package {package!r}: pip install 'pylog-struct[cli]'"
    )


def test_other_missing_modules_are_not_mistaken_for_the_extra():
    result = run("version", code="import sys; sys.modules['pylog_struct.cli.pretty'] = None")

    assert "ModuleNotFoundError: import of pylog_struct.cli.pretty" in result.stderr
    assert "[cli]" not in result.stderr


def test_a_reader_that_leaves_early_causes_no_traceback(tmp_path):
    path = write(tmp_path / "big", *[line("x", n=number) for number in range(20_000)])
    read_end, write_end = os.pipe()
    os.close(read_end)

    result = subprocess.run(
        [sys.executable, "-c", "from pylog_struct.cli import main; main()", "view", str(path)],
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)

    assert result.stderr == b""


def test_follow_shows_new_lines_until_it_is_interrupted(tmp_path):
    path = write(tmp_path / "app", line("old"))
    program = "from pylog_struct.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", program, "view", "-f", str(path)], stdout=subprocess.PIPE
    ) as process:
        try:
            assert b"old" in process.stdout.readline()
            append(path, line("new") + b"\n")
            assert b"new" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
        finally:
            process.kill()
