"""The examples and every Python snippet of README and docs run as they stand."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "examples" / "shop"

_BLOCK = re.compile(
    r"(?:^<!-- snippet: (?P<how>[^>\n]*?) *-->\n+)?^```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Snippet:
    """The fenced ``python`` blocks of one page, in order, as one program.

    A comment in the line before a block may say that it is different:

    ``<!-- snippet: shown -->``  an excerpt: it only has to be valid Python.
    ``<!-- snippet: fails WORDS -->``  after those before it, it must end with an error that has WORDS.
    """

    path: Path
    line: int
    code: str
    error: str = ""

    @property
    def id(self) -> str:
        return f"{self.path.relative_to(ROOT).as_posix()}:{self.line}"


def snippets() -> list[Snippet]:
    found: list[Snippet] = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text("utf-8")
        program = ""
        for match in _BLOCK.finditer(text):
            how = match["how"] or ""
            line = text.count("\n", 0, match.start("code")) + 1
            compile(match["code"], f"{path}:{line}", "exec")
            if how == "shown":
                continue
            # Empty lines in place of the text: line numbers of errors are those of the page.
            code = program + "\n" * (line - 1 - program.count("\n")) + match["code"]
            if how.startswith("fails "):
                found.append(Snippet(path, line, code, how.removeprefix("fails ")))
            else:
                program = code
        if program:
            found.append(Snippet(path, 1, program))
    return found


SNIPPETS = snippets()


def run(arguments: list[object], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONWARNINGS": "error", "NO_COLOR": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.id)
def test_snippets_of_a_page_run(snippet, tmp_path):
    program = tmp_path / "page.py"
    program.write_text(snippet.code, "utf-8")

    if "\ndef test_" in snippet.code:
        result = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", program], tmp_path)
    else:
        result = run([program], tmp_path)

    if snippet.error:
        assert result.returncode != 0
        # Once configure() was called, the error is an event like any other.
        assert snippet.error in result.stdout + result.stderr
    else:
        assert result.returncode == 0, result.stdout + result.stderr
        assert "Traceback" not in result.stderr


def test_snippets_were_found():
    assert any(snippet.path.name == "README.md" for snippet in SNIPPETS)
    assert len(SNIPPETS) > 5


def links(path: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    return re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)


PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(path):
    for link in links(path):
        if "://" not in link:
            assert (path.parent / link).exists(), f"{path}: {link}"


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_into_pages_lead_to_headings(path):
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    for page, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", text):
        target = (path.parent / page).resolve() if page else path
        if "://" not in page and target.suffix == ".md":
            assert anchor in anchors(target), f"{path}: {page}#{anchor}"


def test_the_map_leads_to_every_page():
    docs = ROOT / "docs"
    reached = {(docs / link).resolve() for link in links(docs / "index.md") if "://" not in link}

    missing = {page.resolve() for page in docs.rglob("*.md")} - reached - {docs / "index.md"}

    assert not missing


# -- the demo -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_demo_breaks_recovers_and_balances(tmp_path):
    result = run([SHOP / "demo.py", "--seconds", "3", "--output", tmp_path / "out"], tmp_path)

    assert result.returncode == 0, result.stdout + result.stderr
    assert "The ledger balances" in result.stdout
    assert "FAILOVER: primary -> fallback" in result.stdout
    assert "recovered: fallback -> primary" in result.stdout
    assert "pylog_failover_switch_total" in result.stdout
    assert "payment failed" in result.stdout


@pytest.fixture
def books(monkeypatch):
    monkeypatch.syspath_prepend(str(SHOP))
    import books

    yield books
    del sys.modules["books"]


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.syspath_prepend(str(SHOP))
    import demo

    yield demo
    for name in ("demo", "books", "load", "report"):
        del sys.modules[name]


def test_the_fault_wins_against_a_shop_that_makes_its_directory_anew(demo, tmp_path, monkeypatch):
    logs = tmp_path / "primary"
    logs.mkdir()
    (logs / "shop.jsonl").write_text("1\n")
    rename = Path.rename

    def rename_and_race(path: Path, target: Path) -> Path:
        moved = rename(path, target)
        if path == logs and not target.name.startswith("interim"):
            logs.mkdir()
            (logs / "shop.jsonl").write_text("2\n")
        return moved

    unlink = Path.unlink

    def unlink_and_race(path: Path) -> None:
        unlink(path)
        logs.mkdir()
        (logs / "shop.jsonl").write_text("3\n")

    monkeypatch.setattr(Path, "rename", rename_and_race)
    demo.take_away(logs)
    assert logs.is_file()
    monkeypatch.setattr(Path, "unlink", unlink_and_race)
    demo.give_back(logs)
    monkeypatch.undo()

    found = demo.log_files(logs)
    assert sorted(path.read_text() for path in found) == ["1\n", "2\n", "3\n"]


LINES = [
    b'{"level":"info","logger":"shop","event":"order placed","request_id":"a"}\n',
    b'{"level":"error","logger":"shop","event":"payment failed","request_id":"b"}\n',
    b'{"level":"info","logger":"pylog_struct.access","event":"request"}\n',
]


def accounts(books, directory: Path, *, archive=LINES[:2], active=LINES[2:], **changes):
    """Balance a shop that emitted four events, one of which was dropped."""
    directory.mkdir()
    (directory / "shop-1.jsonl.gz").write_bytes(gzip.compress(b"".join(archive)))
    (directory / "shop.jsonl").write_bytes(b"".join(active))
    (directory / ".shop.jsonl.lock").write_bytes(b"not a log\n")
    sink = {"received": 4, "written": 3, "dropped": 1, "waiting": 0, "drops": {"low info": 1}}
    leaf = {"received": 3, "written": 3, "dropped": 0, "waiting": 0, "drops": {}}
    numbers = {
        "emitted": 4,
        "discarded": 0,
        "root": "queue",
        "sinks": {"queue": sink | changes.get("queue", {}), "primary": leaf},
    }
    checks, _ = books.balance(
        numbers, {"primary": books.log_files(directory)}, 4, changes.get("failed", {"b"})
    )
    return {check.what for check in checks if not check.balanced}


def test_accounts_that_agree_balance(books, tmp_path):
    assert accounts(books, tmp_path / "logs") == set()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"active": []}, "primary: written = lines in its files"),
        ({"active": [LINES[2], LINES[2]]}, "primary: written = lines in its files"),
        ({"archive": [LINES[0], LINES[0]]}, "lines that stand there twice = 0"),
        ({"active": [b"{broken\n"]}, "lines that are no JSON = 0"),
        ({"failed": {"c"}}, "... of which missing = 0"),
        ({"queue": {"dropped": 0}}, "queue: received = written + dropped + waiting"),
        ({"queue": {"waiting": 1}}, "waiting anywhere after the end = 0"),
    ],
)
def test_accounts_that_do_not_agree_are_found_out(books, tmp_path, changes, words):
    assert words in accounts(books, tmp_path / "logs", **changes)


def test_an_archive_counts_once_while_it_is_being_compressed(books, tmp_path):
    logs = tmp_path / "logs"

    assert accounts(books, logs) == set()
    (logs / "shop-1.jsonl").write_bytes(b"".join(LINES[:2]))

    assert [path.name for path in books.log_files(logs)] == ["shop-1.jsonl.gz", "shop.jsonl"]


def test_the_readme_shows_a_run_of_the_demo_and_of_the_contest():
    text = (ROOT / "README.md").read_text("utf-8")
    demo = text.partition("<!-- demo:start -->")[2].partition("<!-- demo:end -->")[0]
    contest = text.partition("<!-- bench:start -->")[2].partition("<!-- bench:end -->")[0]

    assert "The ledger balances" in demo
    assert "| pylog_struct, queued |" in contest
    assert str(ROOT) not in text
