"""Throttle refreshes: the delay before the next one grows with the cost of the last ones."""

from __future__ import annotations

from typing import Final

from para_server.core.model import Model

_PAUSE_FACTOR: Final = 4  # the delay, as a multiple of the time that a refresh took
_MAX_CREDIT: Final = 0.25  # seconds of refreshing that need no delay after a quiet time
_LIGHT_LOAD: Final = 2  # sessions that start at once; with more of them, a refresh costs more
_MAX_DELAY: Final = 2.0  # seconds


class RefreshPace(Model):
    """The cost of recent refreshes: `debt` in seconds of refreshing, as of the time `at`."""

    debt: float = 0.0
    at: float = 0.0


def record_refresh(pace: RefreshPace, started: float, ended: float, starting: int) -> RefreshPace:
    """Record a refresh and what it cost; `starting` is the number of sessions that start.

    The debt is limited to what the longest delay pays back, so one slow refresh delays one other.
    """
    weight = max(1.0, starting / _LIGHT_LOAD)
    debt = _current_debt(pace, started) + weight * (ended - started)
    return RefreshPace(debt=min(debt, _MAX_CREDIT + _MAX_DELAY / _PAUSE_FACTOR), at=ended)


def refresh_delay(pace: RefreshPace, now: float) -> float:
    """Return the seconds to wait before the next refresh."""
    return max(0.0, (_current_debt(pace, now) - _MAX_CREDIT) * _PAUSE_FACTOR)


def _current_debt(pace: RefreshPace, now: float) -> float:
    return max(0.0, pace.debt - max(0.0, now - pace.at) / _PAUSE_FACTOR)
