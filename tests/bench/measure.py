"""How two things are measured against each other, and what the figures say.

Absolute times say more about a machine than about para, so each figure is a ratio of two things
that are measured in pairs, in turn, in one run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Measure = Callable[[], Awaitable[float]]


@dataclass
class Figure:
    """What was measured of para, against what, and how much it may be.

    With something to compare with, `most` is a ratio, or with `extra` a difference; else a value.
    """

    title: str
    against: str = ""
    most: float | None = None
    least: float | None = None
    extra: bool = False
    unit: str = "ms"
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    @property
    def value(self) -> float:
        """The figure that is judged: of the medians, or the median."""
        ours = statistics.median(self.ours)
        if not self.theirs:
            return ours
        theirs = statistics.median(self.theirs)
        return ours - theirs if self.extra else ours / theirs

    @property
    def pairs(self) -> list[float]:
        """The same of each pair."""
        if self.extra:
            return [a - b for a, b in zip(self.ours, self.theirs, strict=False)]
        return [a / b for a, b in zip(self.ours, self.theirs, strict=False)]

    @property
    def met(self) -> bool:
        return (self.most is None or self.value <= self.most) and (
            self.least is None or self.value >= self.least
        )


async def compared(figure: Figure, pairs: int, ours: Measure, theirs: Measure) -> Figure:
    """Measure in pairs, each in the other order than the one before; the first does not count."""
    series = [(ours, figure.ours), (theirs, figure.theirs)]
    for pair in range(pairs + 1):
        for measure, into in series if pair % 2 else reversed(series):
            taken = await measure()
            if pair:
                into.append(taken)
    return figure


async def repeated(figure: Figure, times: int, measure: Measure) -> Figure:
    """Measure one thing several times; the first does not count."""
    for turn in range(times + 1):
        taken = await measure()
        if turn:
            figure.ours.append(taken)
    return figure


class Watch:
    """A stopwatch: `taken` is in milliseconds."""

    taken = 0.0


@asynccontextmanager
async def timed() -> AsyncIterator[Watch]:
    """Take the time of a block."""
    watch = Watch()
    began = time.perf_counter()
    yield watch
    watch.taken = (time.perf_counter() - began) * 1000
