"""The only place that knows what para writes down of a session.

A record that was changed by others makes para do no more than one of its own: what becomes part of
a path, of a ref or of a command line has the form that para gives it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePath
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, StringConstraints

from para_server.core.errors import Problem
from para_server.core.model import Model
from para_server.core.models import SessionType, State
from para_server.core.names import NAME_PATTERN, SESSION_PATTERN, is_valid_branch

SCHEMA: Final = 1

Doing = Literal["start", "pause", "resume", "finish", "cancel", "recover"]


def _matching(pattern: str) -> StringConstraints:
    return StringConstraints(pattern=f"^(?:{pattern.strip('^$')})?$")


def _valid_branch(text: str) -> str:
    if text and not is_valid_branch(text):
        raise ValueError("no name of a branch")
    return text


def _valid_path(text: str) -> str:
    if "\0" in text or (text and not PurePath(text).is_absolute()):
        raise ValueError("no absolute path")
    return text


# each may be empty, as long as it is not decided yet
_Id = Annotated[str, _matching(SESSION_PATTERN)]
_Name = Annotated[str, _matching(NAME_PATTERN)]
_Commit = Annotated[str, _matching("[0-9a-f]{40}(?:[0-9a-f]{24})?")]
_Branch = Annotated[str, AfterValidator(_valid_branch)]
_Place = Annotated[str, AfterValidator(_valid_path)]
_Base = Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}-[0-9a-f]{40,64}$")]
_Conversation = Annotated[str, StringConstraints(pattern="^[0-9a-f-]{36}$")]


class Record(Model):
    """A session as the disk has it; what the engine and git can tell is not in it.

    `doing` names the command that is under way: who finds it without a holder of the session's
    lock completes or undoes it. `target` is the commit that finish or cancel is about to keep;
    once its ref has it, the command is completed, not undone.
    """

    version: int = SCHEMA
    id: _Id
    name: _Name
    type: SessionType
    state: State
    repo: _Place
    common: _Place = ""  # its git folder, which it shares with linked worktrees
    base: _Commit
    branch: _Branch
    agent: str | None = None
    image: str = ""
    network: Literal["", "bridge", "host", "none"] = ""
    prompt: str = ""
    conversation: _Conversation | None = None  # the id that the agent's conversation was given
    created_at: AwareDatetime
    updated_at: AwareDatetime
    started_at: AwareDatetime | None = None  # when it was last started or resumed
    problem: Problem | None = None
    objects: Literal["shared", "own"] | None = None  # whose git objects it has; None: the setting's
    warnings: tuple[str, ...] = ()  # what a person should know of it, though it works
    unbegun: bool = False  # its agent was not started since it was recovered
    doing: Doing | None = None
    bases: tuple[_Base, ...] = ()  # the checkouts beneath its own files, topmost first
    fresh: bool = False  # the container is what resume makes, and goes when that is undone
    head: _Commit | None = None  # where the worktree was before finish committed there
    target: _Commit | None = None
    target_branch: _Branch | None = None
    finished: _Commit | None = None  # the commit that the branch was left at
    archive: _Commit | None = None  # the commit that cancel kept
    archive_head: _Commit | None = None  # where HEAD was, in a worktree that had left its branch
    archive_tip: _Commit | None = None  # where the branch was then; the rest was uncommitted

    @property
    def refs_at(self) -> str:
        """Name the place of the repository's refs: linked worktrees have the same."""
        return self.common or self.repo

    def has_own_objects(self, setting: str) -> bool:
        """Return whether it has a copy of what its base reaches, and sees no more of the rest."""
        return (self.objects or setting) == "own"

    def but(self, **changes: object) -> Record:
        """Give the record with changes, as of now."""
        return self.model_validate({**dict(self), "updated_at": datetime.now(UTC), **changes})
