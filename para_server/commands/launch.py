"""The only place that makes the parts of a session, and takes them away again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from para_server import locks, spec
from para_server.agents import supervision
from para_server.agents.profiles import profile
from para_server.commands import bases, credentials, keeping, layering, ownership
from para_server.commands.images import helper_image
from para_server.context import Context
from para_server.disk import remove_tree, written
from para_server.engine import containers, helper, images, memory, networks
from para_server.engine.containers import Seen
from para_server.errors import SHOW_SESSIONS, ParaError, Remedy
from para_server.git import bundle, checkout, clone, discovery, repository, worktree
from para_server.git.clone import Start
from para_server.git.repository import Repo
from para_server.lifecycle import OVER
from para_server.models import State
from para_server.names import (
    HELPER_PREFIX,
    base_ref,
    container_name,
    own_network,
    review_ref,
    saved_image,
)
from para_server.records import Record
from para_server.settings import Settings
from para_server.steps import off_loop, together

_REMOVAL_SECONDS: Final = 600


class Released(NamedTuple):
    """A workspace that the host has finished with, and will not enter again.

    A session's container is started with it alone, so nothing of the session runs before.
    """

    session_id: str


async def up(
    context: Context, repo: Repo, record: Record, settings: Settings, image: str, start: Start
) -> Seen | None:
    """Create the parts of a session side by side, and then start its container.

    Return what is known of it, unless the engine has to be asked where it mounted the workspace.
    """
    filling = workspace(context, repo, record, settings, start)
    if record.type == "worktree":
        await filling
        return None
    released, made = await together(filling, box(context, repo, record, settings, image))
    await run(context, record, released)
    return None if record.bases else containers.started(made, container_name(record.id), image)


def released_before(record: Record) -> Released:
    """Return the workspace of a session whose container was started before."""
    assert record.state not in {State.PREPARING, *OVER}, f"{record.id} has no workspace yet"
    return Released(record.id)


async def keep_base(
    context: Context, repo: Repo, record: Record, commit: str, *, new: bool = False
) -> None:
    """Keep what a session begins with alive; of a new one raises workspace.branch-exists."""
    async with context.store.holding_repo(record.refs_at):
        if new:
            await repository.keep_base_of_new(repo, record.id, commit, record.branch)
        else:
            await repository.keep_base(repo, record.id, commit)


async def workspace(
    context: Context, repo: Repo, record: Record, settings: Settings, start: Start
) -> Released:
    """Create the folder that a session works in; with bases, only what it has of its own."""
    folder = context.store.workspace(record.id)
    index = None
    if record.bases:
        folder = context.store.upper(record.id)
        index = bases.layers(context, record)[0] / checkout.INDEX
    if record.type == "worktree":
        async with context.store.holding_repo(record.refs_at):
            complaint = await worktree.make(repo, folder, start)
        if complaint is not None:
            context.report(complaint, None)
            context.store.write(record.but(warnings=(*record.warnings, complaint)))
    else:
        own = record.has_own_objects(settings.git.objects)
        _lay_out(context, record)
        owner = (await ownership.owner(context)).host
        await clone.make(repo, folder, start, own=own, owner=owner, index=index)
    return Released(record.id)


async def box(context: Context, repo: Repo, record: Record, settings: Settings, image: str) -> str:
    """Make a session's container, which is not started yet, unless the limit is reached."""
    agent_folder = context.store.agent_folder(record.id)
    supervision.prepare(agent_folder, (await ownership.owner(context)).host)
    fitted = image
    if image != saved_image(record.id):  # a saved one was made from one that fits
        fitted = await ownership.fitted(context, image, record.id)
    # a session for a person may be given a task later
    facts = profile(record.agent or settings.agent.name, settings.agent)
    mounts = [await files(context, record), *supervision.mounts(agent_folder, facts)]
    if not record.has_own_objects(settings.git.objects):
        mounts += _lent(repo)
    login, environment = await credentials.shared(context, settings, record.agent)
    kept = await keeping.kept(context, record, fitted, [*mounts, *login])
    wanted = spec.session_container(
        record,
        settings.container,
        environment,
        image=fitted,
        home=context.store.home,
        mounts=[*mounts, *kept.mounts, *login],
        ca_bundle=spec.ca_bundle_of(settings.container, context.environ),
        proxies=context.engine.session_proxies,
    )
    limit = settings.container.max_running
    async with locks.place(context.engine, wanted.name, limit, lambda: _there(context)) as free:
        if not free:
            raise await _limit_reached(context, limit)
        made = await containers.create(context.engine, wanted)
    await keeping.fit(context, made, kept.new, image, fitted)
    return made


async def _there(context: Context) -> set[str]:
    return {one.name for one in await memory.asked(context.engine)}


