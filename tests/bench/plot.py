"""How the figures are drawn: how the cost of a session grows with the repository."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from tests.bench.measure import Figure

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 720, 360, 90, 50, 40
_COLOURS = ("#0969da", "#cf222e", "#8250df", "#57606a")
_BEGIN = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
    'font-family="sans-serif" font-size="12">'
)
Series = tuple[str, Sequence[tuple[float, float]]]


def growth(figures: Sequence[Figure]) -> str:
    """Draw the times of a dispatch, by the number of files, as an SVG that needs nothing else."""
    by_files = [f for f in figures if f.title.startswith("dispatch, ") and "git" in f.against]
    sizes = [float(f.title.split()[1].replace(",", "")) for f in by_files]
    ours = [statistics.median(f.ours) for f in by_files]
    theirs = [statistics.median(f.theirs) for f in by_files]
    series: list[Series] = [
        ("para dispatch", list(zip(sizes, ours, strict=True))),
        ("git worktree add, docker run", list(zip(sizes, theirs, strict=True))),
    ]
    for figure in figures:
        if figure.against in {"devcontainer up", "create + start, nothing else"}:
            level = statistics.median(figure.theirs)
            series.append((figure.against, [(sizes[0], level), (sizes[-1], level)]))
    return _drawn("From request to running container", series)


def _drawn(title: str, series: Sequence[Series]) -> str:
    points = [point for _, line in series for point in line]
    left, right = math.log10(min(x for x, _ in points)), math.log10(max(x for x, _ in points))
    low = math.floor(math.log10(min(y for _, y in points)))
    high = math.ceil(math.log10(max(y for _, y in points)))

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - left) / (right - left)
        up = (math.log10(y) - low) / (high - low)
        return (
            _LEFT + across * (_WIDTH - _LEFT - 30),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _BOTTOM - _TOP),
        )

    parts = [
        _BEGIN,
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _text(_WIDTH / 2, 22, title, anchor="middle", size=15),
        _text(_WIDTH / 2, _HEIGHT - 10, "files in the repository", anchor="middle"),
    ]
    for power in range(low, high + 1):
        y = at(10**left, 10**power)[1]
        label = f"{10**power:,.0f} ms"
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - 30}" stroke="#d0d7de"/>')
        parts.append(_text(_LEFT - 8, y + 4, label, anchor="end"))
    parts += [
        _text(at(x, 10**low)[0], _HEIGHT - _BOTTOM + 18, f"{x:,.0f}", anchor="middle")
        for x in sorted({x for x, _ in points})
    ]
    for turn, (name, line) in enumerate(series):
        colour = _COLOURS[turn % len(_COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in line))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(_LEFT + 12, _TOP + 12 + 16 * turn, name, colour=colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = "#24292f"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{colour}">{text}</text>'
    )
