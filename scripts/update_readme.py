"""Fill the generated parts of README.md and docs/: ``update_readme.py [demo] [bench] [--from JSON]``.

``demo`` runs the demo and shows what it printed.  ``bench`` measures nothing: it takes the JSON that
``make bench`` wrote (``bench-output/bench.json`` unless ``--from`` names another), puts the README's tables,
the numbers of docs/reference/benchmarks.md and the plots of docs/images/ in place, and keeps the JSON
beside them in docs/reference/bench.json.  Every number in the README comes from here, so that none can
grow old unseen.  Paths of this machine are made relative.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGE = ROOT / "docs" / "reference" / "benchmarks.md"
KEPT = ROOT / "docs" / "reference" / "bench.json"
IMAGES = ROOT / "docs" / "images"
MADE = ROOT / "bench-output" / "bench.json"


def output_of(script: str) -> str:
    """Run a script of the project and return what it printed."""
    result = subprocess.run(
        [sys.executable, script],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = [line.rstrip() for line in result.stdout.replace(f"{ROOT}/", "").splitlines()]
    return "\n".join(lines).strip()


def fill(text: str, part: str, content: str, where: str = "README.md") -> str:
    """Put *content* between the markers of *part*."""
    pattern = re.compile(rf"(<!-- {part}:start -->\n).*?(<!-- {part}:end -->)", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        sys.exit(f"{where}: the markers of {part!r} are missing or doubled")
    return pattern.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)


def show_demo() -> None:
    """Run the demo; its output goes into the README."""
    text = f"```console\n$ make demo\n{output_of('examples/shop/demo.py')}\n```"
    README.write_text(fill(README.read_text("utf-8"), "demo", text), "utf-8")


def show_bench(source: Path) -> None:
    """Publish one run of the benchmark."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import plots  # noqa: PLC0415 - matplotlib is only needed here
    import report  # noqa: PLC0415 - the same directory

    if not source.is_file():
        sys.exit(f"{source} does not exist: run make bench, or name the file with --from")
    document = json.loads(source.read_text("utf-8"))
    readme = fill(README.read_text("utf-8"), "bench", report.readme(document, "docs/images"))
    page = fill(
        PAGE.read_text("utf-8"), "bench", report.page(document, "../images"), "benchmarks.md"
    )
    plots.draw(document, IMAGES)
    README.write_text(readme, "utf-8")
    PAGE.write_text(page, "utf-8")
    kept = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    KEPT.write_text(kept + "\n", "utf-8")


def main() -> None:
    """Do what was asked for, or both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="demo, bench; both if none is given"
    )
    parser.add_argument(
        "--from", dest="source", type=Path, default=MADE, help="the benchmark's JSON"
    )
    options = parser.parse_args()
    unknown = set(options.parts) - {"demo", "bench"}
    if unknown:
        sys.exit(
            f"no generated part is called {', '.join(sorted(unknown))}; there are demo and bench"
        )
    for part in options.parts or ("demo", "bench"):
        show_demo() if part == "demo" else show_bench(options.source)


if __name__ == "__main__":
    main()
