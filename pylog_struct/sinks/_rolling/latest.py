"""The symbolic link that always leads to the active file."""

from __future__ import annotations

import contextlib
import os

from pylog_struct import diagnostics

__all__ = ["link_latest"]


def link_latest(link: str, target: str, name: str) -> None:
    """Let *link* lead to *target*, in one step; only ever replaces a symbolic link.

    Trouble is reported in the name of the sink *name*, and costs no record.
    """
    with contextlib.suppress(OSError):
        if os.path.islink(link) and os.path.samefile(link, target):
            return
    temporary = f"{link}.{os.getpid()}.tmp"
    try:
        if os.path.lexists(link) and not os.path.islink(link):
            raise FileExistsError(f"{link!r} is no symbolic link")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(os.path.relpath(target, os.path.dirname(link)), temporary)
        os.replace(temporary, link)
    except OSError as error:
        diagnostics.report(f"rolling.latest {name}", f"cannot set {link!r}", error)
