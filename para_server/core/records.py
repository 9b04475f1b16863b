"""Define the record of a session.

Everything that becomes part of a path, a ref or a command line is validated, so a record that
another program modified cannot make para do more than its own records.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePath
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
)

from para_server.core.errors import Issue, Problem, Remedy
from para_server.core.model import Model
from para_server.core.models import SessionType, State
from para_server.core.names import NAME_PATTERN, SESSION_PATTERN, is_valid_branch

SCHEMA: Final = 1

_PROBLEM_FIELDS: Final = frozenset(Problem.model_fields)
_REMEDY_FIELDS: Final = frozenset(Remedy.model_fields)
_ISSUE_FIELDS: Final = frozenset(Issue.model_fields)

Doing = Literal["start", "pause", "resume", "finish", "cancel", "recover"]


def _matching(pattern: str) -> StringConstraints:
    return StringConstraints(pattern=f"^(?:{pattern.strip('^$')})?$")


def _valid_branch(text: str) -> str:
    if text and not is_valid_branch(text):
        raise ValueError("not a branch name")
    return text


def _valid_path(text: str) -> str:
    if "\0" in text or (text and not PurePath(text).is_absolute()):
        raise ValueError("not an absolute path")
    return text


def _known_fields(problem: object) -> object:
    """Return a stored problem without the fields that only a newer para knows."""
    if not isinstance(problem, dict):
        return problem
    known = {key: value for key, value in problem.items() if key in _PROBLEM_FIELDS}
    for key, fields in (("remedies", _REMEDY_FIELDS), ("issues", _ISSUE_FIELDS)):
        if isinstance(items := known.get(key), list):
            known[key] = [
                {k: v for k, v in item.items() if k in fields} if isinstance(item, dict) else item
                for item in items
            ]
    return known


# an empty value is not decided yet
_Id = Annotated[str, _matching(SESSION_PATTERN)]
_Name = Annotated[str, _matching(NAME_PATTERN)]
_Commit = Annotated[str, _matching("[0-9a-f]{40}(?:[0-9a-f]{24})?")]
_Branch = Annotated[str, AfterValidator(_valid_branch)]
_Place = Annotated[str, AfterValidator(_valid_path)]
_Base = Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}-[0-9a-f]{40,64}$")]
_Conversation = Annotated[str, StringConstraints(pattern="^[0-9a-f-]{36}$")]


class Record(Model):
    """The stored state of a session, without what the engine and git can report.

    Fields that only a newer para knows are kept as they are, so that they survive an older one.

    `doing` is the running command. If no process has the session's lock, the command was killed,
    and the next process completes it or rolls it back. `target` is the commit that finish or cancel
    will keep; once its ref exists, the command is completed, not rolled back.
    """

    model_config = ConfigDict(extra="allow")

    version: int = SCHEMA
    id: _Id
    name: _Name
    type: SessionType
    state: State
    repo: _Place
    common: _Place = ""  # the git folder that linked worktrees share
    base: _Commit
    branch: _Branch
    agent: str | None = None
    image: str = ""
    network: Literal["", "bridge", "host", "none"] = ""
    engine: str = ""  # the address of its engine at dispatch, without a password
    prompt: str = ""
    conversation: _Conversation | None = None  # the id of the agent's conversation
    created_at: AwareDatetime
    updated_at: AwareDatetime
    started_at: AwareDatetime | None = None  # when it was last started or resumed
    problem: Annotated[Problem | None, BeforeValidator(_known_fields)] = None
    objects: Literal["shared", "own"] | None = None  # None: as the setting says
    warnings: tuple[str, ...] = ()  # the session works, but a person should know
    unbegun: bool = False  # recovered, and the agent not started since
    doing: Doing | None = None
    bases: tuple[_Base, ...] = ()  # its base checkouts, topmost first
    fresh: bool = False  # created by resume, removed by its rollback
    head: _Commit | None = None  # HEAD of the worktree before finish committed
    target: _Commit | None = None
    target_branch: _Branch | None = None
    finished: _Commit | None = None  # the last commit of the finished branch
    archive: _Commit | None = None  # the commit of the archive ref
    archive_head: _Commit | None = None  # HEAD of a worktree that had left its branch
    archive_tip: _Commit | None = None  # the branch then; the rest was uncommitted

    @property
    def refs_at(self) -> str:
        """Return the folder of the repository's refs, which linked worktrees share."""
        return self.common or self.repo

    def has_own_objects(self, setting: str) -> bool:
        """Return whether it has a copy of the objects of its base, and no access to others."""
        return (self.objects or setting) == "own"

    def updated(self, **changes: object) -> Record:
        """Return a changed copy with the current time as updated_at."""
        return self.model_validate({**dict(self), "updated_at": datetime.now(UTC), **changes})
