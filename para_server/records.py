"""The only place that knows what para writes down of a session."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal

from pydantic import AwareDatetime

from para_server.errors import Frozen, Problem
from para_server.models import SessionType, State

SCHEMA: Final = 1

Doing = Literal["start", "pause", "resume", "finish", "cancel", "recover"]


class Record(Frozen):
    """A session as the disk has it; what the engine and git can tell is not in it.

    `doing` names the command that is under way: who finds it without a holder of the session's
    lock completes or undoes it. `target` is the commit that finish or cancel is about to keep;
    once its ref has it, the command is completed, not undone.
    """

    version: int = SCHEMA
    id: str
    name: str
    type: SessionType
    state: State
    repo: str
    common: str = ""  # its git folder, which it shares with linked worktrees
    base: str
    branch: str
    agent: str | None = None
    image: str = ""
    network: str = ""
    prompt: str = ""
    conversation: str | None = None  # the id that the agent's conversation was given
    created_at: AwareDatetime
    updated_at: AwareDatetime
    started_at: AwareDatetime | None = None  # when it was last started or resumed
    problem: Problem | None = None
    objects: Literal["shared", "own"] | None = None  # whose git objects it has; None: the setting's
    warnings: tuple[str, ...] = ()  # what a person should know of it, though it works
    unbegun: bool = False  # its agent was not started since it was recovered
    doing: Doing | None = None
    bases: tuple[str, ...] = ()  # the checkouts beneath its own files, topmost first
    fresh: bool = False  # the container is what resume makes, and goes when that is undone
    head: str | None = None  # where the worktree was before finish committed there
    target: str | None = None
    target_branch: str | None = None
    finished: str | None = None  # the commit that the branch was left at
    archive: str | None = None  # the commit that cancel kept
    archive_head: str | None = None  # where HEAD was, in a worktree that had left its branch
    archive_tip: str | None = None  # where the branch was then; the rest was uncommitted

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