async def files(context: Context, record: Record) -> spec.Mount:
    """Describe the mount of a session's files, and see to it that it can be mounted."""
    _lay_out(context, record)
    if not record.bases:
        folder = context.store.workspace(record.id)
        return spec.Mount(source=str(folder), target=spec.WORKSPACE)
    return await layering.lay(context, record, bases.layers(context, record))


def _lay_out(context: Context, record: Record) -> None:
    store, key = context.store, record.id
    own = [store.upper(key), store.overlay_work(key)] if record.bases else []
    with written(store.workspace(key)):
        for folder in (store.workspace(key), *own):
            folder.mkdir(mode=0o700, exist_ok=True)


async def run(context: Context, record: Record, released: Released) -> None:
    """Start a session's container: from now on its workspace belongs to the session."""
    assert released.session_id == record.id, "it is the workspace of another session"
    context.report(f"Starting {record.name}", 60)
    try:
        await containers.start(context.engine, container_name(record.id))
    except ParaError:
        if record.bases:
            layering.forget(context)
        raise


async def tear_down(context: Context, record: Record, *, keep_agent: bool = False) -> None:
    """Remove container, saved image, workspace and base of a session; what is gone stays gone."""
    # in this order: what keeps the base alive goes when nothing is left that stands on it
    await _drop_files(context, record, keep_agent=keep_agent)
    await _drop_refs(context, record)


async def _drop_files(context: Context, record: Record, *, keep_agent: bool) -> None:
    if record.type == "container":
        await containers.remove(context.engine, container_name(record.id))
        if record.network == "bridge":
            await networks.remove_own(context.engine, own_network(record.id))
        await keeping.drop(context, record)
        await images.remove_saved(context.engine, record.id, context.store.owns)
    await drop_workspace(context, record)
    if not keep_agent:
        folder = context.store.agent_folder(record.id)
        await clear_away(context, folder, record.id, boxed=record.type == "container")


async def drop_workspace(context: Context, record: Record) -> None:
    """Remove the folder that a session worked in."""
    folder = context.store.workspace(record.id)
    repo = await discovery.find(record) if record.type == "worktree" else None
    if repo is not None:
        async with context.store.holding_repo(record.refs_at):
            await worktree.remove(repo, folder)
    await clear_away(context, folder, record.id, boxed=record.type == "container")
    if repo is not None:
        async with context.store.holding_repo(record.refs_at):
            worktree.forget(repo, folder)


async def clear_away(
    context: Context, folder: Path, session_id: str, *, boxed: bool = True
) -> None:
    """Remove a folder that root in a container may have put files into, where it was mounted."""
    try:
        await off_loop(lambda: remove_tree(folder))
    except ParaError:
        if os.geteuid() == 0 or not boxed:
            raise
        await _removed_by_helper(context, folder, session_id)
        await off_loop(lambda: remove_tree(folder))


async def _removed_by_helper(context: Context, folder: Path, session_id: str) -> None:
    # a name of its own: two folders of a session may be cleared at once
    name = f"{HELPER_PREFIX}{session_id}.{folder.parent.name}.{folder.name}"
    await containers.remove(context.engine, name)  # of a process that was killed
    image, home = await helper_image(context), context.store.home
    wanted = spec.removal_container(name, session_id, image=image, home=home, folder=folder)
    await helper.run(context.engine, wanted, _REMOVAL_SECONDS)


async def _drop_refs(context: Context, record: Record) -> None:
    repo = await discovery.find(record)
    if repo is None:
        return  # the repository is gone, and its refs with it
    async with context.store.holding_repo(record.refs_at):
        ours = base_ref(record.id), review_ref(record.id), *bundle.incoming_refs(record.id)
        await repository.delete_refs(repo, *ours)


def _lent(repo: Repo) -> list[spec.Mount]:
    return [
        spec.Mount(source=str(store), target=str(store), read_only=True)
        for store in repository.lenders(repo)
    ]


async def _limit_reached(context: Context, limit: int) -> ParaError:
    running = [r for r in context.store.all() if r.state is State.RUNNING and not r.doing]
    idle = min(running, key=lambda r: r.updated_at, default=None)
    remedies = [SHOW_SESSIONS]
    if idle is not None:
        params = {"name": idle.name, "repo": idle.repo}
        title = f"Pause {idle.name}, the longest idle session"
        remedies.insert(0, Remedy(title=title, command="para.pause", params=params))
    there = await memory.asked(context.engine)
    others = sum(not context.store.owns(one.home) for one in there)
    whose = f" ({others} of the {len(there)} are of other users or homes)" if others else ""
    return ParaError(
        "session.limit-reached",
        f"Maximum {limit} containers reached{whose}. "
        "Use 'para pause' or 'para cancel' to free resources",
        *remedies,
    )
