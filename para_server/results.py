"""The only place that knows what commands answer, and what clients are told: their shapes."""

from __future__ import annotations

from typing import Literal

from para_server.errors import Frozen, Problem
from para_server.models import Session


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
