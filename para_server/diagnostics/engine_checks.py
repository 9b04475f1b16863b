"""Check the engine, its images and its limits for `para.doctor`."""

from __future__ import annotations

from para_server.agents.profiles import PROFILES, find_profile
from para_server.context import Context
from para_server.core.errors import ParaError, Remedy
from para_server.core.names import BASE_IMAGE, agent_image, is_para_image
from para_server.core.results import Check
from para_server.core.settings import parse_size
from para_server.diagnostics import engine_trial
from para_server.diagnostics.host_checks import check_room, format_gib, make_warning
from para_server.engine import containers, images
from para_server.engine.engine_info import inspect_engine, query_engine
from para_server.engine.error_translation import image_missing_error
from para_server.engine.images import Image
from para_server.sessions import credentials, file_ownership
from para_server.sessions.recipes import find_fresh_image

_MAX_CLOCK_SKEW: float = 10.0  # seconds; more disorders file times and the expiry of logins


async def check_engine(context: Context) -> Check:
    """Check that the engine answers with a supported API over a supported connection."""
    info = await query_engine(context.engine)
    version = await context.engine.call(lambda api: api.api_version)
    tls = ", by TLS" if "--tlsverify" in context.engine.command_prefix else ""
    where = f"{context.engine.address}{tls}"
    return Check(name="engine", ok=True, detail=f"{info.version} (API {version}) at {where}")


async def check_owner(context: Context) -> Check:
    """Check that the files of sessions can be owned by this user."""
    info, owner = await inspect_engine(context.engine), await file_ownership.find_owner(context)
    kind = ""
    if info.rootless:
        kind = f" (rootless: root in its containers is uid {info.root} here)"
    if info.remapped:
        kind = f" (userns-remap: root in its containers is uid {info.root} here)"
    detail = f"the user para is uid {owner.inside[0]} in containers{kind}"
    return Check(name="owner", ok=True, detail=detail)


async def check_limits(context: Context) -> Check:
    """Check that the engine can limit the CPUs and the memory of sessions."""
    info, wanted = await inspect_engine(context.engine), context.settings(None).container
    cpus, memory = wanted.cpus, parse_size(wanted.memory)
    usable_cpus, usable_memory = min(cpus, info.cpus or cpus), min(memory, info.memory or memory)
    detail = (
        f"{info.cpus} CPUs and {format_gib(info.memory)}; a session may use "
        f"{usable_cpus:g} CPUs and {format_gib(usable_memory)}"
    )
    if info.unsupported_limits:
        cannot = " and ".join(info.unsupported_limits)
        message = f"{detail}, but the engine cannot limit {cannot}"
        url = "https://docs.docker.com/engine/security/rootless/"
        return make_warning(
            "limits", "engine.refused", message, Remedy(title="Read about rootless limits", url=url)
        )
    return Check(name="limits", ok=True, detail=detail)


async def check_images(context: Context) -> Check:
    """Check that para's images exist and are built from this version's recipes.

    An error for the base image and the agent in the settings, a warning for other agents' images.
    """
    descriptions = [_name_with_size(BASE_IMAGE, await find_fresh_image(context, BASE_IMAGE))]
    own_image = agent_image(context.settings(None).agent.name)
    for name in map(agent_image, PROFILES):
        if await images.find(context.engine, name) is None:
            continue
        try:
            descriptions.append(_name_with_size(name, await find_fresh_image(context, name)))
        except ParaError as error:
            if name == own_image:
                raise
            return make_warning("image", error.slug, str(error), *error.problem.remedies)
    return Check(name="image", ok=True, detail=", ".join(descriptions))


async def check_files(context: Context) -> Check:
    """Check that the engine shares files and time with this machine and has free space."""
    try:
        result = await engine_trial.run_trial(context)
    except ParaError as error:
        if error.slug != "engine.image-missing":
            raise
        remedies = error.problem.remedies
        return make_warning("files", error.slug, f"not checked: {error}", *remedies)
    detail = "the engine sees this machine's files"
    if result.ahead is not None and abs(result.ahead) > _MAX_CLOCK_SKEW:
        message = f"{detail}, but its clock differs by {abs(result.ahead):.0f} seconds"
        return make_warning("files", "engine.refused", message)
    if result.room is None:
        return Check(name="files", ok=True, detail=detail)
    return check_room(
        "files", f"{detail}; its disk has {format_gib(result.room)} free", result.room
    )


async def check_user(context: Context) -> Check:
    """Check that the image of sessions has the user `para` and the tools that agents need."""
    settings = context.settings(None)
    chosen = await credentials.choose_image(context, settings, None)
    if await images.find(context.engine, chosen) is None:
        raise image_missing_error(chosen)
    ids = await file_ownership.read_image_ids(context, chosen)
    result = None if is_para_image(chosen) else await engine_trial.run_trial(context, chosen)
    if result is not None and result.missing:
        raise ParaError(
            "engine.image-missing",
            f"The image {chosen} lacks {', '.join(result.missing)}, which agents need",
            Remedy(title="Choose another image", setting="container.image"),
        )
    inside = (await file_ownership.find_owner(context)).inside
    fits = "" if ids == inside else f", and becomes uid {inside[0]} for sessions"
    detail = f"{chosen} has bash, tmux and git, and para as uid {ids[0]}{fits}"
    return Check(name="user", ok=True, detail=detail)


async def count_sessions(context: Context) -> Check:
    """Report the number of session containers and their limit."""
    limit = context.settings(None).container.max_running
    running = await containers.list_session_containers(context.engine)
    others = sum(not context.store.owns(one.home) for one in running)
    note = f", {others} of them belong to other users or homes" if others else ""
    detail = f"{len(running)} of {limit} containers{note}"
    return Check(name="sessions", ok=True, detail=detail)


async def check_login(context: Context) -> Check | None:
    """Check that the agent in the settings has a login, if it needs one."""
    settings = context.settings(None)
    agent = settings.agent.name
    if not find_profile(agent, settings.agent).needs_login:
        return None
    chosen = await credentials.choose_image(context, settings, agent)
    await credentials.require_login(context, settings, agent, chosen)
    how = f"{agent}, by agent.credentials = {settings.agent.credentials}"
    return Check(name="login", ok=True, detail=how)


def _name_with_size(name: str, result: Image) -> str:
    return f"{name} {result.size >> 20} MiB"
