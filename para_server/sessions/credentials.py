"""Choose the image that a session starts from and how its agent is logged in."""

from __future__ import annotations

from typing import Final

from para_server.agents.logins import LOGINS, SHARED_FOLDER
from para_server.agents.profiles import find_profile
from para_server.context import Context
from para_server.core.container_spec import Mount
from para_server.core.errors import Issue, ParaError, Remedy
from para_server.core.names import (
    AUTHENTICATED_IMAGE,
    BASE_IMAGE,
    LABEL_LOGIN,
    LABEL_PRIVATE,
    LABEL_SESSION,
    SAVED_IMAGE,
    login_image,
    login_name,
)
from para_server.core.repository_settings import REPO_FILE
from para_server.core.settings import AgentSettings, Settings
from para_server.engine import images, volumes
from para_server.engine.error_translation import image_missing_error
from para_server.sessions.recipes import image_for_agent

_IN_BASE_IMAGE: Final = frozenset({"claude"})
_PRIVATE_LABELS: Final = frozenset({LABEL_PRIVATE, LABEL_LOGIN, LABEL_SESSION})
_PRIVATE_REPOSITORIES: Final = frozenset({AUTHENTICATED_IMAGE.partition(":")[0], SAVED_IMAGE})


async def choose_image(context: Context, settings: Settings, agent: str | None) -> str:
    """Return the image that a session starts from.

    It is the one in the settings, else one with a login, else one without. A session without an
    agent uses the agent in the settings.
    """
    if settings.container.image:
        return settings.container.image
    name = agent or settings.agent.name
    own = settings.agent.profiles.get(name)
    if own is not None and own.image:
        return own.image
    if settings.agent.credentials == "image":
        # also for an agent that needs no login: by default all agents share one image
        with_login = login_image(name) if name in LOGINS else AUTHENTICATED_IMAGE
        if await images.find(context.engine, with_login) is not None:
            return with_login
    return image_without_login(name)


async def require_no_private_content(context: Context, name: str) -> None:
    """Raise settings.invalid if an image that a repository chose contains a login or a session.

    The labels and tags of the image on the engine decide, not the name in the settings.
    """
    image = await images.find(context.engine, name)
    if image is None:
        raise image_missing_error(name)
    repositories = {tag.rpartition("/")[2].partition(":")[0] for tag in image.tags}
    if not _PRIVATE_LABELS & image.labels.keys() and not _PRIVATE_REPOSITORIES & repositories:
        return
    message = f"{REPO_FILE} may not set container.image to {name}: it contains a login or a session"
    raise ParaError(
        "settings.invalid",
        message,
        Remedy(title="Choose an image in your own settings", setting="container.image"),
        issues=[Issue(path="container.image", message="a repository may not choose this image")],
    )


def image_without_login(agent: str) -> str:
    """Return the name of the image that has an agent and no login."""
    return BASE_IMAGE if agent in _IN_BASE_IMAGE else image_for_agent(agent)


async def require_login(
    context: Context, settings: Settings, agent: str | None, image: str
) -> None:
    """Raise auth.missing if an agent would start without a login.

    An image of the user's own is not checked. A login in the container's environment is enough.
    """
    if agent is None or not find_profile(agent, settings.agent).needs_login:
        return
    if any(settings.container.env.get(name) for name in LOGINS[agent].variables):
        return
    match settings.agent.credentials:
        case "env":
            _require_variables(context, settings, agent)
        case "volume":
            require_shareable(agent)
            if not await volumes.exists(context.engine, login_name(agent, context.store.home)):
                raise _no_login_error(agent)
        case "image" if image == image_without_login(agent) and not settings.container.image:
            raise _no_login_error(agent)


def read_secrets(context: Context, settings: AgentSettings) -> dict[str, str]:
    """Return the host's variables that only the agent's process receives."""
    if settings.credentials != "env":
        return {}
    return {name: context.environ[name] for name in settings.env if context.environ.get(name)}


async def find_shared_login(
    context: Context, settings: Settings, agent: str | None
) -> tuple[list[Mount], dict[str, str]]:
    """Return the mounts and variables for a shared login, or nothing if there is none."""
    name = agent or settings.agent.name
    login = LOGINS.get(name)
    if settings.agent.credentials != "volume" or login is None or not login.shared:
        return [], {}
    volume = login_name(name, context.store.home)
    if not await volumes.exists(context.engine, volume):
        return [], {}  # mounting it would create it
    return [Mount(source=volume, target=SHARED_FOLDER, volume=True)], dict(login.shared)


def require_shareable(agent: str) -> None:
    """Raise settings.invalid if sessions cannot share the login of an agent."""
    if LOGINS[agent].shared:
        return
    message = f"Sessions cannot share the login of {agent}: its renewal has no lock"
    raise ParaError(
        "settings.invalid",
        message,
        Remedy(title="Set it to image or env", setting="agent.credentials"),
        issues=[Issue(path="agent.credentials", message=message)],
    )


def _require_variables(context: Context, settings: Settings, agent: str) -> None:
    unset = [name for name in settings.agent.env if not context.environ.get(name)]
    if settings.agent.env and not unset:
        return
    usual = ", ".join(LOGINS[agent].variables)
    if unset:
        what = f"{', '.join(unset)}, named by agent.env, {'is' if len(unset) == 1 else 'are'}"
        message = f"The agent {agent} has no login: {what} not set in the environment of para"
    else:
        message = f"The agent {agent} has no login: agent.env is empty"
    raise ParaError(
        "auth.missing",
        message,
        Remedy(title=f"Set it to the variables of the login ({usual})", setting="agent.env"),
        Remedy(title="Choose another way to log in", setting="agent.credentials"),
    )


def _no_login_error(agent: str) -> ParaError:
    return ParaError(
        "auth.missing",
        f"The agent {agent} has no login",
        Remedy(title="Log in", command="para.auth.setup", params={"agent": agent}),
        Remedy(title="Choose another way to log in", setting="agent.credentials"),
    )
