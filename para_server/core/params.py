"""The only place that knows what commands are asked: the shapes of their params."""

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
    """Nothing to say."""


class StartParams(Model):
    """Start a session for a person."""

    name: Name | None = Field(None, description="its name; left out, one is made up")
    repo: str | None = Field(None, description="the repository; left out, the current one")
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


class SessionParams(Model):
    """Name a session; what is left out is told by the folder and by what is live."""

    name: NameOrId | None = Field(None, description="its name or id; left out, the only live one")
    repo: str | None = Field(None, description="its repository; left out, the current one")


class RecoverParams(Model):
    """Name a cancelled session."""

    name: NameOrId = Field(description="its name or id")
    repo: str | None = Field(None, description="its repository; left out, the current one")


class RepoParams(Model):
    """Name a repository."""

    repo: str | None = Field(None, description="the repository; left out, the current one")


class ListParams(Model):
    """Choose which sessions to list."""

    repo: str | None = Field(None, description="only those of this repository")
    all: bool = Field(default=False, description="finished and cancelled ones too")


class PauseParams(SessionParams):
    """Choose how to pause."""

    mode: Literal["save", "freeze"] = Field("save", description="save or freeze")


class StatsParams(SessionParams):
    """Say whether the load is wanted."""

    load: bool = Field(
        default=True, description="measure CPU and memory too, which takes a second or two"
    )


class ResumeParams(SessionParams):
    """Say what to add to the task."""

    prompt: Text | None = Field(None, description="what to go on with")


class FinishParams(SessionParams):
    """Say what the work is."""

    message: Text = Field(description="the message of the commit of what is uncommitted")
    branch: Text | None = Field(None, description="the branch to make; default the session's own")


class FileParams(SessionParams):
    """Name a file of a session, as it was at its base or at its latest review."""

    path: Text = Field(description="its path from the top of the repository")
    side: Literal["base", "session"] = Field("session", description="base or session")


class SendParams(SessionParams):
    """Say what the agent is to be told."""

    text: Text = Field(description="what is typed for the agent; Enter follows by itself")


class LogsParams(SessionParams):
    """Say how much of the output is wanted."""

    tail: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None, description="only so many lines from the end"
    )


class BuildParams(Model):
    """Say which image to build."""

    agent: Text | None = Field(None, description="the agent that the image is for")
    no_cache: bool = Field(default=False, description="build every layer anew")


class LoginParams(Model):
    """Say whose login is meant."""

    agent: Text | None = Field(None, description="the agent; left out, the one of the settings")


class SetupParams(LoginParams):
    """Say how to begin."""

    copy_host_login: bool = Field(
        default=False, description="begin with the login that this user has on the host"
    )


class CleanupParams(Model):
    """Say whose logins to remove."""

    agent: Text | None = Field(None, description="the agent; left out, every one")


class CleanParams(Model):
    """Say whether to remove or only to tell."""

    dry_run: bool = Field(default=False, description="only tell what would be removed")
