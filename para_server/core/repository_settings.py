"""Restrict the settings of an untrusted repository. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from para_server.core.container_variables import refusal_reason
from para_server.core.errors import Issue, ParaError, Remedy
from para_server.core.settings import AGENTS, Settings, setting_keys

REPO_FILE: Final = ".para.toml"
_USER_ONLY: Final = "it affects more than the session's container"
_IMPLIED_PREFIXES: Final = (
    "docker.io/library/",
    "index.docker.io/library/",
    "docker.io/",
    "localhost/",
)

Values = Mapping[str, Any]  # section -> key -> value


def restrict_repository_settings(
    of_repo: Values, beneath: Values, own: Settings, above: Iterable[Values]
) -> Values:
    """Return the permitted settings of a repository; raises settings.invalid for a refused key.

    `beneath` are the user's file, `above` the layers over the repository's, and `own` are the
    user's settings without the repository.
    """
    _require_settable(of_repo)
    permitted = {
        section: dict(values) if isinstance(values, Mapping) else values
        for section, values in of_repo.items()
    }
    container, agent = permitted.get("container"), permitted.get("agent")
    if isinstance(container, dict):
        _require_allowed_image(container, own)
        _require_allowed_variables(container, beneath)
    if isinstance(agent, dict):
        if any(_get_value(layer, "agent", "name") for layer in above):
            agent.pop("name", None)
        _require_allowed_agent(agent, own)
    return permitted


def normalize_image(image: str) -> str:
    """Return an image name without Docker's default registry and with a tag."""
    for prefix in _IMPLIED_PREFIXES:
        image = image.removeprefix(prefix)
    last = image.rpartition("/")[2]
    return image if ":" in last or "@" in last else f"{image}:latest"


def _require_settable(of_repo: Values) -> None:
    allowed = setting_keys()
    for section, values in of_repo.items():
        for key in values if isinstance(values, Mapping) else ():
            if not allowed.get(f"{section}.{key}", True):
                raise _refusal(f"{section}.{key}", _USER_ONLY)


def _require_allowed_image(container: dict[str, Any], own: Settings) -> None:
    """Require an image of container.allowedImages; drop it if the user chose an image."""
    image = container.get("image")
    if not isinstance(image, str) or not image:
        return
    if own.container.image:
        del container["image"]
        return
    name, allowed = normalize_image(image), own.container.allowed_images
    if not any(
        fnmatchcase(name, one) or fnmatchcase(name, normalize_image(one)) for one in allowed
    ):
        reason = f"{image[:200]!a} is not in container.allowedImages ({', '.join(allowed)})"
        raise _refusal("container.image", reason, "container.allowedImages")


def _require_allowed_variables(container: dict[str, Any], beneath: Values) -> None:
    """Refuse variables that change programs, and put the user's variables on top."""
    variables = container.get("env")
    if not isinstance(variables, Mapping):
        return
    for name in variables:
        reason = refusal_reason(str(name))
        if reason is not None:
            raise _refusal(f"container.env.{name[:100]}", reason, "container.env")
    own = _get_value(beneath, "container", "env")
    container["env"] = {**variables, **(own if isinstance(own, Mapping) else {})}


def _require_allowed_agent(agent: dict[str, Any], own: Settings) -> None:
    """Require an agent that the user chose or allowed, as its login becomes usable."""
    name = agent.get("name")
    if not isinstance(name, str) or name in {own.agent.name, *own.agent.allowed}:
        return
    if name not in {*AGENTS, *own.agent.profiles}:
        return  # unknown: the lookup refuses it
    reason = f"{name} is neither your agent nor in agent.allowed"
    raise _refusal("agent.name", reason, "agent.allowed")


def _get_value(layer: Values, section: str, key: str) -> object:
    values = layer.get(section)
    return values.get(key) if isinstance(values, Mapping) else None


def _refusal(path: str, reason: str, setting: str | None = None) -> ParaError:
    message = f"{REPO_FILE} may not set {ascii(path)[1:-1]}: {reason}"
    return ParaError(
        "settings.invalid",
        message,
        Remedy(title="Set it in your own settings", setting=setting or path),
        Remedy(title=f"Remove {ascii(path)[1:-1]} from {REPO_FILE}"),
        issues=[Issue(path=path, message="a repository may not set this")],
    )
