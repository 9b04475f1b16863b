"""The only place that checks what para needs: `para.doctor`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from para_server.agents.profiles import PROFILES, profile
from para_server.commands import credentials, lost
from para_server.commands.images import demand_fresh
from para_server.context import Context
from para_server.engine import containers, images
from para_server.errors import ParaError
from para_server.git.process import git
from para_server.names import BASE_IMAGE, agent_image
from para_server.params import NoParams
from para_server.registry import command
from para_server.results import Check, DoctorResult


@command("para.doctor", "Check Setup")
async def doctor(context: Context, params: NoParams) -> DoctorResult:  # noqa: ARG001 # every command takes params
    """Check everything that para needs, and say how to mend what is missing."""
    checks = [
        await _checked("git", _git, context),
        await _checked("home", _home, context),
        lost.check(context),
        await _checked("settings", _settings, context),
        await _checked("engine", _engine, context),
    ]
    if checks[-1].ok:
        checks.append(await _checked("image", _image, context))
        checks.append(await _checked("sessions", _sessions, context))
        settings = context.settings(None)
        if profile(settings.agent.name, settings.agent).needs_login:
            checks.append(await _checked("login", _login, context))
    return DoctorResult(checks=tuple(checks))


async def _checked(name: str, look: Callable[[Context], Awaitable[str]], context: Context) -> Check:
    try:
        return Check(name=name, ok=True, detail=await look(context))
    except ParaError as error:
        return Check(name=name, ok=False, detail=str(error), problem=error.problem, level="error")


async def _git(context: Context) -> str:
    context.store.prepare()
    return (await git(context.store.home, "version")).strip()


async def _home(context: Context) -> str:
    return f"{len(context.store.all())} sessions in {context.store.home}"


async def _settings(context: Context) -> str:
    settings = context.settings(None)
    return "containers" if settings.container.enabled else "worktrees, without containers"


async def _engine(context: Context) -> str:
    version = await context.engine.call(lambda api: api.version())
    return f"{version.get('Version')} at {context.engine.address}"


async def _image(context: Context) -> str:
    shown = []
    for name in (BASE_IMAGE, *map(agent_image, PROFILES)):
        if name == BASE_IMAGE or await images.find(context.engine, name) is not None:
            image = await demand_fresh(context, name)
            shown.append(f"{name} {image.size >> 20} MiB")
    return ", ".join(shown)


async def _login(context: Context) -> str:
    settings = context.settings(None)
    agent = settings.agent.name
    image = await credentials.choose_image(context, settings, agent)
    await credentials.demand_login(context, settings, agent, image)
    return f"{agent}, by agent.credentials = {settings.agent.credentials}"


async def _sessions(context: Context) -> str:
    limit = context.settings(None).container.max_running
    return f"{len(await containers.sessions(context.engine))} of {limit} containers"
