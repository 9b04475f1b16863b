"""Create, check and remove logins of agents: the commands `para.auth.*`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Final

from para_server.agents import logins
from para_server.agents.logins import LOGINS, SHARED_FOLDER, Login
from para_server.agents.profiles import find_profile
from para_server.concurrency.cancellation import ignore_cancellation, rollback_on_failure
from para_server.context import Context
from para_server.core.errors import SHOW_SESSIONS, ParaError, Remedy
from para_server.core.names import (
    LABEL_HOME,
    LABEL_LOGIN,
    LABEL_LOGIN_DATE,
    LABEL_PRIVATE,
    login_image,
    login_name,
)
from para_server.core.params import CleanupParams, LoginParams, SetupParams
from para_server.core.repository_settings import normalize_image
from para_server.core.results import LoginResult, LoginStatus, RemovedResult, SetupResult, Terminal
from para_server.core.settings import Settings
from para_server.engine import commit, containers, exec_command, file_copy, images, volumes
from para_server.host.paths import user_home
from para_server.registry import command
from para_server.sessions import credentials, file_ownership, login_container
from para_server.sessions.recipes import find_own_image

_HOME: Final = PurePosixPath("/home/para")


@command("para.auth.setup", "Log In")
async def setup(context: Context, params: SetupParams) -> SetupResult:
    """Start a login container and print the command that opens it.

    Run the command in `terminal`, log in there, then run `para.auth.complete`. A login that was
    started before and not completed is discarded; running sessions are not affected. Nothing from
    the host is copied into the container, unless `copyHostLogin` is set.
    """
    settings = context.settings(None)
    agent, login = _choose_login(settings, params.agent)
    if settings.agent.credentials == "volume":
        credentials.require_shareable(agent)
    given = (
        logins.read_host_login(agent, user_home() or Path("/")) if params.copy_host_login else {}
    )
    image = credentials.image_without_login(agent)
    await find_own_image(context, image)
    name = login_name(agent, context.store.home)
    async with context.store.locked_login(agent), rollback_on_failure() as rollback:
        await containers.remove(context.engine, name)
        rollback.push_async_callback(containers.remove, context.engine, name)
        image = await login_container.fit_image(context, image, name)
        await login_container.create_container(context, settings, agent, name, image)
        if given:
            inside = {_HOME / path: content for path, content in given.items()}
            owner = await file_ownership.find_owner(context)
            await file_copy.write_files(context.engine, name, inside, owner.inside)
        await containers.start(context.engine, name)
        file = context.store.write_login_variables(
            agent, login_container.login_environment(context, settings)
        )
    arguments = ("--env-file", str(file), "--workdir", str(_HOME), name, *login.command)
    program, *options = context.engine.command_prefix
    terminal = Terminal(command=program, args=(*options, "exec", "-it", *arguments))
    return SetupResult(terminal=terminal, container=name)


@command("para.auth.complete", "Complete Login")
async def complete(context: Context, params: LoginParams) -> LoginResult:
    """Save the login of the login container for all new sessions.

    It is committed as an image, para-authenticated:latest for Claude Code and
    para-authenticated:AGENT for others; never push this image. With `agent.credentials` set to
    `volume`, the login is stored in a volume that sessions share, and in no image.
    """
    settings = context.settings(None)
    agent, _ = _choose_login(settings, params.agent)
    name = login_name(agent, context.store.home)
    async with context.store.locked_login(agent):
        container = await containers.find(context.engine, name)
        if container is None:
            raise _incomplete_error(agent, f"No login of {agent} was started")
        if container.state != "running":
            await containers.start(context.engine, name)
        context.report(f"Checking the login of {agent}", 10)
        report = await login_container.query_login(
            context, name, agent, login_container.login_environment(context, settings)
        )
        if not report.present:
            raise _incomplete_error(agent, f"{agent} is not logged in yet in {name}")
        if report.verdict == "refused" and not report.renews:
            raise _incomplete_error(agent, f"The API of {agent} refuses the login")
        context.report(f"Saving the login of {agent}", 50)
        await _remove_traces(context, name, agent)
        keep = _share_login if settings.agent.credentials == "volume" else _commit_login
        image = await ignore_cancellation(keep(context, name, agent))
    return LoginResult(image=image, state=report.state)


@command("para.auth.status", "Show Login")
async def status(context: Context, params: LoginParams) -> LoginStatus:
    """Check an agent's login with a request to the agent's API.

    A short-lived container sends the request, so the login never leaves the engine. The state is
    `unknown` if the API does not answer or has no request without side effects. A login that is
    `expired` may still be renewed when an agent uses it.
    """
    settings = context.settings(None)
    agent, _ = _choose_login(settings, params.agent)
    mounts, environment = await credentials.find_shared_login(context, settings, agent)
    given = credentials.read_secrets(context, settings.agent)
    image, exists = credentials.image_without_login(agent), bool(mounts or given)
    committed = settings.agent.credentials == "image"
    if committed:
        image = login_image(agent)
        exists = await images.find(context.engine, image) is not None
    if exists and not committed:
        await find_own_image(context, image)
    if not exists:
        return LoginStatus(state="missing", expires_at=None, image=None)
    environment |= login_container.login_environment(context, settings) | given
    async with login_container.short_lived_container(
        context, settings, agent, image, mounts
    ) as name:
        report = await login_container.query_login(context, name, agent, environment)
    return LoginStatus(
        state=report.state, expires_at=report.expiry, image=image if committed else None
    )


@command("para.auth.cleanup", "Remove Login")
async def cleanup(context: Context, params: CleanupParams) -> RemovedResult:
    """Remove logins: their images, volumes and login containers.

    Running sessions keep their login; its image is removed after the last of them.
    """
    settings = context.settings(None)
    agents = list(LOGINS) if params.agent is None else [_choose_login(settings, params.agent)[0]]
    removed: list[str] = []
    for agent in agents:
        async with context.store.locked_login(agent):
            removed += await _remove_login(context, agent)
    return RemovedResult(removed=tuple(removed))


def _choose_login(settings: Settings, given: str | None) -> tuple[str, Login]:
    agent = find_profile(given or settings.agent.name, settings.agent).name
    login = LOGINS.get(agent)
    if login is None:
        known = ", ".join(LOGINS)
        raise ParaError(
            "agent.unknown",
            f"para cannot log in the agent {agent} (supported: {known})",
            Remedy(title="Choose an agent", setting="agent.name"),
        )
    return agent, login


async def _remove_traces(context: Context, name: str, agent: str) -> None:
    """Remove identifiers by which the agent's vendor would take all sessions for one machine."""
    forget = (logins.remove_traces_command(agent), "para")
    machine = (("sh", "-c", "! [ -e /etc/machine-id ] || : >/etc/machine-id"), "root")
    for argv, user in (forget, machine):
        code, output = await exec_command.execute(
            context.engine, name, argv, user=user, workdir="/"
        )
        if code != 0:
            raise ParaError(
                "engine.refused", f"Identifiers could not be removed from {name}: {output.strip()}"
            )


