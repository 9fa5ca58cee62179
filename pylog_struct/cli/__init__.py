"""The ``pylog`` command."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; without the extra ``cli`` one sentence says what is missing."""
    try:
        from pylog_struct.cli.commands import pylog  # noqa: PLC0415 - click and rich are an extra
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"click", "rich"}:
            raise
        sys.exit(
            f"pylog: the command line needs the package {missing!r}:"
            " pip install 'pylog-struct[cli]'"
        )
    pylog(prog_name="pylog")
