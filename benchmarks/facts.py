"""What the numbers depend on: the machine, the versions, the commit, the file system."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "pylog-struct",
    "structlog",
    "orjson",
    "prometheus-client",
    "picologging",
    "python-json-logger",
    "loguru",
    "logbook",
    "concurrent-log-handler",
)


def versions() -> dict[str, str | None]:
    """Installed versions; None for what is missing."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def commit() -> str | None:
    """The commit of these sources, with a ``+`` if they have been changed since."""
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()


def compiled() -> bool:
    """Whether pylog_struct has its compiled hot path here."""
    from pylog_struct._compiled import SPEED

    return SPEED is not None


def processor() -> str:
    """The model, where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def file_system(where: Path | None) -> str:
    """The type of the file system that the output goes to: ``tmpfs``, ``ext4`` …"""
    path = Path(where or tempfile.gettempdir()).resolve()
    best, kind = "", "unknown"
    try:
        for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
            _, mounted, found, *_ = line.split()
            if path.is_relative_to(mounted) and len(mounted) >= len(best):
                best, kind = mounted, found
    except OSError:
        pass
    return kind


def facts(where: Path | None) -> dict[str, Any]:
    """Everything that the JSON file says about where it was made."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "file_system": file_system(where),
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "compiled": compiled(),
        "commit": commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": versions(),
    }
