"""How far it is: a bar on a terminal, a line now and then anywhere else; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tell = Callable[[str, str], object]
PAUSE = 10.0  # seconds between two lines where no terminal is


@contextmanager
def progress(total: int) -> Iterator[Tell]:
    """Yield what has to be called before each of *total* measurements, with scenario and contestant."""
    if sys.stderr.isatty():
        try:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
            )
        except ImportError:
            pass  # lines will do
        else:
            columns = (
                TextColumn("{task.description:44}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
            with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task("", total=total)
                started = False

                def on_bar(scenario: str, contestant: str) -> None:
                    nonlocal started
                    bar.update(task, advance=int(started), description=f"{scenario}: {contestant}")
                    started = True

                yield on_bar
            return
    yield _lines(total)


def _lines(total: int) -> Tell:
    began = last = time.monotonic()
    done = 0
    before = ""

    def tell(scenario: str, _contestant: str) -> None:
        nonlocal last, done, before
        now = time.monotonic()
        if scenario != before or now - last > PAUSE:
            print(
                f"{now - began:6.0f} s  {done:4} of {total}  {scenario}",
                file=sys.stderr,
                flush=True,
            )
            before, last = scenario, now
        done += 1

    return tell