async def _commit_login(context: Context, name: str, agent: str) -> str:
    image = login_image(agent)
    before = await images.find(context.engine, image)
    date = {LABEL_LOGIN_DATE: f"{datetime.now(UTC):%Y-%m-%d}"}
    await commit.save_as_image(context.engine, name, image, _labels(context, agent) | date)
    await containers.remove(context.engine, name)
    if before is not None:
        await images.remove_unused(context.engine, before.id)
    context.store.remove_login_variables(agent)
    return image


async def _share_login(context: Context, name: str, agent: str) -> None:
    """Copy a login into the shared volume, where running sessions find it too."""
    settings = context.settings(None)
    found: dict[PurePosixPath, bytes] = {}
    for path in LOGINS[agent].files:
        content = await file_copy.read_file(context.engine, name, _HOME / path)
        if content is None:
            raise _incomplete_error(
                agent, f"{path} is missing: a login of this kind cannot be shared"
            )
        found[PurePosixPath(SHARED_FOLDER, PurePosixPath(path).name)] = content
    volume = login_name(agent, context.store.home)
    async with rollback_on_failure() as rollback:
        if not await volumes.exists(context.engine, volume):
            # an existing volume counts as one with a login
            rollback.push_async_callback(volumes.remove, context.engine, volume)
        await volumes.create(context.engine, volume, _labels(context, agent))
        mounts, _ = await credentials.find_shared_login(context, settings, agent)
        image = credentials.image_without_login(agent)
        await find_own_image(context, image)
        async with login_container.short_lived_container(
            context, settings, agent, image, mounts
        ) as other:
            owner = await file_ownership.find_owner(context)
            await file_copy.write_files(context.engine, other, found, owner.inside)
    await containers.remove(context.engine, name)
    context.store.remove_login_variables(agent)


def _labels(context: Context, agent: str) -> dict[str, str]:
    return {
        LABEL_LOGIN: agent,
        LABEL_PRIVATE: "never push: it holds credentials",
        LABEL_HOME: str(context.store.home),
    }


async def _remove_login(context: Context, agent: str) -> list[str]:
    engine, name = context.engine, login_name(agent, context.store.home)
    removed: list[str] = []  # first the volume, whose removal can fail
    if await volumes.exists(engine, name):
        if not await volumes.remove(engine, name):
            message = f"Sessions share the login of {agent}: the volume {name} is in use"
            raise ParaError("engine.refused", message, SHOW_SESSIONS)
        removed.append(f"volume {name}")
    if await containers.find(engine, name) is not None:
        await containers.remove(engine, name)
        removed.append(f"container {name}")
    context.store.remove_login_variables(agent)
    for image in await images.list_logins(engine, agent):
        if image.tags:
            await images.remove(engine, login_image(agent))
            removed.append(f"image {login_image(agent)}")
        elif context.store.owns(image.labels.get(LABEL_HOME)):
            # a replaced login: if it is in use, a later cleanup removes it
            await images.remove_unused(engine, image.id)
    fitted = await images.remove_stale_fitted(engine, context.store.owns, agent)
    removed += [f"image {normalize_image(name)}" for name in fitted]
    return removed


def _incomplete_error(agent: str, message: str) -> ParaError:
    params = {"agent": agent}
    return ParaError(
        "auth.incomplete",
        message,
        Remedy(title="Start to log in", command="para.auth.setup", params=params),
        Remedy(title="Complete the login", command="para.auth.complete", params=params),
    )
