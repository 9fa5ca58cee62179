"""Draining on SIGTERM and the like, without I/O in a handler and without changing what the signal does."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pylog_struct.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["SignalDrain", "parse_signals"]


def parse_signals(names: Sequence[str | int]) -> tuple[signal.Signals, ...]:
    """Return the signals named.

    Raises:
        ConfigError: no such signal, or one that cannot be handled.
    """
    if isinstance(names, str):
        names = (names,)
    if not isinstance(names, Iterable):
        msg = f'signals: {names!r} is no sequence of signals; use names such as ("SIGTERM",)'
        raise ConfigError(msg)
    found: list[signal.Signals] = []
    for name in names:
        try:
            if isinstance(name, int) and not isinstance(name, bool):
                number = signal.Signals(name)
            else:
                number = signal.Signals[str(name).upper()]
        except (KeyError, ValueError):
            msg = f'signals: {name!r} is no signal of this system; use names such as "SIGTERM"'
            raise ConfigError(msg) from None
        if number in {getattr(signal, "SIGKILL", None), getattr(signal, "SIGSTOP", None)}:
            msg = f"signals: {number.name} cannot be handled by any process"
            raise ConfigError(msg)
        if number not in found:
            found.append(number)
    return tuple(found)


class SignalDrain:
    """Puts a handler in front of those in place.

    When the signal comes, a thread drains the pipeline; then the previous handler is put back and
    the signal raised again, so that it does exactly what it did before (default action and exit
    code included).  A second signal during the drain is passed on at once.

    Args:
        signals: Which ones.
        drain: ``drain(last)``: *last* says that the default action will end the process.
    """

    def __init__(self, signals: Sequence[signal.Signals], drain: Callable[[bool], object]) -> None:
        self._signals = tuple(signals)
        self._drain = drain
        self._previous: dict[int, Any] = {}
        self._draining = False

    def install(self) -> None:
        """Install the handlers.

        Raises:
            ConfigError: not in the main thread; Python allows handlers to be set there only.
        """
        if not self._signals:
            return
        if threading.current_thread() is not threading.main_thread():
            msg = (
                "signals: handlers can be installed in the main thread only; call configure() there"
            )
            raise ConfigError(msg)
        for number in self._signals:
            previous = signal.getsignal(number)
            if previous != self._handle:  # else it stayed, taken back from another thread
                self._previous[number] = previous
            if previous is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def uninstall(self) -> None:
        """Put back the handlers that are still ours."""
        for number, previous in list(self._previous.items()):
            if self._restore(number, previous):
                del self._previous[number]

    def _restore(self, number: int, previous: Any) -> bool:
        try:
            if signal.getsignal(number) == self._handle:
                signal.signal(number, signal.SIG_DFL if previous is None else previous)
        except ValueError:  # not in the main thread: the handler stays, and passes on
            return False
        return True

    def _handle(self, number: int, _frame: Any) -> None:
        previous = self._previous.get(number, signal.SIG_DFL)
        self._restore(number, previous)
        if self._draining:
            _raise_again(number)
            return
        self._draining = True
        try:
            # Not threading.Thread: its start() waits, and this is a signal handler.
            _thread.start_new_thread(
                self._drain_and_raise, (number, previous in {signal.SIG_DFL, None})
            )
        except RuntimeError:
            _raise_again(number)

    def _drain_and_raise(self, number: int, last: bool) -> None:
        try:
            self._drain(last)
        finally:
            self._draining = False
            _raise_again(number)


def _raise_again(number: int) -> None:
    """Send the signal to the main thread: one that blocks there is not woken by any other."""
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, number)
    else:
        signal.raise_signal(number)
