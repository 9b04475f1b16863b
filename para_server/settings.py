"""The only place that knows the settings: their names, defaults, layers and who may set them."""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic.config import JsonDict

from para_server.errors import Frozen, Issue, ParaError, Remedy

REPO_FILE: Final = ".para.toml"
MAX_FILE: Final = 1 << 20  # bytes; a settings file beyond it is not one
_SIZE: Final = re.compile(r"^(\d+)([kmg]?)b?$", re.IGNORECASE)
_OF_REPO: Final[JsonDict] = {"repo": True}  # may be set by a repository that is not trusted


def bytes_of(size: str) -> int:
    """Read a size such as 512m or 4g; raises ValueError."""
    found = _SIZE.match(size.strip())
    if not found or int(found[1]) == 0:
        raise ValueError("give a size such as 512m or 4g")
    return int(found[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[found[2].lower()]


class ContainerSettings(Frozen):
    """What a session's container is and may."""

    enabled: bool = Field(
        default=True,
        description="false: sessions are git worktrees on the host, without a container",
    )
    image: str = Field(
        "",
        description="empty: para-authenticated:latest where it exists, else para-base:latest",
        json_schema_extra=_OF_REPO,
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
    env: dict[str, str] = Field(
        default_factory=dict,
        description="environment variables of the container",
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
        bytes_of(value)
        return value


class AgentSettings(Frozen):
    """Which agent works, and how."""

    name: str = Field("claude", description="the agent of a session", json_schema_extra=_OF_REPO)
    args: tuple[str, ...] = Field(
        (), description="further arguments of the agent", json_schema_extra=_OF_REPO
    )
    credentials: Literal["image", "volume", "env"] = Field(
        "image", description="where an agent's login comes from"
    )
    env: tuple[str, ...] = Field(
        (), description="host variables handed to the agent's process, with credentials env"
    )
    permissions: Literal["skip", "ask"] = Field("skip", description="ask: the agent asks a person")


class EngineSettings(Frozen):
    """Which container engine is used."""

    host: str = Field("", description="the engine's address; empty: DOCKER_HOST, context, sockets")
    context: str = Field("", description="the name of a Docker context")
    timeout: float = Field(
        60, gt=0, le=3600, description="seconds that the engine has for an answer"
    )


class GitSettings(Frozen):
    """How para uses git."""

    branch_prefix: str = Field("para/", description="what the names of branches begin with")
    objects: Literal["shared", "own"] = Field(
        "shared",
        description="shared: the repository's own, read-only; own: a copy of what the base reaches",
    )
    max_bundle: str = Field("4g", description="the most that a session's work may weigh")
    max_seconds: int = Field(900, ge=1, description="the longest that taking it out may last")

    @field_validator("max_bundle")
    @classmethod
    def a_size(cls, value: str) -> str:
        """Refuse what is no size."""
        bytes_of(value)
        return value


class Settings(Frozen):
    """All settings."""

    container: ContainerSettings = ContainerSettings()
    agent: AgentSettings = AgentSettings()
    engine: EngineSettings = EngineSettings()
    git: GitSettings = GitSettings()


def sections() -> dict[str, type[BaseModel]]:
    """Give each section's model by its name."""
    return {
        "container": ContainerSettings,
        "agent": AgentSettings,
        "engine": EngineSettings,
        "git": GitSettings,
    }


def _keys() -> dict[str, bool]:
    """Tell for every key, as `section.key`, whether an untrusted repository may set it."""
    return {
        f"{section}.{field.alias}": field.json_schema_extra == _OF_REPO
        for section, model in sections().items()
        for field in model.model_fields.values()
    }


Layer = tuple[str, Mapping[str, Any]]  # where it comes from, and section -> key -> value


def resolve(layers: list[Layer]) -> Settings:
    """Lay the layers over each other, later ones on top; raises settings.invalid."""
    merged: dict[str, dict[str, Any]] = {}
    for origin, layer in layers:
        _refuse_strangers(origin, layer)
        for section, values in layer.items():
            merged.setdefault(section, {}).update(
                {key: value for key, value in values.items() if value is not None}
            )
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        issues = [
            Issue(path=".".join(str(part) for part in e["loc"]), message=e["msg"])
            for e in error.errors()
        ]
        raise _invalid(
            f"The setting {issues[0].path} is wrong: {issues[0].message}", issues
        ) from None


def layers_of(
    config_home: Path,
    repo: Path | None,
    environ: Mapping[str, str],
    editor: Mapping[str, Any],
    *,
    trusted: bool,
) -> list[Layer]:
    """Collect the layers beneath a command's own params, lowest first; raises settings.invalid."""
    user_file = config_home / "config.toml"
    layers: list[Layer] = [(str(user_file), _toml(user_file))]
    if repo is not None:
        of_repo = _toml(repo / REPO_FILE)
        if not trusted:
            _refuse_reach(of_repo)
        layers.append((REPO_FILE, of_repo))
    layers.append(("the environment", _from_environment(environ)))
    layers.append(("the editor", _without_unset(editor)))
    return layers


def _refuse_strangers(origin: str, layer: Mapping[str, Any]) -> None:
    known = _keys()
    for section, values in layer.items():
        if not isinstance(values, Mapping):
            raise _invalid(f"{origin}: {section} is no section of settings", [])
        for key in values:
            if f"{section}.{key}" not in known:
                issue = Issue(path=f"{section}.{key}", message="there is no such setting")
                raise _invalid(f"{origin}: there is no setting {section}.{key}", [issue])


def _refuse_reach(layer: Mapping[str, Any]) -> None:
    allowed = _keys()
    for section, values in layer.items():
        for key in values if isinstance(values, Mapping) else ():
            path = f"{section}.{key}"
            if not allowed.get(path, True):
                issue = Issue(path=path, message="a repository may not set this")
                raise ParaError(
                    "settings.invalid",
                    f"{REPO_FILE} may not set {path}: it reaches beyond the session's container",
                    Remedy(title="Set it in your own settings", setting=path),
                    Remedy(title=f"Remove {path} from {REPO_FILE}"),
                    issues=[issue],
                )


def _toml(file: Path) -> dict[str, Any]:
    try:
        # a repository's file may be anything: a link out of it, a pipe that never ends
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _invalid(f"{file} cannot be read: {error.strerror}", []) from None
    try:
        with os.fdopen(descriptor, "rb") as stream:
            return tomllib.loads(_whole(stream).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise _invalid(f"{file} is not a settings file: {error}", []) from None


def _whole(stream: BinaryIO) -> bytes:
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        raise ValueError("it is no plain file")
    text = stream.read(MAX_FILE + 1)
    if len(text) > MAX_FILE:
        raise ValueError(f"it has more than {MAX_FILE} bytes")
    return text


def _from_environment(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Read PARA_SECTION_KEY; what is not text is JSON, and a list of texts may have commas."""
    found: dict[str, dict[str, Any]] = {}
    for section, model in sections().items():
        for name, field in model.model_fields.items():
            raw = environ.get(f"PARA_{section}_{name}".upper())
            if raw is None:
                continue
            value: Any = raw
            if field.annotation is not str and raw[:1] in "[{":
                try:
                    value = json.loads(raw)
                except ValueError:
                    value = raw
            elif field.annotation == tuple[str, ...]:
                value = [part.strip() for part in raw.split(",") if part.strip()]
            found.setdefault(section, {})[str(field.alias)] = value
    return found


def _without_unset(editor: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what an editor sends for a setting that nobody made."""
    known = set(sections())
    return {
        section: values
        for section, values in editor.items()
        if section in known and values is not None
    }


def _invalid(message: str, issues: list[Issue]) -> ParaError:
    remedies = [Remedy(title="Open the setting", setting=i.path) for i in issues[:1]]
    return ParaError("settings.invalid", message, *remedies, issues=issues)
