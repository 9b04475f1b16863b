"""Automatic pauses, computed from the time that the machine was awake."""

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
        ((Jump(at(65), HOUR),), 40),  # before it was idle
        ((Jump(at(-40), -HOUR),), -20),  # the clock was set back at 20
        ((Jump(at(80), HOUR), Jump(at(150), HOUR)), 160),
    ],
    ids=["awake", "slept", "slept before", "set back", "slept twice"],
)
def test_time_asleep_does_not_count_as_idle(jumps: tuple[Jump, ...], minutes: float) -> None:
    settings = AgentSettings(idle_minutes=30)
    result = pause_time(record(), agent(10), settings, jumps)
    assert result == START + timedelta(minutes=minutes)


def test_time_asleep_does_not_count_as_work() -> None:
    settings = AgentSettings(max_minutes=60)
    result = pause_time(record(), agent(0, AgentState.WORKING), settings, (Jump(at(90), HOUR),))
    assert result == START + timedelta(minutes=120)


def test_a_working_agent_is_not_idle() -> None:
    settings = AgentSettings(idle_minutes=1)
    assert pause_time(record(), agent(0, AgentState.WORKING), settings) is None


def test_a_jump_is_recorded_once_and_drift_is_ignored() -> None:
    state = compare(ClockState((), 0.0), 100.0, 100.0)
    state = compare(state, 202.0, 200.0)
    assert state.jumps == ()
    state = compare(state, 202.0 + HOUR, 200.0)
    state = compare(state, 203.0 + HOUR, 201.0)
    assert state.jumps == (Jump(202.0 + HOUR, HOUR),)
    assert jumped_seconds(202.0, state.jumps) == HOUR
    assert jumped_seconds(203.0, state.jumps) == 0
