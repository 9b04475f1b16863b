"""The only place that notices that the machine slept, or that its clock was set."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

_MIN_JUMP: Final = 5.0  # seconds: less is how clocks are kept right
_MAX_JUMPS: Final = 50  # jumps that are remembered


class Jump(NamedTuple):
    """A jump of the clock: what it said afterwards, and by how many seconds it went on."""

    when: float
    seconds: float


class ClockState(NamedTuple):
    """The jumps so far, and by how much the clock is ahead of one that stands while all sleeps."""

    jumps: tuple[Jump, ...]
    ahead: float


def compare(watch: ClockState, clock: float, awake: float) -> ClockState:
    """Compare the clock with the seconds that the machine was awake. Pure."""
    gap = clock - awake - watch.ahead
    if abs(gap) < _MIN_JUMP:
        return ClockState(watch.jumps, clock - awake)
    return ClockState((*watch.jumps, Jump(clock, gap))[-_MAX_JUMPS:], clock - awake)


def observed_jumps() -> tuple[Jump, ...]:
    """Tell of the jumps that this process saw, as of now."""
    _state[0] = compare(_state[0], time.time(), time.monotonic())
    return _state[0].jumps


def jumped_seconds(moment: float, known: tuple[Jump, ...]) -> float:
    """Sum up the seconds by which the clock jumped after it had said a moment. Pure."""
    return sum(jump.seconds for jump in known if moment <= jump.when - jump.seconds)


_state: Final = [ClockState((), time.time() - time.monotonic())]
