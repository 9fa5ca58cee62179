"""What the package says it exports is what it defines, everywhere."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import pylog_struct

OURS = "pylog_struct"
PACKAGE = Path(pylog_struct.__file__).parent

DESIGN = {
    "pylog_struct": [
        *("configure", "get_logger", "flush", "shutdown", "statistics", "set_level"),
        *("LogManager", "ShutdownReport", "Statistics", "SinkStatistics", "Record", "Sink"),
        *("PylogError", "ConfigError", "SinkError", "SinkUnavailableError"),
        *("SinkRejectedError", "SinkTimeoutError", "SinkClosedError"),
    ],
    "pylog_struct.sinks": [
        *("StreamSink", "RollingFileSink", "MemorySink", "NullSink", "QueueSink", "FailoverSink"),
        *("BatchSink", "BufferSink", "RetrySink", "FanOutSink", "FilterSink", "RouteSink"),
        *("LockedSink", "SwitchEvent", "KafkaSink"),
    ],
    "pylog_struct.testing": ["check_sink"],
}
"""The names that the design fixes; others rely on them."""


def public_modules() -> list[str]:
    walked = pkgutil.walk_packages(pylog_struct.__path__, "pylog_struct.")
    names = ["pylog_struct", *(module.name for module in walked)]
    return sorted(name for name in names if "._" not in name)


MODULES = public_modules()


def bound_names(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Name):
        return [target.id]
    if isinstance(target, ast.Tuple | ast.List):
        return [name for item in target.elts for name in bound_names(item)]
    return []


def defined_names(tree: ast.Module, *, facade: bool) -> set[str]:
    """Public names that a module binds at its top level; a façade's imports of ours count too."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found.update(name for target in node.targets for name in bound_names(target))
        elif isinstance(node, ast.AnnAssign):
            found.update(bound_names(node.target))
        elif facade and isinstance(node, ast.ImportFrom) and (node.module or "").startswith(OURS):
            found.update(alias.asname or alias.name for alias in node.names)
    return {name for name in found if not name.startswith("_")}


def names_from_private_modules(tree: ast.Module) -> set[str]:
    return {
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and "._" in (node.module or "")
        for alias in node.names
    }


def test_the_walk_finds_modules_and_packages():
    assert {"pylog_struct", "pylog_struct.record", "pylog_struct.sinks.base"} <= set(MODULES)
    assert len(MODULES) > 30


@pytest.mark.parametrize("name", MODULES)
def test_all_names_exactly_what_the_module_defines(name):
    module = importlib.import_module(name)
    path = Path(module.__file__)
    tree = ast.parse(path.read_text("utf-8"))
    defined = defined_names(tree, facade=path.name == "__init__.py")
    exported = getattr(module, "__all__", [])

    assert len(exported) == len(set(exported)), "a name stands in __all__ twice"
    # A public module may be the public place of something that a private one defines.
    assert set(exported) - defined <= names_from_private_modules(tree)
    assert defined <= set(exported)
    for item in exported:
        assert hasattr(module, item)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_module_and_name_is_documented(name):
    module = importlib.import_module(name)

    assert module.__doc__
    for item in getattr(module, "__all__", []):
        value = getattr(module, item)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{name}.{item} has no docstring"


@pytest.mark.parametrize("module", DESIGN)
def test_the_names_of_the_design_are_there(module):
    assert set(DESIGN[module]) <= set(importlib.import_module(module).__all__)


def test_facades_hold_imports_and_nothing_else():
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent.name == "cli" or path.parent.name.startswith("_"):
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            allowed = ast.Import | ast.ImportFrom | ast.Assign | ast.Expr
            assert isinstance(node, allowed), f"{path}:{node.lineno}"


def test_types_are_shipped():
    assert (PACKAGE / "py.typed").is_file()


def in_new_process(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_import_needs_only_the_base_dependencies():
    """Whoever installs without extras can import everything but the command line."""
    extras = ["click", "rich", "zstandard", "pytest", "hypothesis", "fastapi"]
    modules = [
        name
        for name in MODULES
        if not name.startswith(("pylog_struct.cli.", "pylog_struct.testing.pytest_plugin"))
    ]
    code = (
        f"import sys, importlib\nfor name in {extras}: sys.modules[name] = None\n"
        f"for name in {modules}: importlib.import_module(name)\nprint('fine')"
    )

    assert in_new_process(code).strip() == "fine"


def test_import_starts_nothing_and_touches_nobodys_logging():
    code = """
import logging, sys, threading, warnings
before = (sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning)
import pylog_struct, pylog_struct.sinks, pylog_struct.testing, pylog_struct.cli
assert before == (sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning)
assert logging.getLogger().handlers == [] and logging.getLogger().level == logging.WARNING
assert threading.active_count() == 1
"""
    assert in_new_process(code) == ""
