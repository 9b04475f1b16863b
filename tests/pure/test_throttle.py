"""Throttling of refreshes: none after a quiet time, more under load."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from para_server.concurrency.throttle import RefreshPace, record_refresh, refresh_delay

CREDIT, LONGEST, SHARE, FEW = 0.25, 2.0, 4, 2


def refresh_repeatedly(
    durations: list[float], starting: int = 0
) -> tuple[RefreshPace, float, float]:
    """Refresh as soon as permitted; return the pace, the time, and the longest delay."""
    pace, now, longest = RefreshPace(), 100.0, 0.0
    for duration in durations:
        delay = refresh_delay(pace, now)
        longest = max(longest, delay)
        now += delay
        pace = record_refresh(pace, now, now + duration, starting)
        now += duration
    return pace, now, longest


def test_a_refresh_after_a_quiet_time_is_not_delayed() -> None:
    pace, now, _ = refresh_repeatedly([0.05] * 100)
    assert refresh_delay(pace, now) > 0
    assert refresh_delay(pace, now + 2.0) == 0


def test_a_few_refreshes_in_sequence_are_not_delayed() -> None:
    _, _, longest = refresh_repeatedly([0.02] * 10)
    assert longest == 0


# short refreshes, so that the delay after them is not limited
@given(st.lists(st.floats(0.001, LONGEST / SHARE), min_size=1, max_size=200))
def test_refreshes_take_a_limited_share_of_the_time(durations: list[float]) -> None:
    pace, now, longest = refresh_repeatedly(durations)
    until = now + refresh_delay(pace, now) - 100.0
    assert sum(durations) <= CREDIT + max(durations) + until / (1 + SHARE) * (1 + 1e-9)
    assert longest <= LONGEST * (1 + 1e-9)


@given(st.lists(st.floats(0, 1000), max_size=50), st.integers(0, 1000))
def test_two_quiet_seconds_pay_any_debt(durations: list[float], starting: int) -> None:
    pace, now, _ = refresh_repeatedly(durations, starting)
    assert refresh_delay(pace, now + LONGEST) == pytest.approx(0, abs=1e-6)
    # and the credit is enough for a few refreshes in sequence
    later = now + 2 * LONGEST
    assert refresh_delay(record_refresh(pace, later, later + 0.02, 0), later + 0.02) == 0


@given(st.one_of(st.floats(0, 1), st.floats(1, 1000)), st.integers(0, 1000))
def test_the_delay_after_one_refresh_is_limited(duration: float, starting: int) -> None:
    debt = duration * max(1.0, starting / FEW) - CREDIT
    assert refresh_delay(
        record_refresh(RefreshPace(), 0.0, duration, starting), duration
    ) == pytest.approx(min(LONGEST, max(0.0, debt) * SHARE))


def test_many_starting_sessions_slow_refreshes_down() -> None:
    def total_time(starting: int) -> float:
        return refresh_repeatedly([0.02] * 30, starting)[1] - 100.0

    assert total_time(FEW) == total_time(0)
    assert total_time(50) > 10 * total_time(0)
