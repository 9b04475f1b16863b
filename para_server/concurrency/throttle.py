"""The only place that says how long a watcher rests when changes come in a storm."""

from __future__ import annotations

from typing import Final

from para_server.core.model import Model

_PAUSE_FACTOR: Final = 4  # a look is followed by a rest of so many times what it took
_MAX_CREDIT: Final = 0.25  # seconds of looking that quiet saves up: a few changes are told at once
_LIGHT_LOAD: Final = (
    2  # sessions that begin at once; where there are more, each look counts for more
)
_MAX_DELAY: Final = 2.0  # seconds that a client waits for news at most


class RefreshPace(Model):
    """How much looking is owed for: `debt` in seconds of looking, as of `at`."""

    debt: float = 0.0
    at: float = 0.0


def record_refresh(pace: RefreshPace, began: float, ended: float, beginning: int) -> RefreshPace:
    """Note a look, which saw so many sessions begin; time pays back what is owed for it.

    No more is owed than the longest rest pays back: one slow look puts off no others.
    """
    weight = max(1.0, beginning / _LIGHT_LOAD)
    owed = _current_debt(pace, began) + weight * (ended - began)
    return RefreshPace(debt=min(owed, _MAX_CREDIT + _MAX_DELAY / _PAUSE_FACTOR), at=ended)


def refresh_delay(pace: RefreshPace, now: float) -> float:
    """Tell for how many seconds not to look."""
    return max(0.0, (_current_debt(pace, now) - _MAX_CREDIT) * _PAUSE_FACTOR)


def _current_debt(pace: RefreshPace, now: float) -> float:
    return max(0.0, pace.debt - max(0.0, now - pace.at) / _PAUSE_FACTOR)
