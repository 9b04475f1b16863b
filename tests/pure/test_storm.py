"""How often a watcher looks: at once where it is calm, and seldom where it storms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from para_server.storm import Pace, looked, rest

CREDIT, LONGEST, SHARE = 0.25, 2.0, 13
CALM, BUSY = 0.05, 3


def counted(took: float) -> float:
    return took if took < CALM else CALM + BUSY * (took - CALM)


def stormed(taken: list[float]) -> tuple[Pace, float, float]:
    """Look again as soon as that may be; gives the pace, the time, and the longest rest."""
    pace, now, longest = Pace(), 100.0, 0.0
    for took in taken:
        rested = rest(pace, now)
        longest = max(longest, rested)
        now += rested
        pace = looked(pace, now, now + took)
        now += took
    return pace, now, longest


def test_a_change_after_quiet_is_looked_at_at_once() -> None:
    pace, now, _ = stormed([0.05] * 100)
    assert rest(pace, now) > 0
    assert rest(pace, now + 2.0) == 0


def test_a_few_changes_in_sequence_are_looked_at_at_once() -> None:
    _, _, longest = stormed([0.02] * 10)
    assert longest == 0


# looks so short that the rest after them is not cut off
@given(st.lists(st.floats(0.001, LONGEST / SHARE / BUSY), min_size=1, max_size=200))
def test_in_a_storm_looks_take_a_share_of_the_time(taken: list[float]) -> None:
    pace, now, longest = stormed(taken)
    until = now + rest(pace, now) - 100.0
    assert sum(taken) <= CREDIT + counted(max(taken)) + until / (1 + SHARE) * (1 + 1e-9)
    assert longest <= LONGEST


@given(st.one_of(st.floats(0, 1), st.floats(1, 1000)))
def test_however_long_a_look_took_the_next_is_not_put_off_for_long(took: float) -> None:
    assert rest(looked(Pace(), 0.0, took), took) == pytest.approx(
        min(LONGEST, max(0.0, counted(took) - CREDIT) * SHARE)
    )


def test_where_a_look_has_to_wait_for_others_there_are_fewer() -> None:
    def looks(took: float) -> float:
        pace, now, count = Pace(), 0.0, 0
        while now < 60:
            pace = looked(pace, now, now + took)
            now += took + rest(pace, now + took)
            count += 1
        return count * took

    assert looks(0.08) < looks(0.04) * 0.7
