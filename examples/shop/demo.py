"""``make demo``: the shop under real load, a real fault and its end, and accounts that balance.

Starts ``app.py`` as a process of its own, sends it HTTP requests for ten seconds, takes its log
directory away half-way and gives it back, stops it by SIGTERM, and compares every number that it
reports with the lines in its files.  Exit code 1 if they do not agree.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import orjson
import report
from books import Shipper, balance, log_files
from load import Load
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

HERE = Path(__file__).resolve().parent
OWN_EVENTS = 3  # two of the request that found the shop open, one of the scrape of its metrics


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def start_shop(output: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start the application; return it and its address once it answers."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (output / "shop.stderr").open("wb") as stderr:
        shop = subprocess.Popen(
            [sys.executable, HERE / "app.py"],
            env={**os.environ, "SHOP_PORT": str(port), "SHOP_OUTPUT": str(output)},
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
        )
    ends = time.monotonic() + 30
    while time.monotonic() < ends and shop.poll() is None:
        try:
            httpx.get(f"{url}/products", timeout=2)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return shop, url
    shop.kill()
    sys.exit(f"The shop did not start:\n{(output / 'shop.stderr').read_text()}")


def take_away(directory: Path) -> None:
    """The fault: the directory is somewhere else, and a file has its name.  Not even root can write."""
    away = directory.with_name(f"{directory.name}.away")
    directory.rename(away)
    for number in itertools.count(1):
        try:
            with directory.open("x") as file:
                file.write("no directory any more\n")
        except FileExistsError:
            # The shop was quicker and made the directory anew; what it wrote there counts as well.
            directory.rename(away / f"interim-{number}")
        else:
            return


def give_back(directory: Path) -> None:
    """The end of the fault; the shop may be quicker here, too."""
    away = directory.with_name(f"{directory.name}.away")
    directory.unlink()
    for number in itertools.count(1):
        try:
            away.rename(directory)
        except OSError:
            directory.rename(away / f"interim-back-{number}")
        else:
            return


def run_load(console: Console, load: Load, output: Path, seconds: float) -> None:
    """Send requests for *seconds*, with the fault in the middle."""
    phases = [
        (0.40, "healthy", lambda: take_away(output / "primary")),
        (0.65, "[red]primary broken", lambda: give_back(output / "primary")),
        (1.00, "[green]mended", lambda: None),
    ]
    progress = Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(40),
        TextColumn("{task.fields[requests]:>6} requests  {task.fields[rate]:>5.0f}/s"),
        TimeElapsedColumn(),
        console=console,
    )
    started = time.monotonic()
    with progress:
        task = progress.add_task("", total=seconds, requests=0, rate=0.0)
        load.start()
        try:
            for share, name, then in phases:
                progress.update(task, description=name)
                console.print(f"{time.monotonic() - started:5.1f} s  {name}")
                while (passed := time.monotonic() - started) < share * seconds:
                    rate = load.requests / max(passed, 0.1)
                    progress.update(task, completed=passed, requests=load.requests, rate=rate)
                    time.sleep(0.05)
                then()
        finally:
            load.stop()
        progress.update(task, completed=seconds, requests=load.requests)


def scrape(url: str) -> str:
    """Return the metrics when the queue has run empty (its linger is much shorter than a second)."""
    time.sleep(1.0)
    return httpx.get(f"{url}/metrics", timeout=10).text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to send requests")
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    options = parser.parse_args()
    output: Path = options.output
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 110

    shop, url = start_shop(output)
    shipper = Shipper(output / "primary", output / "shipped")
    load = Load(url)
    try:
        shipper.start()
        console.print(f"The shop answers at {url}; its files are in {output}/")
        run_load(console, load, output, options.seconds)
        metrics = scrape(url)
        shop.send_signal(signal.SIGTERM)
        code = shop.wait(timeout=30)
    finally:
        if shop.poll() is None:
            shop.kill()
            shop.wait()
        shipper.stop()
    if not (output / "statistics.json").exists():
        sys.exit(f"The shop ended with {code}:\n{(output / 'shop.stderr').read_text()}")

    numbers = orjson.loads((output / "statistics.json").read_bytes())
    files = {
        "primary": log_files(output / "primary", output / "shipped"),
        "fallback": log_files(output / "fallback"),
    }
    checks, contents = balance(numbers, files, load.events + OWN_EVENTS, load.failed_payments)
    report.show(console, load, numbers, contents, metrics, output)
    return report.show_accounts(console, checks)


if __name__ == "__main__":
    sys.exit(main())
