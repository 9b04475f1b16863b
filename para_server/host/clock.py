"""The only place that notices that the machine slept, or that its clock was set."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

_LEAST: Final = 5.0  # seconds: less is how clocks are kept right
_KEPT: Final = 50  # jumps that are remembered


class Jump(NamedTuple):
    """A jump of the clock: what it said afterwards, and by how many seconds it went on."""

    when: float
    seconds: float


class Watch(NamedTuple):
    """The jumps so far, and by how much the clock is ahead of one that stands while all sleeps."""

    jumps: tuple[Jump, ...]
    ahead: float


def looked(watch: Watch, clock: float, awake: float) -> Watch:
    """Compare the clock with the seconds that the machine was awake. Pure."""
    gap = clock - awake - watch.ahead
    if abs(gap) < _LEAST:
        return Watch(watch.jumps, clock - awake)
    return Watch((*watch.jumps, Jump(clock, gap))[-_KEPT:], clock - awake)


def jumps() -> tuple[Jump, ...]:
    """Tell of the jumps that this process saw, as of now."""
    _watch[0] = looked(_watch[0], time.time(), time.monotonic())
    return _watch[0].jumps


def since(moment: float, known: tuple[Jump, ...]) -> float:
    """Sum up the seconds by which the clock jumped after it had said a moment. Pure."""
    return sum(jump.seconds for jump in known if moment <= jump.when - jump.seconds)


_watch: Final = [Watch((), time.time() - time.monotonic())]
