"""The only place that checks what an engine has, and can do for sessions."""

from __future__ import annotations

from para_server.agents.profiles import PROFILES, find_profile
from para_server.context import Context
from para_server.core.errors import ParaError, Remedy
from para_server.core.names import BASE_IMAGE, agent_image, is_para_image
from para_server.core.results import Check
from para_server.core.settings import parse_size
from para_server.diagnostics import engine_trial
from para_server.diagnostics.host_checks import gib, scarce, warning
from para_server.engine import containers, images
from para_server.engine.engine_info import inspect_engine, query_engine
from para_server.engine.error_translation import image_missing_error
from para_server.engine.images import Image
from para_server.sessions import credentials, file_ownership
from para_server.sessions.recipes import find_fresh_image

_SKEW: float = 10.0  # seconds: more puts times of files and the end of logins in the wrong order


async def engine(context: Context) -> Check:
    """Check that an engine answers, in an API and by a connection that para knows."""
    known = await query_engine(context.engine)
    version = await context.engine.call(lambda api: api.api_version)
    tls = ", by TLS" if "--tlsverify" in context.engine.command_prefix else ""
    where = f"{context.engine.address}{tls}"
    return Check(name="engine", ok=True, detail=f"{known.version} (API {version}) at {where}")


async def owner(context: Context) -> Check:
    """Check that files of sessions can belong to this user."""
    known, whose = await inspect_engine(context.engine), await file_ownership.find_owner(context)
    kind = ""
    if known.rootless:
        kind = f" (rootless: root in its containers is uid {known.root} here)"
    if known.remapped:
        kind = f" (userns-remap: root in its containers is uid {known.root} here)"
    detail = f"the user para is uid {whose.inside[0]} in containers{kind}"
    return Check(name="owner", ok=True, detail=detail)


async def limits(context: Context) -> Check:
    """Check that the engine can hold sessions to their limits."""
    known, wanted = await inspect_engine(context.engine), context.settings(None).container
    cpus, memory = wanted.cpus, parse_size(wanted.memory)
    detail = (
        f"{known.cpus} CPUs and {gib(known.memory)}; a session may use "
        f"{min(cpus, known.cpus or cpus):g} CPUs and {gib(min(memory, known.memory or memory))}"
    )
    if known.limits:
        cannot = " and ".join(known.limits)
        message = f"{detail}, but the engine cannot limit {cannot}"
        url = "https://docs.docker.com/engine/security/rootless/"
        return warning("limits", "engine.refused", message, Remedy(title="Read why", url=url))
    return Check(name="limits", ok=True, detail=detail)


async def image(context: Context) -> Check:
    """Check that para's own images are there, and made from this para's recipes.

    Every session needs the base image; of another agent's, only its own sessions.
    """
    shown = [_sized(BASE_IMAGE, await find_fresh_image(context, BASE_IMAGE))]
    mine = agent_image(context.settings(None).agent.name)
    for name in map(agent_image, PROFILES):
        if await images.find(context.engine, name) is None:
            continue
        try:
            shown.append(_sized(name, await find_fresh_image(context, name)))
        except ParaError as error:
            if name == mine:
                raise
            return warning("image", error.slug, str(error), *error.problem.remedies)
    return Check(name="image", ok=True, detail=", ".join(shown))


async def files(context: Context) -> Check:
    """Check that the engine sees the files of this machine, has room and tells the same time."""
    try:
        found = await engine_trial.run(context)
    except ParaError as error:
        if error.slug != "engine.image-missing":
            raise
        remedies = error.problem.remedies
        return warning("files", error.slug, f"It could not be tried: {error}", *remedies)
    detail = "the engine sees this machine's files"
    if found.ahead is not None and abs(found.ahead) > _SKEW:
        message = f"{detail}, but its clock differs by {abs(found.ahead):.0f} seconds"
        return warning("files", "engine.refused", message)
    if found.room is None:
        return Check(name="files", ok=True, detail=detail)
    return scarce("files", f"{detail}; its disk has {gib(found.room)} free", found.room)


async def user(context: Context) -> Check:
    """Check that the image of sessions has the user `para`, and the tools that agents need."""
    settings = context.settings(None)
    chosen = await credentials.choose_image(context, settings, None)
    if await images.find(context.engine, chosen) is None:
        raise image_missing_error(chosen)
    ids = await file_ownership.read_image_ids(context, chosen)
    found = None if is_para_image(chosen) else await engine_trial.run(context, chosen)
    if found is not None and found.missing:
        raise ParaError(
            "engine.image-missing",
            f"The image {chosen} lacks {', '.join(found.missing)}, which agents need",
            Remedy(title="Choose another image", setting="container.image"),
        )
    inside = (await file_ownership.find_owner(context)).inside
    fits = "" if ids == inside else f", and is made uid {inside[0]} for sessions"
    detail = f"{chosen} has bash, tmux and git, and para as uid {ids[0]}{fits}"
    return Check(name="user", ok=True, detail=detail)


async def sessions(context: Context) -> Check:
    """Tell how many containers of sessions there are."""
    limit = context.settings(None).container.max_running
    there = await containers.list_session_containers(context.engine)
    others = sum(not context.store.owns(one.home) for one in there)
    whose = f", {others} of them of other users or homes" if others else ""
    detail = f"{len(there)} of {limit} containers{whose}"
    return Check(name="sessions", ok=True, detail=detail)


async def login(context: Context) -> Check | None:
    """Check that the agent of the settings has a login, where it needs one."""
    settings = context.settings(None)
    agent = settings.agent.name
    if not find_profile(agent, settings.agent).needs_login:
        return None
    chosen = await credentials.choose_image(context, settings, agent)
    await credentials.demand_login(context, settings, agent, chosen)
    how = f"{agent}, by agent.credentials = {settings.agent.credentials}"
    return Check(name="login", ok=True, detail=how)


def _sized(name: str, found: Image) -> str:
    return f"{name} {found.size >> 20} MiB"
