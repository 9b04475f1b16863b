"""When a session rests by itself: by the time that the machine was awake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from para_server.core.models import Agent, AgentState, State
from para_server.core.records import Record
from para_server.core.settings import AgentSettings
from para_server.core.time_limits import pause_time
from para_server.host.clock import ClockState, Jump, compare, jumped_seconds

START = datetime(2026, 1, 1, 9, tzinfo=UTC)
HOUR = 3600.0


def record() -> Record:
    return Record(
        id="one",
        name="one",
        type="container",
        state=State.RUNNING,
        repo="/repo",
        base="0" * 40,
        branch="para/one",
        created_at=START,
        updated_at=START,
        started_at=START,
    )


def agent(minutes: float, state: AgentState = AgentState.DONE) -> Agent:
    return Agent(name="command", state=state, since=START + timedelta(minutes=minutes))


def at(minutes: float) -> float:
    return (START + timedelta(minutes=minutes)).timestamp()


@pytest.mark.parametrize(
    ("jumps", "minutes"),
    [
        ((), 40),
        ((Jump(at(80), HOUR),), 100),  # it slept from 20 to 80
        ((Jump(at(65), HOUR),), 40),  # before it stood still
        ((Jump(at(-40), -HOUR),), -20),  # the clock was set back when it said 20
        ((Jump(at(80), HOUR), Jump(at(150), HOUR)), 160),
    ],
    ids=["awake", "slept", "slept before", "set back", "slept twice"],
)
def test_only_the_time_counts_in_which_the_machine_was_awake(
    jumps: tuple[Jump, ...], minutes: float
) -> None:
    settings = AgentSettings(idle_minutes=30)
    told = pause_time(record(), agent(10), settings, jumps)
    assert told == START + timedelta(minutes=minutes)


def test_the_time_at_work_is_that_of_a_machine_awake() -> None:
    settings = AgentSettings(max_minutes=60)
    told = pause_time(record(), agent(0, AgentState.WORKING), settings, (Jump(at(90), HOUR),))
    assert told == START + timedelta(minutes=120)


def test_what_is_at_work_does_not_stand_still() -> None:
    settings = AgentSettings(idle_minutes=1)
    assert pause_time(record(), agent(0, AgentState.WORKING), settings) is None


def test_a_jump_of_the_clock_is_seen_once_and_a_slow_clock_is_none() -> None:
    watch = compare(ClockState((), 0.0), 100.0, 100.0)
    watch = compare(watch, 202.0, 200.0)
    assert watch.jumps == ()
    watch = compare(watch, 202.0 + HOUR, 200.0)
    watch = compare(watch, 203.0 + HOUR, 201.0)
    assert watch.jumps == (Jump(202.0 + HOUR, HOUR),)
    assert jumped_seconds(202.0, watch.jumps) == HOUR
    assert jumped_seconds(203.0, watch.jumps) == 0
