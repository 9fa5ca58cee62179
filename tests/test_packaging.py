"""What is installed: from the sources in place, or, in CI, from the wheel that the sdist made."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

import pylog_struct

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = distribution("pylog-struct")


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def editable() -> bool:
    text = INSTALLED.read_text("direct_url.json")
    return bool(text) and json.loads(text).get("dir_info", {}).get("editable", False)


def files_of_the_package() -> set[str]:
    """Paths relative to site-packages (or to the root of the sources)."""
    if editable():
        package = Path(pylog_struct.__file__).parent
        return {path.relative_to(package.parent).as_posix() for path in package.rglob("*")}
    return {file.as_posix() for file in INSTALLED.files or ()}


def test_the_installed_distribution_is_the_one_that_is_imported():
    assert INSTALLED.version == pylog_struct.__version__
    if not editable():
        assert Path(pylog_struct.__file__).is_relative_to(INSTALLED.locate_file(""))


def test_types_and_every_module_are_shipped():
    files = files_of_the_package()

    assert "pylog_struct/py.typed" in files
    assert "pylog_struct/sinks/base.py" in files
    assert "pylog_struct/cli/__init__.py" in files


def test_a_wheel_claims_no_name_but_its_own():
    """``tests``, ``sinks`` and the like must not land beside other people's packages."""
    if editable():
        package = set(pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
        assert package == {"pylog_struct"}
        return
    tops = {file.split("/", 1)[0] for file in files_of_the_package()} - {".."}  # ../bin/pylog
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pylog_struct"}


def test_entry_points_can_be_loaded():
    found = {(point.group, point.name): point for point in INSTALLED.entry_points}

    assert found["console_scripts", "pylog"].value == "pylog_struct.cli:main"
    for point in found.values():
        assert point.load() is not None


def test_extras_of_the_error_messages_exist():
    """A message that says ``pip install 'pylog-struct[x]'`` must be right."""
    offered = set(INSTALLED.metadata.get_all("Provides-Extra") or [])
    package = Path(pylog_struct.__file__).parent
    named = {
        extra
        for path in package.rglob("*.py")
        for extra in re.findall(r"pylog-struct\[([a-z,]+)\]", path.read_text("utf-8"))
    }

    assert named
    assert {part for extra in named for part in extra.split(",")} <= offered


def test_base_dependencies_have_lower_bounds_and_no_upper_ones():
    for requirement in pyproject()["project"]["dependencies"]:
        assert re.fullmatch(r"[a-z-]+>=[0-9.]+", requirement)


def test_changelog_has_an_entry_for_this_version():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")

    assert re.search(rf"^## \[{re.escape(pylog_struct.__version__)}\]", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "LICENSE", "Makefile"])
def test_the_sources_are_complete(name):
    assert (ROOT / name).is_file()
