"""The only place that says how long a watcher rests when changes come in a storm."""

from __future__ import annotations

from typing import Final

from para_server.core.model import Model

_SHARE: Final = 4  # a look is followed by a rest of so many times what it took
_CREDIT: Final = 0.25  # seconds of looking that quiet saves up: a few changes are told at once
_FEW: Final = 2  # sessions that begin at once; where there are more, each look counts for more
_LONGEST: Final = 2.0  # seconds that a client waits for news at most


class RefreshPace(Model):
    """How much looking is owed for: `debt` in seconds of looking, as of `at`."""

    debt: float = 0.0
    at: float = 0.0


def record_refresh(pace: RefreshPace, began: float, ended: float, beginning: int) -> RefreshPace:
    """Note a look, which saw so many sessions begin; time pays back what is owed for it.

    No more is owed than the longest rest pays back: one slow look puts off no others.
    """
    weight = max(1.0, beginning / _FEW)
    owed = _owed(pace, began) + weight * (ended - began)
    return RefreshPace(debt=min(owed, _CREDIT + _LONGEST / _SHARE), at=ended)


def refresh_delay(pace: RefreshPace, now: float) -> float:
    """Tell for how many seconds not to look."""
    return max(0.0, (_owed(pace, now) - _CREDIT) * _SHARE)


def _owed(pace: RefreshPace, now: float) -> float:
    return max(0.0, pace.debt - max(0.0, now - pace.at) / _SHARE)
