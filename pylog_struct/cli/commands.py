"""The commands of ``pylog``."""

from __future__ import annotations

import platform
import sys
from collections import deque
from importlib.metadata import version as distribution_version
from lzma import LZMAError
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson
import structlog
from rich.console import Console

from pylog_struct import __version__
from pylog_struct._compiled import SPEED
from pylog_struct.cli.elk import elk
from pylog_struct.cli.pretty import Event, pretty
from pylog_struct.cli.reading import COMPRESSED, MissingDependencyError, follow, read_lines
from pylog_struct.errors import ConfigError
from pylog_struct.levels import NOTSET, parse_level

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pylog", "version", "view"]


def _parse_level(context: click.Context, parameter: click.Parameter, value: str) -> int:
    try:
        return parse_level(value)
    except ConfigError as error:
        raise click.BadParameter(str(error), context, parameter) from error


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def pylog() -> None:
    """Look at JSON logs, and make a cluster ready for them."""


pylog.add_command(elk)


@pylog.command()
def version() -> None:
    """Print the versions that a bug report needs."""
    click.echo(f"pylog_struct {__version__}")
    click.echo(f"Python {platform.python_version()} ({platform.python_implementation()})")
    click.echo(f"structlog {structlog.__version__}")
    click.echo(f"orjson {orjson.__version__}")
    click.echo(f"prometheus-client {distribution_version('prometheus-client')}")
    click.echo(f"hot path: {'in Python' if SPEED is None else 'compiled'}")


@pylog.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "-f", "--follow", "following", is_flag=True, help="Wait for more; survives roll-overs."
)
@click.option("--level", callback=_parse_level, default="notset", help="Show this level and above.")
@click.option("-n", "--lines", type=click.IntRange(min=0), help="Only the last N that match.")
@click.option("--color/--no-color", default=None, help="Default: colours on a terminal.")
def view(
    files: tuple[Path, ...],
    *,
    following: bool,
    level: int,
    lines: int | None,
    color: bool | None,
) -> None:
    """Print JSON lines for people: plain files, .gz, .bz2, .xz, .zst, or - for standard input.

    What is no JSON is shown as it is, except for characters that a terminal would obey.  A file that
    cannot be read, or not to its end, is named on stderr; the others are shown, and the exit code is 1.
    """
    if following and (len(files) != 1 or str(files[0]) == "-" or files[0].suffix in COMPRESSED):
        raise click.UsageError("--follow takes exactly one plain file")
    console = Console(
        force_terminal=color,
        no_color=True if color is False else None,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
    )
    troubles: list[str] = []
    try:
        if following:
            found = _matching(follow(files[0], start=lines), level)
        else:
            all_lines = (line for path in files for line in _readable_lines(path, troubles))
            found = _matching(all_lines, level)
        for event in found if lines is None or following else deque(found, maxlen=lines):
            console.print(pretty(event))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        raise click.ClickException(str(error)) from error
    if troubles:
        sys.exit(1)


def _readable_lines(path: Path, troubles: list[str]) -> Iterator[bytes]:
    """Yield the lines of *path* as far as it can be read; say on stderr, and note, why not further."""
    try:
        yield from read_lines(path)
    except EOFError:
        troubles.append(f"{path} ends in the middle of its compressed data")
    except LZMAError as error:
        troubles.append(f"{path}: {error}")
    except (OSError, MissingDependencyError) as error:
        troubles.append(str(error))
    else:
        return
    click.echo(f"Error: {troubles[-1]}", err=True)


def _matching(lines: Iterator[bytes], level: int) -> Iterator[Event]:
    for line in lines:
        if not line:
            continue
        event = Event(line)
        if level == NOTSET or event.level >= level:
            yield event
