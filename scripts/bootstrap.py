"""Make a virtual environment and install the project with some dependency groups: ``VENV GROUP...``.

Only the standard library is used, and pip only in ways that old ones know (pip 23 has no
``--group``): the groups are read from pyproject.toml here.  uv does the same faster and is used
where it is on PATH.  Nothing is installed again until the tables that decide it change.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STAMP = "pylog-installed.json"


def requirements(groups: dict[str, list[Any]], name: str, path: tuple[str, ...] = ()) -> list[str]:
    """Return the requirements of the group *name*, with those that it includes (PEP 735)."""
    if name in path or name not in groups:
        what = "includes itself" if name in path else "does not exist"
        sys.exit(f"pyproject.toml: the dependency group {name!r} {what}")
    found: list[str] = []
    for item in groups[name]:
        if isinstance(item, str):
            found.append(item)
        else:
            found += requirements(groups, item["include-group"], (*path, name))
    return list(dict.fromkeys(found))


def digest(*parts: object) -> str:
    """Return a short fingerprint of JSON-like values."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def interpreter(venv: Path) -> Path:
    """Return the path of the environment's Python."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def alive(venv: Path) -> bool:
    """Tell whether the environment's Python starts and is new enough."""
    probe = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([interpreter(venv), "-c", probe], check=False).returncode == 0
    except OSError:
        return False


def create(venv: Path, uv: str | None) -> None:
    """Make the environment anew."""
    print(f"Making {venv} with Python {sys.version.split()[0]} ({'uv' if uv else 'venv'})")
    if venv.exists():
        shutil.rmtree(venv)
    if uv:
        command = [uv, "venv", "--quiet", "--seed", "--python", sys.executable, str(venv)]
    else:
        command = [sys.executable, "-m", "venv", str(venv)]
    subprocess.run(command, check=True)


def install(venv: Path, uv: str | None, arguments: list[str]) -> None:
    """Install with uv, or with the environment's own pip."""
    python = str(interpreter(venv))
    if uv:
        command = [uv, "pip", "install", "--quiet", "--python", python]
    else:
        probe = [python, "-c", "import pip"]
        if subprocess.run(probe, check=False, stderr=subprocess.DEVNULL).returncode:
            subprocess.run([python, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *arguments], check=True, cwd=ROOT)


def main() -> None:
    """Bring one environment up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("venv", type=Path)
    parser.add_argument("groups", nargs="*")
    project = parser.add_mutually_exclusive_group()
    project.add_argument("--no-project", action="store_true", help="only the groups")
    project.add_argument("--wheel", type=Path, help="this file instead of the sources")
    options = parser.parse_args()
    venv: Path = options.venv.absolute()
    uv = shutil.which("uv")

    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups = {name: requirements(pyproject["dependency-groups"], name) for name in options.groups}
    wanted = {name: digest(items) for name, items in groups.items()}
    arguments: list[str] = []
    if options.wheel is not None:
        wheel = options.wheel.absolute()
        wanted["."] = digest(str(wheel), hashlib.sha256(wheel.read_bytes()).hexdigest())
        arguments = [f"pylog-struct @ {wheel.as_uri()}"]
    elif not options.no_project:
        arguments = ["-e", "."]
        compiled = sorted((ROOT / "native").glob("*.[ch]"))
        # The directory counts: an editable install points at it, and a copied tree must not use it.
        wanted["."] = digest(
            str(ROOT), pyproject["build-system"], pyproject["project"], pyproject["tool"]["hatch"],
            *[path.read_text("utf-8") for path in (ROOT / "hatch_build.py", *compiled)],
            os.environ.get("PYLOG_STRUCT_PURE", ""),
        )  # fmt: skip

    stamp = venv / STAMP
    if not alive(venv):
        create(venv, uv)
    installed = json.loads(stamp.read_text("utf-8")) if stamp.is_file() else {}
    stale = [name for name, fingerprint in wanted.items() if installed.get(name) != fingerprint]
    if not stale:
        return
    print(f"Installing into {venv}: {', '.join(stale)}", flush=True)
    if "." not in stale:
        arguments = []
    for name in stale:
        arguments += groups.get(name, [])
    install(venv, uv, arguments)
    stamp.write_text(json.dumps(installed | wanted, indent=1), "utf-8")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"bootstrap: {error}")
