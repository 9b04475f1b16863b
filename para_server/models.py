"""The only place that knows the shapes of what goes over the wire: params and results."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from para_server.errors import Frozen, Problem
from para_server.names import NAME_PATTERN

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Text = Annotated[str, StringConstraints(min_length=1)]
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


class Container(Frozen):
    """The container of a session, while there is one."""

    id: str
    name: str
    image: str


class Agent(Frozen):
    """The agent of a session and what it last said of itself."""

    name: str
    state: AgentState
    detail: str = ""
    since: datetime | None = None


class Session(Frozen):
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


class NoParams(Frozen):
    """Nothing to say."""


class StartParams(Frozen):
    """Start a session for a person."""

    name: Name | None = Field(None, description="its name; left out, one is made up")
    repo: str | None = Field(None, description="the repository; left out, the one that is open")
    base: Text | None = Field(None, description="the git revision to start from; default HEAD")
    branch: Text | None = Field(None, description="the branch that finish makes")
    type: SessionType | None = Field(None, description="container or worktree")
    agent: Text | None = Field(None, description="the agent to run")
    image: Text | None = Field(None, description="the image of its container")
    network: Text | None = Field(None, description="the network of its container")


class DispatchParams(StartParams):
    """Start a session with a task for an agent."""

    prompt: Text | None = Field(None, description="the task")
    prompt_file: Text | None = Field(None, description="a file that holds the task")

    @model_validator(mode="after")
    def one_prompt(self) -> DispatchParams:
        """Refuse both and neither."""
        if (self.prompt is None) == (self.prompt_file is None):
            raise ValueError("give either prompt or promptFile")
        return self


class SessionParams(Frozen):
    """Name a session; what is left out is told by the folder and by what is live."""

    name: Name | None = Field(None, description="the session; left out, the only live one")
    repo: str | None = Field(None, description="its repository; left out, the one that is open")


class RecoverParams(Frozen):
    """Name a cancelled session."""

    name: Name = Field(description="the session")
    repo: str | None = Field(None, description="its repository; left out, the one that is open")


class ListParams(Frozen):
    """Choose which sessions to list."""

    repo: str | None = Field(None, description="only those of this repository")
    all: bool = Field(default=False, description="finished and cancelled ones too")


class PauseParams(SessionParams):
    """Choose how to pause."""

    mode: Literal["save", "freeze"] = Field("save", description="save or freeze")


class ResumeParams(SessionParams):
    """Say what to add to the task."""

    prompt: Text | None = Field(None, description="what to go on with")


class FinishParams(SessionParams):
    """Say what the work is."""

    message: Text = Field(description="the message of the commit of what is uncommitted")
    branch: Text | None = Field(None, description="the branch to make; default the session's own")


class LogsParams(SessionParams):
    """Say how much of the output is wanted."""

    tail: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None, description="only so many lines from the end"
    )


class BuildParams(Frozen):
    """Say which image to build."""

    agent: Text | None = Field(None, description="the agent that the image is for")
    no_cache: bool = Field(default=False, description="build every layer anew")


class CleanParams(Frozen):
    """Say whether to remove or only to tell."""

    dry_run: bool = Field(default=False, description="only tell what would be removed")


class ListResult(Frozen):
    """Sessions, and how many containers run of how many that may."""

    sessions: tuple[Session, ...]
    running: int
    limit: int


class FinishResult(Frozen):
    """What a finished session brought."""

    session: Session
    branch: str
    commit: str
    files: int
    insertions: int
    deletions: int
    auto_run_files: tuple[str, ...]


class CancelResult(Frozen):
    """Where the work of a cancelled session is kept; no archive where there was none."""

    session: Session
    archive: str | None


class Terminal(Frozen):
    """A command for a person's terminal."""

    command: str
    args: tuple[str, ...]


class OpenResult(Frozen):
    """How to get into a session."""

    session: Session
    uri: str
    folder: str
    terminal: Terminal


class FileChange(Frozen):
    """One changed file; a binary file has no lines."""

    path: str
    status: str
    insertions: int
    deletions: int


class DiffResult(Frozen):
    """What a session has changed since its base."""

    files: tuple[FileChange, ...]
    patch: str


class LogsResult(Frozen):
    """What an agent printed."""

    text: str


class BuildResult(Frozen):
    """The image that was built; size in bytes."""

    image: str
    id: str
    size: int
    seconds: float


class CleanResult(Frozen):
    """What was, or would be, removed, and what is kept."""

    removed: tuple[str, ...]
    kept: tuple[str, ...]


class Check(Frozen):
    """One thing that para needs."""

    name: str
    ok: bool
    detail: str
    problem: Problem | None = None


class DoctorResult(Frozen):
    """Everything that para needs, each checked."""

    checks: tuple[Check, ...]


class StatusBar(Frozen):
    """What an editor shows in one line."""

    text: str
    tooltip: str
    severity: Literal["ok", "attention", "error"]


class SessionsChanged(ListResult):
    """The body of `para/sessionsChanged`."""

    status_bar: StatusBar
