"""The table of docs/reference/evidence.md names tests that exist, and leaves no promised row out."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import pylog_struct

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "evidence.md"
PAINS = {
    f"P{n:02}" for n in (2, 3, 4, 5, *range(10, 18), 20, 22, 23, 25, 26, 32, 34, 35, 36, 38, 39)
} | {f"P{n}" for n in (*range(40, 73), 74, 84)}
EDGES = {f"E{n}" for n in (*range(1, 15), *range(16, 27), *range(28, 35), *range(36, 42))}
WEB = {f"W{n}" for n in range(1, 7)}
CHECKLIST = ROOT / "docs" / "reference" / "checklist.md"
ROLLING = ROOT / "docs" / "reference" / "checklist-rolling.md"
FEATURES = {
    *(*range(1, 22), *range(60, 69), *range(72, 75), *range(77, 82), 102, 104),
    *(124, 125, 131, 133, 135, 137, 138),
    *(65, 68, 69, 70, 71, 75, *range(90, 98), 99, 100, 101, 105),
    *(122, 123, *range(126, 131), 132),
}

if not PAGE.exists():  # a wheel is tested without the documentation
    pytest.skip("the documentation is not here", allow_module_level=True)


def rows():
    """The cells of every row, by the first."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4 and re.fullmatch(r"[A-Z]\d+", cells[0]):
            assert cells[0] not in found, f"{cells[0]} stands there twice"
            found[cells[0]] = cells
    return found


def references():
    """Every ``path::name`` of the page."""
    return re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", PAGE.read_text(encoding="utf-8"))


@cache
def names(path):
    """What a test file defines: functions, classes, ``Class::method`` and names at module level."""
    found = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found.update(target.id for target in node.targets if isinstance(target, ast.Name))
        if isinstance(node, ast.ClassDef):
            found.update(
                f"{node.name}::{part.name}"
                for part in node.body
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
            )
    return found


def test_every_test_that_is_named_exists():
    asked = references()
    missing = [
        f"{path}::{name}"
        for path, name in asked
        if not (ROOT / path).is_file() or name not in names(path)
    ]

    assert len(asked) > 100
    assert missing == []


def test_every_promised_row_is_there_and_names_a_test():
    found = rows()

    assert set(found) >= PAINS | EDGES | WEB
    assert [key for key, cells in found.items() if "::" not in cells[2]] == []


def test_every_promised_feature_is_built_or_argued():
    page = CHECKLIST.read_text(encoding="utf-8")
    found = {
        int(number): (state.strip(), text.strip())
        for number, state, text in re.findall(
            r"^\| (\d+) \|[^|]+\|([^|]+)\|(.+)\|$", page, re.MULTILINE
        )
    }

    assert set(found) >= FEATURES
    assert [number for number, (state, text) in found.items() if not state or not text] == []


def test_every_row_about_files_is_there_and_names_what_exists():
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in ROLLING.read_text(encoding="utf-8").splitlines()
        if re.match(r"\| \d+ \|", line)
    ]
    sinks = Path(pylog_struct.__file__).parent / "sinks"  # a wheel is tested without the sources
    tests = ROOT / "tests" / "unit" / "sinks"

    assert [int(cells[0]) for cells in rows] == list(range(22, 60))
    assert [cells[0] for cells in rows if not all(cells[1:5])] == []
    modules = {name for cells in rows for name in re.findall(r"`([\w/]+\.py)`", cells[3])}
    assert len(modules) > 10
    assert sorted(name for name in modules if not (sinks / name).is_file()) == []
    shown = {name for cells in rows for name in re.findall(r"`([\w/]+\.py)`", cells[4])}
    assert [
        name for name in sorted(shown) if not any((root / name).is_file() for root in (tests, ROOT))
    ] == []


def test_a_claim_is_short():
    assert [key for key, cells in rows().items() if len(cells[1].split()) > 12] == []
