"""Compiles the hot path into the wheel, where that can be done; elsewhere the wheel is a pure one.

One extension module against CPython's stable ABI: the wheel serves 3.11 and everything after it.
``PYLOG_STRUCT_PURE=1`` at build time leaves it out; so does a machine without a compiler or Python's
headers, and an interpreter that has no stable ABI (free-threaded, PyPy).
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("encode.c", "line.c", "lane.c", "call.c", "module.c")
ABI = "0x030B0000"  # Python 3.11
TAG = "cp311-abi3"


class CompileHotPath(BuildHookInterface):  # type: ignore[misc]
    """Called by hatchling for the wheel, and for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say what the wheel is then."""
        package = Path(self.root, "pylog_struct")
        for old in package.glob("_speed.*"):
            if old.suffix in {".so", ".pyd"}:
                old.unlink()
        if os.environ.get("PYLOG_STRUCT_PURE", "") not in {"", "0"}:
            self.app.display_info("PYLOG_STRUCT_PURE is set: a pure wheel")
            return
        if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
            self.app.display_info("no stable ABI here: a pure wheel")
            return
        try:
            made = compile_into(Path(self.root, "native"), package)
        except Exception as error:
            self.app.display_warning(f"the hot path could not be compiled: a pure wheel ({error})")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"{TAG}-{platform_tag()}"
        build_data["artifacts"].append(f"/pylog_struct/{made.name}")
        if version == "editable":
            build_data["tag"] = None
            build_data["infer_tag"] = True


def platform_tag() -> str:
    """The last part of the wheel's tag."""
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def compile_into(native: Path, package: Path) -> Path:
    """Compile the sources and put the module into *package*.

    Raises:
        Exception: it cannot be done on this machine.
    """
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    extension = Extension(
        "pylog_struct._speed",
        sources=[str(native / name) for name in SOURCES],
        depends=[str(path) for path in native.glob("*.h")],
        define_macros=[("Py_LIMITED_API", ABI)],
        py_limited_api=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        command = build_ext(Distribution({"name": "pylog-struct", "ext_modules": [extension]}))
        command.build_lib = folder
        command.build_temp = str(Path(folder, "temp"))
        command.ensure_finalized()
        command.run()
        (made,) = Path(folder, "pylog_struct").iterdir()
        target = package / made.name
        # A rename: a process that has the old one open keeps it.
        fresh = package / f"{made.name}.{os.getpid()}"
        fresh.write_bytes(made.read_bytes())
        fresh.replace(target)
    return target
