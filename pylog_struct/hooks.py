"""Everything that one configuration puts into the process, installed and taken back together."""

from __future__ import annotations

from typing import Protocol

from pylog_struct import diagnostics

__all__ = ["Hook", "Hooks"]


class Hook(Protocol):
    """Something global that can be put in place and given back."""

    def install(self) -> None:
        """Put it in place."""
        ...

    def uninstall(self) -> None:
        """Give it back."""
        ...


class Hooks:
    """Installs in order; takes back in reverse order, all of them even if one fails."""

    def __init__(self, *hooks: Hook) -> None:
        self._hooks = hooks
        self._installed: list[Hook] = []

    def install(self, previous: Hooks | None = None) -> None:
        """Install all that *previous* has not installed already, and take back the rest of its own.

        If one fails, those before it are taken back and the error is raised.
        """
        shared = (
            []
            if previous is None
            else [hook for hook in previous._installed if hook in self._hooks]
        )
        if previous is not None:
            previous._installed = [hook for hook in previous._installed if hook not in shared]
            previous.uninstall()
        self._installed = shared
        for hook in self._hooks:
            if hook not in shared:
                try:
                    hook.install()
                except BaseException:
                    self.uninstall()
                    raise
                self._installed.append(hook)

    def uninstall(self) -> None:
        """Take back what is installed.  Never raises."""
        while self._installed:
            hook = self._installed.pop()
            try:
                hook.uninstall()
            except Exception as error:
                diagnostics.report("hooks", f"{type(hook).__name__} could not be taken back", error)
