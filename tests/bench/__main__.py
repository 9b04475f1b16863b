"""The benchmark's command line: `make bench`, or `python -m tests.bench` with parts of it."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import crowd, dispatching, living, plot, serving
from tests.bench.measure import Figure
from tests.bench.place import Place, place

DOCS = Path(__file__).resolve().parents[2] / "docs"
PARTS = ("dispatch", "living", "serving", "crowd")


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="only these of it")
    parser.add_argument("--pairs", type=int, default=7, help="pairs of each comparison")
    parser.add_argument("--sessions", type=int, default=50, help="how many are started at once")
    parser.add_argument("--write", action="store_true", help="keep the plot and table in docs/")
    arguments = parser.parse_args()
    began = time.monotonic()
    with place() as where:
        figures = asyncio.run(_measured(where, arguments))
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(_table(figures))
    console.print(f"It took {time.monotonic() - began:.0f} seconds")
    if arguments.write:
        (DOCS / "performance.svg").write_text(plot.growth(figures))
        (DOCS / "performance-figures.md").write_text(_page(figures))
    sys.exit(0 if all(figure.met for figure in figures) else 1)


async def _measured(where: Place, arguments: argparse.Namespace) -> list[Figure]:
    parts: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
        "dispatch": lambda: dispatching.figures(where, arguments.pairs),
        "living": lambda: living.figures(where, arguments.pairs),
        "serving": lambda: serving.figures(where, arguments.pairs),
        "crowd": lambda: crowd.figures(where, arguments.pairs, arguments.sessions),
    }
    found: list[Figure] = []
    for name, measured in parts.items():
        if not arguments.parts or name in arguments.parts:
            print(f"Measuring {name}", file=sys.stderr, flush=True)
            found += await measured()
    return found


def _row(figure: Figure) -> list[str]:
    """Write a figure as the cells of a table."""
    unit = figure.unit if figure.extra or not figure.theirs else ""
    digits = 0 if unit == "ms" and figure.value >= 10 else 2
    limit = ""
    if figure.most is not None:
        limit = f"at most {figure.most:g} {unit}".strip()
    if figure.least is not None:
        limit = f"at least {figure.least:g} {unit}".strip()
    pairs = figure.pairs if figure.theirs else figure.ours
    return [
        figure.title,
        f"{_spread(figure.ours)} {figure.unit}",
        figure.against,
        f"{_spread(figure.theirs)} {figure.unit}" if figure.theirs else "",
        f"{figure.value:.{digits}f} {unit}".strip(),
        f"{min(pairs):.{digits}f}-{max(pairs):.{digits}f}" if len(pairs) > 1 else "",
        limit,
        "" if not limit else "met" if figure.met else "missed",
    ]


_TITLES = ("what", "para", "against", "it takes", "figure", "of the pairs", "limit", "")


def _table(figures: list[Figure]) -> Table:
    table = Table(title="Medians, and the range from the least to the most")
    for title in _TITLES:
        table.add_column(title)
    for figure in figures:
        *cells, verdict = _row(figure)
        colour = {"met": "green", "missed": "bold red"}.get(verdict)
        table.add_row(*cells, f"[{colour}]{verdict}[/]" if colour else verdict)
    return table


def _page(figures: list[Figure]) -> str:
    rows = [_TITLES, ("---",) * len(_TITLES), *(_row(figure) for figure in figures)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    note = "<!-- Written by `make bench`. -->"
    return "\n".join([note, "", "# Figures", "", *lines]) + "\n"


def _spread(values: list[float]) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    digits = 0 if middle >= 10 else 2
    if len(values) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


if __name__ == "__main__":
    main()
