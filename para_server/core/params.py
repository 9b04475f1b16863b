"""The params of all commands; the descriptions are the options' help at a terminal."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from para_server.core.model import Model
from para_server.core.models import SessionType
from para_server.core.names import NAME_PATTERN, SESSION_PATTERN

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
NameOrId = Annotated[str, StringConstraints(pattern=SESSION_PATTERN)]
Text = Annotated[str, StringConstraints(min_length=1)]


class NoParams(Model):
    """A command without params."""


class StartParams(Model):
    """A session for a person."""

    name: Name | None = Field(None, description="name (default: generated)")
    repo: str | None = Field(None, description="repository (default: the current one)")
    base: Text | None = Field(None, description="git revision to start from (default: HEAD)")
    branch: Text | None = Field(
        None, description="branch that finish creates (default: from git.branchPrefix)"
    )
    type: SessionType | None = Field(
        None, description="container or worktree (default: from container.enabled)"
    )
    agent: Text | None = Field(None, description="agent (default: from agent.name)")
    image: Text | None = Field(None, description="container image (default: from container.image)")
    network: Text | None = Field(
        None, description="container network (default: from container.network)"
    )


class DispatchParams(StartParams):
    """A session with a task for an agent."""

    prompt: Text | None = Field(None, description="task for the agent")
    prompt_file: Text | None = Field(None, description="file that contains the task")

    @model_validator(mode="after")
    def one_prompt(self) -> DispatchParams:
        """Require exactly one of prompt and promptFile."""
        if (self.prompt is None) == (self.prompt_file is None):
            raise ValueError("set either prompt or promptFile")
        return self


class SessionParams(Model):
    """A session, by default the one of the current folder or the only active one."""

    name: NameOrId | None = Field(
        None, description="session name or id (default: the only active session)"
    )
    repo: str | None = Field(None, description="repository (default: the current one)")


class RecoverParams(Model):
    """A cancelled session."""

    name: NameOrId = Field(description="session name or id")
    repo: str | None = Field(None, description="repository (default: the current one)")


class RepoParams(Model):
    """A repository."""

    repo: str | None = Field(None, description="repository (default: the current one)")


class ListParams(Model):
    """The sessions to list."""

    repo: str | None = Field(None, description="list only the sessions of this repository")
    all: bool = Field(default=False, description="include finished and cancelled sessions")


class PauseParams(SessionParams):
    """A session and how to pause it."""

    mode: Literal["save", "freeze"] = Field(
        "save", description="save the container as an image, or freeze its processes"
    )


class StatsParams(SessionParams):
    """A session and what to measure."""

    load: bool = Field(
        default=True, description="measure CPU and memory, which takes 1 to 2 seconds"
    )


class ResumeParams(SessionParams):
    """A session and what to add to its task."""

    prompt: Text | None = Field(None, description="further instructions for the agent")


class FinishParams(SessionParams):
    """A session and how to commit its work."""

    message: Text = Field(description="commit message for uncommitted changes")
    branch: Text | None = Field(
        None, description="branch to create (default: the session's branch)"
    )


class FileParams(SessionParams):
    """A file of a session, at its base commit or at its latest review."""

    path: Text = Field(description="path from the top of the repository")
    side: Literal["base", "session"] = Field(
        "session", description="version: base commit or session"
    )


class SendParams(SessionParams):
    """A session and the text for its agent."""

    text: Text = Field(description="text to type for the agent; Enter is added")


class LogsParams(SessionParams):
    """A session and the part of its output."""

    tail: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None, description="number of lines from the end (default: all)"
    )


class BuildParams(Model):
    """The image to build."""

    agent: Text | None = Field(
        None, description="agent that the image is for (default: build para-base)"
    )
    no_cache: bool = Field(default=False, description="build without the layer cache")


class LoginParams(Model):
    """The agent that a login is for."""

    agent: Text | None = Field(None, description="agent (default: from agent.name)")


class SetupParams(LoginParams):
    """The agent that a login is for, and its first content."""

    copy_host_login: bool = Field(
        default=False, description="start with a copy of your login on the host"
    )


class CleanupParams(Model):
    """The agent whose login to remove."""

    agent: Text | None = Field(None, description="agent (default: all agents)")


class CleanParams(Model):
    """Whether to remove leftovers or only list them."""

    dry_run: bool = Field(default=False, description="list what would be removed")
