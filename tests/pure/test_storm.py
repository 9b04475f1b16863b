"""How often a watcher looks: at once where it is calm, and seldom where it storms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from para_server.concurrency.throttle import RefreshPace, record_refresh, refresh_delay

CREDIT, LONGEST, SHARE, FEW = 0.25, 2.0, 4, 2


def stormed(taken: list[float], beginning: int = 0) -> tuple[RefreshPace, float, float]:
    """Look again as soon as that may be; gives the pace, the time, and the longest rest."""
    pace, now, longest = RefreshPace(), 100.0, 0.0
    for took in taken:
        rested = refresh_delay(pace, now)
        longest = max(longest, rested)
        now += rested
        pace = record_refresh(pace, now, now + took, beginning)
        now += took
    return pace, now, longest


def test_a_change_after_quiet_is_looked_at_at_once() -> None:
    pace, now, _ = stormed([0.05] * 100)
    assert refresh_delay(pace, now) > 0
    assert refresh_delay(pace, now + 2.0) == 0


def test_a_few_changes_in_sequence_are_looked_at_at_once() -> None:
    _, _, longest = stormed([0.02] * 10)
    assert longest == 0


# looks so short that the rest after them is not cut off
@given(st.lists(st.floats(0.001, LONGEST / SHARE), min_size=1, max_size=200))
def test_in_a_storm_looks_take_a_share_of_the_time(taken: list[float]) -> None:
    pace, now, longest = stormed(taken)
    until = now + refresh_delay(pace, now) - 100.0
    assert sum(taken) <= CREDIT + max(taken) + until / (1 + SHARE) * (1 + 1e-9)
    assert longest <= LONGEST * (1 + 1e-9)


@given(st.lists(st.floats(0, 1000), max_size=50), st.integers(0, 1000))
def test_whatever_came_before_two_seconds_of_quiet_pay_for_it(
    taken: list[float], beginning: int
) -> None:
    pace, now, _ = stormed(taken, beginning)
    assert refresh_delay(pace, now + LONGEST) == pytest.approx(0, abs=1e-6)
    # and what is saved up by then is enough for a few changes in sequence
    later = now + 2 * LONGEST
    assert refresh_delay(record_refresh(pace, later, later + 0.02, 0), later + 0.02) == 0


@given(st.one_of(st.floats(0, 1), st.floats(1, 1000)), st.integers(0, 1000))
def test_however_long_a_look_took_the_next_is_not_put_off_for_long(
    took: float, beginning: int
) -> None:
    owed = took * max(1.0, beginning / FEW) - CREDIT
    assert refresh_delay(
        record_refresh(RefreshPace(), 0.0, took, beginning), took
    ) == pytest.approx(min(LONGEST, max(0.0, owed) * SHARE))


def test_a_few_that_begin_at_once_are_watched_as_one_is_and_fifty_seldom() -> None:
    def lasted(beginning: int) -> float:
        return stormed([0.02] * 30, beginning)[1] - 100.0

    assert lasted(FEW) == lasted(0)
    assert lasted(50) > 10 * lasted(0)
