"""The only place that decides what a repository that is not trusted may set, and to what. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from para_server.core.container_variables import refusal_reason
from para_server.core.errors import Issue, ParaError, Remedy
from para_server.core.settings import AGENTS, Settings, setting_keys

REPO_FILE: Final = ".para.toml"
_USER_ONLY: Final = "it reaches beyond the session's container"
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
    """Return what counts of a repository's settings; raises settings.invalid by the refused key.

    `beneath` is what the user's file says, `above` what lies over the repository, and `own` all
    that the user says together.
    """
    _require_settable(of_repo)
    left = {
        section: dict(values) if isinstance(values, Mapping) else values
        for section, values in of_repo.items()
    }
    container, agent = left.get("container"), left.get("agent")
    if isinstance(container, dict):
        _require_allowed_image(container, own)
        _require_allowed_variables(container, beneath)
    if isinstance(agent, dict):
        if any(_is_chosen(layer, "agent", "name") for layer in above):
            agent.pop("name", None)
        _require_allowed_agent(agent, own)
    return left


def normalize_image(image: str) -> str:
    """Return the name of an image as para writes it: without Docker's own registry, with a tag."""
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
    """Let a repository choose among the allowed images, where the user chose none."""
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
        why = f"{image[:200]!a} is none of container.allowedImages ({', '.join(allowed)})"
        raise _refusal("container.image", why, "container.allowedImages")


def _require_allowed_variables(container: dict[str, Any], beneath: Values) -> None:
    """Refuse variables that change programs; the user's own win."""
    variables = container.get("env")
    if not isinstance(variables, Mapping):
        return
    for name in variables:
        why = refusal_reason(str(name))
        if why is not None:
            raise _refusal(f"container.env.{name[:100]}", why, "container.env")
    mine = _is_chosen(beneath, "container", "env")
    container["env"] = {**variables, **(mine if isinstance(mine, Mapping) else {})}


def _require_allowed_agent(agent: dict[str, Any], own: Settings) -> None:
    """Refuse an agent, and with it its login, that the user did not choose."""
    name = agent.get("name")
    if not isinstance(name, str) or name in {own.agent.name, *own.agent.allowed}:
        return
    if name not in {*AGENTS, *own.agent.profiles}:
        return  # it is refused where it is looked up
    why = f"{name} is neither your own choice nor one of agent.allowed"
    raise _refusal("agent.name", why, "agent.allowed")


def _is_chosen(layer: Values, section: str, key: str) -> object:
    values = layer.get(section)
    return values.get(key) if isinstance(values, Mapping) else None


def _refusal(path: str, why: str, setting: str | None = None) -> ParaError:
    message = f"{REPO_FILE} may not set {ascii(path)[1:-1]}: {why}"
    return ParaError(
        "settings.invalid",
        message,
        Remedy(title="Set it in your own settings", setting=setting or path),
        Remedy(title=f"Remove {ascii(path)[1:-1]} from {REPO_FILE}"),
        issues=[Issue(path=path, message="a repository may not set this")],
    )
