"""Define the settings: names, types, defaults, and who may set them.

A setting marked `repo` may be set by an untrusted repository, restricted by `repository_settings`.
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
AGENTS: Final = ("claude", "codex", "gemini", "opencode", "command")  # built-in
_OF_REPO: Final[JsonDict] = {"repo": True}  # an untrusted repository may set it


def parse_size(size: str) -> int:
    """Return the bytes of a size such as 512m or 4g; raises ValueError."""
    match = _SIZE.match(size.strip())
    if not match or int(match[1]) == 0:
        raise ValueError("expected a size such as 512m or 4g")
    return int(match[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[match[2].lower()]


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class ContainerSettings(Model):
    """Settings of session containers."""

    enabled: bool = Field(
        default=True,
        description="false: sessions are git worktrees on the host, without a container",
    )
    image: str = Field(
        "",
        description="image of the container; empty: para-authenticated:latest if it exists, else "
        "para-base:latest, or the agent's own image if it is in neither; a repository may choose "
        "one of allowedImages if you chose none",
        json_schema_extra=_OF_REPO,
    )
    allowed_images: tuple[str, ...] = Field(
        ("para-base:latest", "para-agent-*:latest"),
        description="images that a repository may choose, with * for any text; images with a login "
        "and images of saved sessions are always refused",
    )
    max_running: int = Field(5, ge=1, le=1000, description="maximum number of session containers")
    network: Literal["bridge", "host", "none", "allowlist"] = Field(
        "bridge", description="network of the container"
    )
    allowed_domains: tuple[str, ...] = Field(
        ("api.anthropic.com", "github.com", "pypi.org", "registry.npmjs.org"),
        description="domains that network allowlist permits",
    )
    cpus: float = Field(2, gt=0, le=1024, description="maximum number of CPUs of a container")
    memory: str = Field("4g", description="maximum memory of a container")
    pids: int = Field(1024, ge=16, description="maximum number of processes of a container")
    sudo: bool = Field(default=True, description="false: no-new-privileges and no capabilities")
    setup_script: str = Field(
        ".para/setup.sh",
        description="script of the repository that runs in the container before the agent",
        json_schema_extra=_OF_REPO,
    )
    setup_minutes: float = Field(
        60, gt=0, le=1440, description="maximum minutes that the set-up script may take"
    )
    env: dict[str, str] = Field(
        default_factory=dict,
        description="environment variables of the container; yours override a repository's, which "
        "must not change loaders, shells, interpreters, proxies, certificates or agents",
        json_schema_extra=_OF_REPO,
    )
    mounts: tuple[str, ...] = Field((), description="host folders to mount, as SOURCE:TARGET[:ro]")
    ca_bundle: str = Field(
        "auto", description="auto: the host's SSL_CERT_FILE or NODE_EXTRA_CA_CERTS; empty: none"
    )

    @field_validator("memory")
    @classmethod
    def validate_size(cls, value: str) -> str:
        """Refuse an invalid size."""
        parse_size(value)
        return value

    @field_validator("env")
    @classmethod
    def validate_variables(cls, value: dict[str, str]) -> dict[str, str]:
        """Refuse variables that the kernel or the engine does not accept."""
        for name, text in value.items():
            if not name or "=" in name or not name.isprintable():
                raise ValueError(f"{name!a} is not a valid variable name")
            if "\0" in text or not _is_encodable(text):
                raise ValueError(f"the value of {name} contains NUL or is not UTF-8")
        return value


class OwnAgent(Model):
    """A user-defined agent; {prompt} in its command lines is replaced as one argument."""

    start: tuple[str, ...] = Field(min_length=1, description="command line that starts a task")
    resume: tuple[str, ...] = Field((), description="command line that continues the conversation")
    image: str = Field("", description="image with the agent; empty: para-base:latest")
    terminal: bool = Field(
        default=False, description="it has a terminal interface and accepts more text"
    )
    keeps: tuple[str, ...] = Field((), description="folders in its home that contain conversations")


class AgentSettings(Model):
    """Settings of agents."""

    name: str = Field(
        "claude",
        description="agent of a session; a repository may choose one of agent.allowed",
        json_schema_extra=_OF_REPO,
    )
    allowed: tuple[str, ...] = Field(
        (), description="agents that a repository may choose, and so use their logins"
    )
    args: tuple[str, ...] = Field((), description="additional arguments of the agent")
    credentials: Literal["image", "volume", "env"] = Field(
        "image",
        description="where logins are stored: in an image, a shared volume, or host variables",
    )
    env: tuple[str, ...] = Field(
        (), description="host variables passed to the agent if agent.credentials is env"
    )
    permissions: Literal["skip", "ask"] = Field(
        "skip", description="ask: the agent asks for permissions"
    )
    max_minutes: float = Field(
        0, ge=0, description="pause a session this many minutes after its start; 0: never"
    )
    idle_minutes: float = Field(
        0, ge=0, description="pause a session after its agent was idle this many minutes; 0: never"
    )
    profiles: dict[str, OwnAgent] = Field(
        default_factory=dict, description="additional agents, each with its command lines"
    )


class EngineSettings(Model):
    """Settings of the container engine."""

    host: str = Field(
        "", description="address of the engine; empty: DOCKER_HOST, context, known sockets"
    )
    context: str = Field("", description="name of a Docker context")
    timeout: float = Field(
        60, gt=0, le=3600, description="seconds to wait for a response of the engine"
    )


class GitSettings(Model):
    """Settings of git."""

    branch_prefix: str = Field("para/", description="prefix of branch names")
    objects: Literal["shared", "own"] = Field(
        "shared",
        description="shared: the repository's objects, read-only; own: copies of those of the base",
    )
    share_from: int = Field(
        2000,
        ge=0,
        description="number of files from which sessions share a base checkout, if the engine can",
    )
    max_bases: str = Field("10g", description="maximum size of all base checkouts")
    max_bundle: str = Field("4g", description="maximum size of a session's work that is extracted")
    max_seconds: int = Field(900, ge=1, description="maximum seconds to extract a session's work")

    @field_validator("max_bundle", "max_bases")
    @classmethod
    def validate_size(cls, value: str) -> str:
        """Refuse an invalid size."""
        parse_size(value)
        return value


class Settings(Model):
    """All settings."""

    container: ContainerSettings = ContainerSettings()
    agent: AgentSettings = AgentSettings()
    engine: EngineSettings = EngineSettings()
    git: GitSettings = GitSettings()


def section_models() -> dict[str, type[BaseModel]]:
    """Return the model of each section by its name."""
    return {
        "container": ContainerSettings,
        "agent": AgentSettings,
        "engine": EngineSettings,
        "git": GitSettings,
    }


@cache
def setting_keys() -> Mapping[str, bool]:
    """Return for every `section.key` whether an untrusted repository may set it."""
    return {
        f"{section}.{field.alias}": field.json_schema_extra == _OF_REPO
        for section, model in section_models().items()
        for field in model.model_fields.values()
    }
