"""Compute since when an agent is idle, and when its session is paused. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from para_server.core.models import Agent, AgentState
from para_server.core.records import Record
from para_server.core.settings import AgentSettings
from para_server.host import clock
from para_server.host.clock import Jump

_IDLE_STATES: Final = {AgentState.WAITING, AgentState.DONE, AgentState.FAILED, AgentState.EXITED}


def pause_time(
    record: Record, agent: Agent, settings: AgentSettings, jumps: tuple[Jump, ...] = ()
) -> datetime | None:
    """Return when a running session is paused, None without a limit.

    The limits are of the time since its start, and of the time that the agent is idle. An agent
    reports itself since when it is idle; times before its start are ignored. Jumps of the clock
    are added, as the machine slept.
    """
    started = record.started_at or record.created_at
    ends: list[datetime] = []
    if settings.max_minutes:
        ends.append(_add_minutes(started, settings.max_minutes, jumps))
    since = idle_since(record, agent)
    if settings.idle_minutes and since is not None:
        ends.append(_add_minutes(since, settings.idle_minutes, jumps))
    return min(ends, default=None)


def idle_since(record: Record, agent: Agent) -> datetime | None:
    """Return since when the agent of a running session is idle; None if it is not."""
    if agent.state not in _IDLE_STATES:
        return None
    started = record.started_at or record.created_at
    return max(agent.since or started, started)


def _add_minutes(moment: datetime, minutes: float, jumps: tuple[Jump, ...]) -> datetime:
    try:
        slept = clock.jumped_seconds(moment.timestamp(), jumps)
        return moment + timedelta(minutes=minutes, seconds=slept)
    except OverflowError:  # later than the last date
        return datetime.max.replace(tzinfo=UTC)


def with_pause_notice(agent: Agent, until: datetime) -> Agent:
    """Return an agent whose detail contains the time of the pause."""
    notice = f"pauses at {until.astimezone():%H:%M}"
    detail = f"{notice}; {agent.detail}" if agent.detail else notice
    return agent.model_copy(update={"detail": detail})
