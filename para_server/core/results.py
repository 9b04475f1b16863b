"""Define the results of commands and the bodies of notifications."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from para_server.core.errors import Problem, Remedy, SafeText
from para_server.core.model import Model
from para_server.core.models import Session


class ListResult(Model):
    """Sessions, the number of running containers, and its limit.

    Prompts are cut after 2,000 characters; `para.show` returns the whole prompt.
    """

    sessions: tuple[Session, ...]
    running: int
    limit: int


class BranchesResult(Model):
    """Branches of a repository."""

    branches: tuple[str, ...]


class Left(Model):
    """Work that is not in the branch or the archive: its path or ref, and the reason."""

    what: Literal["submodule", "stash", "branch", "tag", "ignored-repository", "merge"]
    path: str | None = None
    ref: str | None = None
    detail: SafeText = ""


class FinishResult(Model):
    """The branch of a finished session; `archive` is the ref of work that is not in the branch.

    `omitted` lists in sentences what this result leaves out; the branch itself is complete.
    """

    session: Session
    branch: str
    commit: str
    files: int
    insertions: int
    deletions: int
    auto_run_files: tuple[str, ...]
    omitted: tuple[str, ...] = ()
    left: tuple[Left, ...] = ()
    archive: str | None = None


class CancelResult(Model):
    """A cancelled session; `archive` is the ref of its work, null if there was none."""

    session: Session
    archive: str | None
    left: tuple[Left, ...] = ()


class Terminal(Model):
    """A command to run in a person's terminal."""

    command: str
    args: tuple[str, ...]


class OpenResult(Model):
    """A session with its folder and the command that opens it."""

    session: Session
    uri: str
    folder: str
    terminal: Terminal


class FileChange(Model):
    """One changed file; the line counts of a binary file are 0."""

    path: str
    status: str
    insertions: int
    deletions: int


class DiffResult(Model):
    """The changes of a session since its base commit.

    `omitted` lists in sentences what the patch leaves out, as the end of the patch does.
    """

    files: tuple[FileChange, ...]
    patch: str
    omitted: tuple[str, ...] = ()


class FileResult(Model):
    """The text of a file, cut if it is long, and empty if the file is binary."""

    path: str
    exists: bool
    binary: bool = False
    cut: bool = False
    text: str = ""


class Changes(Model):
    """The size of a session's changes since its base commit."""

    files: int
    insertions: int
    deletions: int


class StatsResult(Model):
    """The resource use and changes of a session; unknown values are null.

    `cpu` is in percent of one CPU, memory in bytes. The changes of an active session are reported
    by its container and not verified. `tooltip` is a text for editors, with further properties.
    """

    cpu: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    changes: Changes | None = None
    tooltip: SafeText = ""


class LogsResult(Model):
    """The output of an agent."""

    text: str


class BuildResult(Model):
    """A built image; size in bytes."""

    image: str
    id: str
    size: int
    seconds: float


LoginState = Literal["valid", "expired", "missing", "unknown"]


class SetupResult(Model):
    """The command that opens a login in a terminal, and its container."""

    terminal: Terminal
    container: str


class LoginResult(Model):
    """A new login for sessions; no image if it is in a volume."""

    image: str | None
    state: LoginState


class LoginStatus(Model):
    """The state of a login; `expires_at` is null if it is unknown."""

    state: LoginState
    expires_at: datetime | None
    image: str | None


class RemovedResult(Model):
    """The removed resources."""

    removed: tuple[str, ...]


class CleanResult(Model):
    """The resources that were or would be removed, and those that are kept."""

    removed: tuple[str, ...]
    kept: tuple[str, ...]


class Check(Model):
    """One check of a requirement."""

    name: str
    ok: bool
    detail: SafeText
    problem: Problem | None = None
    level: Literal["error", "warning", "ok"] = "ok"


class DoctorResult(Model):
    """All checks."""

    checks: tuple[Check, ...]


class StatusBar(Model):
    """The status bar of an editor."""

    text: SafeText
    tooltip: SafeText
    severity: Literal["ok", "attention", "error"]


class Attention(Model):
    """An event of a session that a person should know."""

    id: str
    name: str
    repo: str
    reason: Literal["waiting", "done", "failed"]
    message: SafeText
    remedies: tuple[Remedy, ...]


class SessionsChanged(ListResult):
    """The body of `para/sessionsChanged`; `attention` contains each event once."""

    status_bar: StatusBar
    attention: tuple[Attention, ...] = ()
