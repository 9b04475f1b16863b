"""The only place that knows what commands answer, and what clients are told: their shapes."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from para_server.core.errors import Problem, Remedy, SafeText
from para_server.core.model import Model
from para_server.core.models import Session


class ListResult(Model):
    """Sessions, and how many containers run of how many that may.

    Of a prompt here are the first 2,000 characters at most; `para.show` returns all of it.
    """

    sessions: tuple[Session, ...]
    running: int
    limit: int


class BranchesResult(Model):
    """Branches of a repository."""

    branches: tuple[str, ...]


class Left(Model):
    """Work that is not in the branch (or archive): where it is, by path or by ref, and why."""

    what: Literal["submodule", "stash", "branch", "tag", "ignored-repository", "merge"]
    path: str | None = None
    ref: str | None = None
    detail: SafeText = ""


class FinishResult(Model):
    """What a finished session brought; `archive` is the ref of what is kept beside the branch.

    `omitted` names what of it is not known or not listed, a sentence each: the branch is whole.
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
    """Where the work of a cancelled session is kept; no archive where there was none."""

    session: Session
    archive: str | None
    left: tuple[Left, ...] = ()


class Terminal(Model):
    """A command for a person's terminal."""

    command: str
    args: tuple[str, ...]


class OpenResult(Model):
    """How to get into a session."""

    session: Session
    uri: str
    folder: str
    terminal: Terminal


class FileChange(Model):
    """One changed file; a binary file has no lines."""

    path: str
    status: str
    insertions: int
    deletions: int


class DiffResult(Model):
    """What a session has changed since its base.

    `omitted` names what of it is left out, a sentence each, as the end of the patch does.
    """

    files: tuple[FileChange, ...]
    patch: str
    omitted: tuple[str, ...] = ()


class FileResult(Model):
    """A file for people to read: `text` is cut where it is long, and empty where it is binary."""

    path: str
    exists: bool
    binary: bool = False
    cut: bool = False
    text: str = ""


class Changes(Model):
    """How much a session has changed since its base."""

    files: int
    insertions: int
    deletions: int


class StatsResult(Model):
    """What a session uses and has changed; what cannot be told is null.

    `cpu` is in percent of one CPU, memory in bytes. The changes of a live session are what its
    container says: a claim. `tooltip` says it in words, with what else an editor shows of a
    session that is pointed at.
    """

    cpu: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    changes: Changes | None = None
    tooltip: SafeText = ""


class LogsResult(Model):
    """What an agent printed."""

    text: str


class BuildResult(Model):
    """The image that was built; size in bytes."""

    image: str
    id: str
    size: int
    seconds: float


LoginState = Literal["valid", "expired", "missing", "unknown"]


class SetupResult(Model):
    """Where to log in: a command for a terminal, and the container that it leads into."""

    terminal: Terminal
    container: str


class LoginResult(Model):
    """The login that sessions have from now on; no image where it is shared in a volume."""

    image: str | None
    state: LoginState


class LoginStatus(Model):
    """How good a login is; no time where it does not say when it ends."""

    state: LoginState
    expires_at: datetime | None
    image: str | None


class RemovedResult(Model):
    """What was removed."""

    removed: tuple[str, ...]


class CleanResult(Model):
    """What was, or would be, removed, and what is kept."""

    removed: tuple[str, ...]
    kept: tuple[str, ...]


class Check(Model):
    """One thing that para needs."""

    name: str
    ok: bool
    detail: SafeText
    problem: Problem | None = None
    level: Literal["error", "warning", "ok"] = "ok"


class DoctorResult(Model):
    """Everything that para needs, each checked."""

    checks: tuple[Check, ...]


class StatusBar(Model):
    """What an editor shows in one line."""

    text: SafeText
    tooltip: SafeText
    severity: Literal["ok", "attention", "error"]


class Attention(Model):
    """What has just happened to a session that a person may want to hear of."""

    id: str
    name: str
    repo: str
    reason: Literal["waiting", "done", "failed"]
    message: SafeText
    remedies: tuple[Remedy, ...]


class SessionsChanged(ListResult):
    """The body of `para/sessionsChanged`; each event stands once in `attention`."""

    status_bar: StatusBar
    attention: tuple[Attention, ...] = ()
