"""The only place that knows what a session is to those who look: its shape on the wire."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from para_server.core.errors import Problem, SafeText
from para_server.core.model import Model

SessionType = Literal["container", "worktree"]


class State(StrEnum):
    """Where a session is in its life."""

    PREPARING = "preparing"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


class AgentState(StrEnum):
    """What an agent is doing; `waiting` means that a person is needed."""

    STARTING = "starting"
    WORKING = "working"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    EXITED = "exited"
    UNKNOWN = "unknown"


class Container(Model):
    """The container of a session, while there is one."""

    id: str
    name: str
    image: str


class Agent(Model):
    """The agent of a session and what it last said of itself."""

    name: str
    state: AgentState
    detail: SafeText = ""
    since: datetime | None = None


class Session(Model):
    """A task of its own: container, clone, branch, agent."""

    id: str
    name: str
    type: SessionType
    state: State
    repo: str
    base: str
    branch: str
    workspace: str | None
    container: Container | None
    agent: Agent | None
    prompt: str
    created_at: datetime
    updated_at: datetime
    problem: Problem | None
    warnings: tuple[SafeText, ...] = ()
