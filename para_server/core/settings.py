"""The only place that knows the settings: their names, defaults, and who may set them.

What is marked `repo` may be set by a repository that is not trusted, within what `reach` allows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Final, Literal

from pydantic import BaseModel, Field, field_validator
from pydantic.config import JsonDict

from para_server.core.model import Model

_SIZE: Final = re.compile(r"^(\d+)([kmg]?)b?$", re.IGNORECASE)
AGENTS: Final = ("claude", "codex", "gemini", "opencode", "command")  # para's own
_OF_REPO: Final[JsonDict] = {"repo": True}  # may be set by a repository that is not trusted


def parse_size(size: str) -> int:
    """Read a size such as 512m or 4g; raises ValueError."""
    found = _SIZE.match(size.strip())
    if not found or int(found[1]) == 0:
        raise ValueError("give a size such as 512m or 4g")
    return int(found[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[found[2].lower()]


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class ContainerSettings(Model):
    """What a session's container is and may."""

    enabled: bool = Field(
        default=True,
        description="false: sessions are git worktrees on the host, without a container",
    )
    image: str = Field(
        "",
        description="empty: para-authenticated:latest where it exists, else para-base:latest; "
        "agents that are not in these have their own; a repository may choose one of "
        "allowedImages where you chose none",
        json_schema_extra=_OF_REPO,
    )
    allowed_images: tuple[str, ...] = Field(
        ("para-base:latest", "para-agent-*:latest"),
        description="the images that a repository may choose, with * for any text; never one with "
        "a login, or in which a session was saved",
    )
    max_running: int = Field(5, ge=1, le=1000, description="how many session containers may exist")
    network: Literal["bridge", "host", "none", "allowlist"] = Field(
        "bridge", description="the network of a container"
    )
    allowed_domains: tuple[str, ...] = Field(
        ("api.anthropic.com", "github.com", "pypi.org", "registry.npmjs.org"),
        description="what network allowlist lets through",
    )
    cpus: float = Field(2, gt=0, le=1024, description="how many CPUs a container may use")
    memory: str = Field("4g", description="how much memory a container may use")
    pids: int = Field(1024, ge=16, description="how many processes a container may have")
    sudo: bool = Field(
        default=True, description="false: no-new-privileges and no capabilities at all"
    )
    setup_script: str = Field(
        ".para/setup.sh",
        description="a script of the repository that runs in the container before the agent",
        json_schema_extra=_OF_REPO,
    )
    setup_minutes: float = Field(
        60, gt=0, le=1440, description="how long the set-up script may take"
    )
    env: dict[str, str] = Field(
        default_factory=dict,
        description="environment variables of the container; a repository's lie beneath yours, and "
        "may not change loaders, shells, interpreters, proxies, certificates or agents",
        json_schema_extra=_OF_REPO,
    )
    mounts: tuple[str, ...] = Field((), description="host folders to mount, SOURCE:TARGET[:ro]")
    ca_bundle: str = Field(
        "auto", description="auto: the host's SSL_CERT_FILE or NODE_EXTRA_CA_CERTS; empty: none"
    )

    @field_validator("memory")
    @classmethod
    def a_size(cls, value: str) -> str:
        """Refuse what is no size."""
        parse_size(value)
        return value

    @field_validator("env")
    @classmethod
    def variables(cls, value: dict[str, str]) -> dict[str, str]:
        """Refuse what the kernel or the engine cannot take as a variable."""
        for name, text in value.items():
            if not name or "=" in name or not name.isprintable():
                raise ValueError(f"{name!a} is no name for a variable")
            if "\0" in text or not _is_encodable(text):
                raise ValueError(f"the value of {name} is no text that a variable can hold")
        return value


class OwnAgent(Model):
    """An agent of a user's own: command lines, in which {prompt} is an argument of its own."""

    start: tuple[str, ...] = Field(min_length=1, description="takes up a task")
    resume: tuple[str, ...] = Field((), description="goes on with the conversation")
    image: str = Field("", description="the image that has it; empty: para-base:latest")
    terminal: bool = Field(default=False, description="it draws on a terminal and takes more text")
    keeps: tuple[str, ...] = Field((), description="folders in its home that hold conversations")


class AgentSettings(Model):
    """Which agent works, and how."""

    name: str = Field(
        "claude",
        description="the agent of a session; a repository may choose one of agent.allowed",
        json_schema_extra=_OF_REPO,
    )
    allowed: tuple[str, ...] = Field(
        (), description="the agents that a repository may choose, each with the login it has"
    )
    args: tuple[str, ...] = Field((), description="further arguments of the agent")
    credentials: Literal["image", "volume", "env"] = Field(
        "image",
        description="where a login is: in an image, a shared volume, or variables of the host",
    )
    env: tuple[str, ...] = Field(
        (), description="host variables handed to the agent's process, with credentials env"
    )
    permissions: Literal["skip", "ask"] = Field("skip", description="ask: the agent asks a person")
    max_minutes: float = Field(
        0, ge=0, description="a session is paused after so many minutes of its agent; 0: never"
    )
    idle_minutes: float = Field(
        0, ge=0, description="and after so many minutes in which it stood still; 0: never"
    )
    profiles: dict[str, OwnAgent] = Field(
        default_factory=dict, description="further agents, each with its command lines"
    )


class EngineSettings(Model):
    """Which container engine is used."""

    host: str = Field("", description="the engine's address; empty: DOCKER_HOST, context, sockets")
    context: str = Field("", description="the name of a Docker context")
    timeout: float = Field(
        60, gt=0, le=3600, description="seconds that the engine has for an answer"
    )


class GitSettings(Model):
    """How para uses git."""

    branch_prefix: str = Field("para/", description="what the names of branches begin with")
    objects: Literal["shared", "own"] = Field(
        "shared",
        description="shared: the repository's own, read-only; own: a copy of what the base reaches",
    )
    share_from: int = Field(
        2000,
        ge=0,
        description="from how many files on sessions share a checkout, where the engine can do it",
    )
    max_bases: str = Field("10g", description="the most that shared checkouts may weigh together")
    max_bundle: str = Field("4g", description="the most that a session's work may weigh")
    max_seconds: int = Field(900, ge=1, description="the longest that taking it out may last")

    @field_validator("max_bundle", "max_bases")
    @classmethod
    def a_size(cls, value: str) -> str:
        """Refuse what is no size."""
        parse_size(value)
        return value


class Settings(Model):
    """All settings."""

    container: ContainerSettings = ContainerSettings()
    agent: AgentSettings = AgentSettings()
    engine: EngineSettings = EngineSettings()
    git: GitSettings = GitSettings()


def section_models() -> dict[str, type[BaseModel]]:
    """Give each section's model by its name."""
    return {
        "container": ContainerSettings,
        "agent": AgentSettings,
        "engine": EngineSettings,
        "git": GitSettings,
    }


@cache
def setting_keys() -> Mapping[str, bool]:
    """Tell for every key, as `section.key`, whether an untrusted repository may set it."""
    return {
        f"{section}.{field.alias}": field.json_schema_extra == _OF_REPO
        for section, model in section_models().items()
        for field in model.model_fields.values()
    }
