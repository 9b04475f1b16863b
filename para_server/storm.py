"""The only place that says how long a watcher rests when changes come in a storm."""

from __future__ import annotations

from typing import Final

from para_server.errors import Frozen

_SHARE: Final = 13  # a look is followed by a rest of so many times what it took
_CREDIT: Final = 0.25  # seconds of looking that quiet saves up: a few changes are told at once
_CALM: Final = 0.05  # seconds; a look that takes longer has to wait for others, who are at work
_BUSY: Final = 3  # how many times what it takes beyond that counts
_LONGEST: Final = 2.0  # seconds that a client waits for news at most


class Pace(Frozen):
    """How much looking is owed for: `debt` in seconds of looking, as of `at`."""

    debt: float = 0.0
    at: float = 0.0


def looked(pace: Pace, began: float, ended: float) -> Pace:
    """Note a look; what it took is owed for, and time pays it back."""
    took = ended - began
    counted = min(took, _CALM) + _BUSY * max(0.0, took - _CALM)
    return Pace(debt=_owed(pace, began) + counted, at=ended)


def rest(pace: Pace, now: float) -> float:
    """Tell for how many seconds not to look."""
    return min(_LONGEST, max(0.0, (_owed(pace, now) - _CREDIT) * _SHARE))


def _owed(pace: Pace, now: float) -> float:
    return max(0.0, pace.debt - max(0.0, now - pace.at) / _SHARE)
