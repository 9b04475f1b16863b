"""Detect that the machine slept or that its clock was set."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

_MIN_JUMP: Final = 5.0  # seconds; smaller differences come from NTP
_MAX_JUMPS: Final = 50  # latest jumps


class Jump(NamedTuple):
    """A jump of the clock: the time after it, and the seconds that were skipped."""

    when: float
    seconds: float


class ClockState(NamedTuple):
    """The jumps so far, and the difference between the clock and the monotonic clock."""

    jumps: tuple[Jump, ...]
    ahead: float


def compare(state: ClockState, clock: float, awake: float) -> ClockState:
    """Return the state after a comparison of the clock with the monotonic clock. Pure."""
    gap = clock - awake - state.ahead
    if abs(gap) < _MIN_JUMP:
        return ClockState(state.jumps, clock - awake)
    return ClockState((*state.jumps, Jump(clock, gap))[-_MAX_JUMPS:], clock - awake)


def observed_jumps() -> tuple[Jump, ...]:
    """Return the jumps of the clock since this process started."""
    _state[0] = compare(_state[0], time.time(), time.monotonic())
    return _state[0].jumps


def jumped_seconds(moment: float, known: tuple[Jump, ...]) -> float:
    """Return the seconds that the clock has skipped since a time. Pure."""
    return sum(jump.seconds for jump in known if moment <= jump.when - jump.seconds)


_state: Final = [ClockState((), time.time() - time.monotonic())]
