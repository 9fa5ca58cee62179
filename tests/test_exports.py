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


def imports_for_types(tree: ast.Module) -> list[ast.stmt]:
    """What stands under ``if TYPE_CHECKING``: in a façade, the names that are imported on demand."""
    return [
        statement
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
    ]


def defined_names(tree: ast.Module, *, facade: bool) -> set[str]:
    """Public names that a module binds at its top level; a façade's imports of ours count too."""
    found: set[str] = set()
    for node in (*tree.body, *imports_for_types(tree)):
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
            for part in (*node.body, *node.orelse) if isinstance(node, ast.If) else (node,):
                assert isinstance(part, allowed), f"{path}:{part.lineno}"


@pytest.mark.parametrize("package", ["pylog_struct.sinks", "pylog_struct.processors"])
def test_names_imported_on_demand_are_those_that_type_checkers_see(package):
    facade = importlib.import_module(package)
    tree = ast.parse(Path(facade.__file__).read_text("utf-8"))
    declared = {
        alias.name: node.module
        for node in imports_for_types(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert set(declared) == set(facade.__all__)
    for name, module in declared.items():
        assert getattr(facade, name) is getattr(importlib.import_module(module), name)
    assert set(facade.__all__) <= set(dir(facade))
    with pytest.raises(AttributeError, match=f"{package}.*'Nonsense'"):
        facade.Nonsense  # noqa: B018


@pytest.mark.parametrize("package", ["pylog_struct.sinks", "pylog_struct.processors"])
def test_modules_of_a_package_need_no_import_of_their_own(package):
    facade = importlib.import_module(package)
    modules = {getattr(facade, name).__module__ for name in facade.__all__ if name != "CONTAINER"}
    code = f"import pylog_struct\nfor module in {sorted(modules)}: print(eval(module).__name__)"

    assert in_new_process(code).split() == sorted(modules)


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


def test_a_plain_import_pays_for_a_plain_configuration_only():
    code = """
import sys
sys.modules["rich"] = None  # structlog imports it where it is installed, and much else with it
import structlog, orjson, prometheus_client
import decimal
before = set(sys.modules)
import pylog_struct
imported = set(sys.modules)
print(*sorted(imported - before))
import logging
pylog_struct.configure()
configured = set(sys.modules)
print(*sorted(configured - imported))
log = structlog.get_logger("app").bind(a=1)
try:
    raise ValueError("x")
except ValueError:
    log.exception("failed %s", "twice", odd=object(), numbers=[decimal.Decimal(1)])
log.info("args %s", 1)
logging.getLogger("other").warning("text %d", 1)
pylog_struct.flush(), pylog_struct.statistics(), pylog_struct.shutdown()
assert not set(sys.modules) - configured, sorted(set(sys.modules) - configured)
"""
    lines = in_new_process(code).splitlines()
    modules = lines[0].split()
    subjects = {".".join(module.split(".")[:3]) for module in modules}

    assert {module for module in modules if not module.startswith(OURS)} <= {"termios"}
    assert {module for module in subjects if module.startswith(f"{OURS}.sinks.")} == {
        f"{OURS}.sinks.{name}"
        for name in ("_checks", "_descriptor", "_refusals", "base", "locked", "stream")
    }
    assert all(module.startswith(f"{OURS}._lane_") for module in lines[1].split())  # one of two
    assert not {f"{OURS}.{name}" for name in ("cli", "elk", "testing", "_flock")} & subjects
    assert not subjects & {
        f"{OURS}.processors.{name}"
        for name in ("ecs", "presets", "console", "type_guard", "document_limits", "_shrink")
    }


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
