"""Define a session as clients get it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from para_server.core.errors import Problem, SafeText
from para_server.core.model import Model

SessionType = Literal["container", "worktree"]


class State(StrEnum):
    """The state of a session."""

    PREPARING = "preparing"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


class AgentState(StrEnum):
    """The state of an agent; `waiting` means that it needs a person."""

    STARTING = "starting"
    WORKING = "working"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    EXITED = "exited"
    UNKNOWN = "unknown"


class Container(Model):
    """The container of a session."""

    id: str
    name: str
    image: str


class Agent(Model):
    """The agent of a session and its latest report."""

    name: str
    state: AgentState
    detail: SafeText = ""
    since: datetime | None = None


class Session(Model):
    """A task with its own workspace, branch, and (by type) container and agent.

    `engine` is the address of its engine as it was at dispatch, without a password. `title` is the
    first line of the prompt, or the name of a session without a prompt.
    """

    id: str
    name: str
    type: SessionType
    state: State
    repo: str
    base: str
    branch: str
    workspace: str | None
    container: Container | None
    engine: SafeText | None
    agent: Agent | None
    title: SafeText
    prompt: str
    created_at: datetime
    updated_at: datetime
    problem: Problem | None
    warnings: tuple[SafeText, ...] = ()
