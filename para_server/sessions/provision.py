"""Create and remove the parts of a session: refs, workspace, container, volumes, images."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from para_server.agents import reported, supervisor
from para_server.agents.profiles import find_profile
from para_server.concurrency import locks
from para_server.concurrency.cancellation import run_both, run_in_thread
from para_server.context import Context
from para_server.core import container_spec, time_limits
from para_server.core.errors import SHOW_SESSIONS, ParaError, Remedy
from para_server.core.lifecycle import ENDED_STATES
from para_server.core.models import State
from para_server.core.names import (
    HELPER_PREFIX,
    base_ref,
    container_name,
    review_ref,
    saved_image,
    session_network,
)
from para_server.core.records import Record
from para_server.core.settings import Settings
from para_server.engine import container_cache, containers, images, networks, oneshot
from para_server.engine.containers import ContainerInfo
from para_server.git import base_checkout, bundle, clone, discovery, repository, worktree
from para_server.git.clone import StartPoint
from para_server.git.repository import Repo
from para_server.host.filesystem import remove_tree, reporting_os_errors
from para_server.sessions import credentials, file_ownership, image_volumes
from para_server.sessions.recipes import find_helper_image
from para_server.sessions.workspace import checkout_cache, overlay

_REMOVAL_TIMEOUT: Final = 600  # seconds


class ReleasedWorkspace(NamedTuple):
    """Proof that a workspace is complete, and that git on the host will not enter it again.

    `start_container` requires it, so nothing of a session runs before its workspace is complete.
    """

    session_id: str


async def provision_session(
    context: Context, repo: Repo, record: Record, settings: Settings, image: str, start: StartPoint
) -> ContainerInfo | None:
    """Create workspace and container of a session concurrently, then start the container.

    Return the container, or None for a worktree and for an overlay, whose mount point only the
    engine knows.
    """
    workspace_task = create_workspace(context, repo, record, settings, start)
    if record.type == "worktree":
        await workspace_task
        return None
    released, container_id = await run_both(
        workspace_task, create_container(context, repo, record, settings, image)
    )
    await start_container(context, record, released)
    if record.bases:
        return None
    return containers.started_info(container_id, container_name(record.id), image)


def workspace_of_started(record: Record) -> ReleasedWorkspace:
    """Return the released workspace of a session that was started before."""
    assert record.state not in {State.PREPARING, *ENDED_STATES}, f"{record.id} has no workspace yet"
    return ReleasedWorkspace(record.id)


async def keep_base_commit(
    context: Context, repo: Repo, record: Record, commit: str, *, new: bool = False
) -> None:
    """Set a ref to the base commit of a session; raises workspace.branch-exists for a new one."""
    async with context.store.locked_refs(record.refs_at):
        if new:
            await repository.protect_new_base_commit(repo, record.id, commit, record.branch)
        else:
            await repository.protect_base_commit(repo, record.id, commit)


async def create_workspace(
    context: Context, repo: Repo, record: Record, settings: Settings, start: StartPoint
) -> ReleasedWorkspace:
    """Create the workspace of a session; over base checkouts, only its own layer."""
    folder = context.store.workspace(record.id)
    index = None
    if record.bases:
        folder = context.store.upper_folder(record.id)
        index = checkout_cache.layer_folders(context, record)[0] / base_checkout.INDEX
    if record.type == "worktree":
        async with context.store.locked_refs(record.refs_at):
            warning = await worktree.create_worktree(repo, folder, start)
        if warning is not None:
            context.report(warning, None)
            context.store.write(record.updated(warnings=(*record.warnings, warning)))
    else:
        own = record.has_own_objects(settings.git.objects)
        _create_folders(context, record)
        owner = (await file_ownership.find_owner(context)).host
        await clone.create_clone(repo, folder, start, own=own, owner=owner, index=index)
    return ReleasedWorkspace(record.id)


async def create_container(
    context: Context, repo: Repo, record: Record, settings: Settings, image: str
) -> str:
    """Create the container of a session and return its id; raises session.limit-reached."""
    agent_folder = context.store.agent_folder(record.id)
    supervisor.prepare_folder(agent_folder, (await file_ownership.find_owner(context)).host)
    fitted = image
    if image != saved_image(record.id):  # a saved image was made from a fitted one
        fitted = await file_ownership.fit_image(context, image, record.id)
    # a session without a task may get one later
    profile = find_profile(record.agent or settings.agent.name, settings.agent)
    mounts = [await workspace_mount(context, record), *supervisor.mounts(agent_folder, profile)]
    if not record.has_own_objects(settings.git.objects):
        mounts += _object_store_mounts(repo)
    login, environment = await credentials.find_shared_login(context, settings, record.agent)
    session_volumes = await image_volumes.create_volumes(context, record, fitted, [*mounts, *login])
    spec = container_spec.session_container(
        record,
        settings.container,
        environment,
        image=fitted,
        home=context.store.home,
        mounts=[*mounts, *session_volumes.mounts, *login],
        ca_bundle=container_spec.find_ca_bundle(settings.container, context.environ),
        proxies=context.engine.session_proxies,
    )
    limit = settings.container.max_running
    async with locks.reserve(
        context.engine, spec.name, limit, lambda: _container_names(context)
    ) as free:
        if not free:
            raise await _limit_error(context, limit)
        container_id = await containers.create(context.engine, spec)
    await image_volumes.fix_ownership(context, container_id, session_volumes.new, image, fitted)
    return container_id


async def _container_names(context: Context) -> set[str]:
    return {one.name for one in await container_cache.refresh(context.engine)}


async def workspace_mount(context: Context, record: Record) -> container_spec.Mount:
    """Return the mount of a workspace; creates its folders and its overlay volume."""
    _create_folders(context, record)
    if not record.bases:
        folder = context.store.workspace(record.id)
        return container_spec.Mount(source=str(folder), target=container_spec.WORKSPACE)
    return await overlay.create_mount(
        context, record, checkout_cache.layer_folders(context, record)
    )


def _create_folders(context: Context, record: Record) -> None:
    store, key = context.store, record.id
    own = [store.upper_folder(key), store.overlay_work(key)] if record.bases else []
    with reporting_os_errors(store.workspace(key)):
        for folder in (store.workspace(key), *own):
            folder.mkdir(mode=0o700, exist_ok=True)


async def start_container(context: Context, record: Record, released: ReleasedWorkspace) -> None:
    """Start the container of a session, which from then on may change its workspace."""
    assert released.session_id == record.id, "it is the workspace of another session"
    context.report(f"Starting {record.name}", 60)
    try:
        await containers.start(context.engine, container_name(record.id))
    except ParaError:
        if record.bases:
            overlay.forget_support(context)
        raise


async def remove_session(context: Context, record: Record, *, keep_agent: bool = False) -> None:
    """Remove the container, saved image, workspace and refs of a session; can be repeated."""
    # refs last: they keep the objects that a workspace borrows from the repository
    await _remove_files(context, record, keep_agent=keep_agent)
    await _delete_refs(context, record)


async def _remove_files(context: Context, record: Record, *, keep_agent: bool) -> None:
    if record.type == "container":
        await containers.remove(context.engine, container_name(record.id))
        if record.network == "bridge":
            await networks.remove_own(context.engine, session_network(record.id))
        await image_volumes.remove_volumes(context, record)
        await images.remove_saved(context.engine, record.id, context.store.owns)
    await remove_workspace(context, record)
    if not keep_agent:
        folder = context.store.agent_folder(record.id)
        await remove_folder(context, folder, record.id, in_container=record.type == "container")


async def remove_workspace(context: Context, record: Record) -> None:
    """Remove the workspace of a session."""
    folder = context.store.workspace(record.id)
    repo = await discovery.find_session_repository(record) if record.type == "worktree" else None
    if repo is not None:
        async with context.store.locked_refs(record.refs_at):
            await worktree.remove_worktree(repo, folder)
    await remove_folder(context, folder, record.id, in_container=record.type == "container")
    if repo is not None:
        async with context.store.locked_refs(record.refs_at):
            worktree.forget_worktree(repo, folder)


async def remove_folder(
    context: Context, folder: Path, session_id: str, *, in_container: bool = True
) -> None:
    """Remove a folder, with a helper if a container wrote files of other users into it."""
    try:
        await run_in_thread(lambda: remove_tree(folder))
    except ParaError:
        if os.geteuid() == 0 or not in_container:
            raise
        await _empty_by_helper(context, folder, session_id)
        await run_in_thread(lambda: remove_tree(folder))


async def _empty_by_helper(context: Context, folder: Path, session_id: str) -> None:
    # two folders of a session can be removed at the same time
    name = f"{HELPER_PREFIX}{session_id}.{folder.parent.name}.{folder.name}"
    await containers.remove(context.engine, name)  # left by a killed process
    image, home = await find_helper_image(context), context.store.home
    spec = container_spec.removal_container(name, session_id, image=image, home=home, folder=folder)
    await oneshot.run(context.engine, spec, _REMOVAL_TIMEOUT)


async def _delete_refs(context: Context, record: Record) -> None:
    repo = await discovery.find_session_repository(record)
    if repo is None:
        return  # the repository is gone with its refs
    async with context.store.locked_refs(record.refs_at):
        ours = base_ref(record.id), review_ref(record.id), *bundle.incoming_refs(record.id)
        await repository.delete_refs(repo, *ours)


def _object_store_mounts(repo: Repo) -> list[container_spec.Mount]:
    return [
        container_spec.Mount(source=str(store), target=str(store), read_only=True)
        for store in repository.list_object_stores(repo)
    ]


async def _limit_error(context: Context, limit: int) -> ParaError:
    running = [r for r in context.store.read_all() if r.state is State.RUNNING and not r.doing]
    running = [record for record in running if record.type == "container"]
    idle = [(at, record) for record in running if (at := _idle_since(context, record)) is not None]
    remedies = [SHOW_SESSIONS]
    if running:
        by_time = idle or [(record.updated_at, record) for record in running]
        _, choice = min(by_time, key=lambda one: one[0])
        which = "the longest idle session" if idle else "the least recently changed session"
        params = {"name": choice.name, "repo": choice.repo}
        title = f"Pause {choice.name}, {which}"
        remedies.insert(0, Remedy(title=title, command="para.pause", params=params))
    on_engine = await container_cache.refresh(context.engine)
    others = sum(not context.store.owns(one.home) for one in on_engine)
    note = f" ({others} of the {len(on_engine)} belong to other users or homes)" if others else ""
    return ParaError(
        "session.limit-reached",
        f"Maximum {limit} containers reached{note}. "
        "Use 'para pause' or 'para cancel' to free resources",
        *remedies,
    )


def _idle_since(context: Context, record: Record) -> datetime | None:
    """Return since when the session's agent, or the session without an agent, is idle."""
    if record.agent is None or not record.prompt:
        return record.updated_at
    folder = context.store.agent_folder(record.id)
    agent = reported.read_state(
        folder, record.agent, alive=True, supervised=reported.is_supervised(folder)
    )
    return time_limits.idle_since(record, agent)
