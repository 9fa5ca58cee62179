"""What a package offers without importing it: its names (PEP 562), and classes that may not be there yet.

A plain ``import pylog_struct`` pays for what a plain ``configure()`` uses.  The rest is imported when
it is asked for by name: while a program is being set up, never by a log call, a signal handler or a
child of a fork.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["lazy_names", "loaded"]


def lazy_names(
    package: str, modules: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package.

    Args:
        package: Its ``__name__``.
        modules: By the name of a module of the package, the names that are imported from it.  The
            modules can be asked for too.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def find(name: str) -> Any:
        home = homes.get(name)
        if home is None and name not in modules:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg, name=name, obj=sys.modules[package])
        if home is None:
            return import_module(f"{package}.{name}")
        found = getattr(import_module(f"{package}.{home}"), name)
        setattr(sys.modules[package], name, found)  # the next one does not come here
        return found

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes, *modules})

    return find, names


def loaded(module: str, name: str) -> Any:
    """Return the class *name* of *module*, for ``isinstance``; of one not imported there is no instance."""
    return getattr(sys.modules.get(module), name, ())
