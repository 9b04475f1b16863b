"""The only place that completes or undoes what a process left when it was killed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from para_server import reserve
from para_server.agents import claims
from para_server.commands import agent, launch
from para_server.context import Context
from para_server.engine import containers, freezing, images, saving, volumes
from para_server.errors import ParaError
from para_server.git import bundle, discovery, repository, worktree
from para_server.git.standing import in_use
from para_server.lifecycle import OVER
from para_server.models import State
from para_server.names import (
    HELPER_PREFIX,
    archive_ref,
    container_name,
    saved_image,
    volume_name,
)
from para_server.records import Record

_log = logging.getLogger(__name__)
# that a command is at work is no news, and of an engine that is off the command itself speaks
_NO_NEWS: Final = frozenset({"session.illegal-transition", "engine.unreachable"})


async def sweep(context: Context) -> None:
    """Settle every session that no living process holds; what cannot be settled now waits."""
    async with context.store.holding_sweep():
        await _settle_all(context)


async def _settle_all(context: Context) -> None:
    records = context.store.all()
    if any(record.state not in OVER for record in records):
        reserve.keep(context.store.home)
    for record in records:
        if record.doing is None:
            continue
        try:
            async with context.store.holding(record.id, patience=0):
                await settle(context, record.id)
        except Exception as error:  # noqa: BLE001 # whatever it is, other sessions go on
            put_off(f"session {record.name} is not settled", error)
    for stray in _strays(context):
        try:
            await _clear_stray(context, stray)
        except Exception as error:  # noqa: BLE001 # the same
            put_off(f"{stray} is not cleared", error)


def _strays(context: Context) -> list[Path]:
    try:
        return list(context.store.strays())
    except OSError as error:
        put_off("what is left over is not looked at", error)
        return []


def put_off(what: str, error: Exception) -> None:
    """Say what has to wait: the next process tries again."""
    if isinstance(error, ParaError) and error.slug in _NO_NEWS:
        _log.debug("%s: %s", what, error)
        return
    _log.warning("%s yet: %s", what, str(error) or type(error).__name__)


async def settle(context: Context, session_id: str) -> None:
    """Complete or undo the command that was under way; the session is held."""
    record = context.store.read(session_id)
    if record is None or record.doing is None:
        return
    match record.doing:
        case "start":
            await undo_start(context, record)
        case "recover":
            await undo_recover(context, record)
        case "resume":
            await undo_resume(context, record)
        case "pause":
            await complete_pause(context, record)
        case "finish" | "cancel":
            await _settle_end(context, record)


async def undo_start(context: Context, record: Record) -> None:
    """Leave nothing of a session that did not come to be."""
    branch = record.branch if record.type == "worktree" else None
    await launch.tear_down(context, record)
    if branch is not None:
        await _drop_empty_branch(context, record, branch)
    context.store.forget(record.id)


async def undo_recover(context: Context, record: Record) -> None:
    """Leave a session cancelled as it was; its archive was never touched."""
    await launch.tear_down(context, record)
    if record.type == "worktree":
        await _drop_empty_branch(context, record, record.branch)
    context.store.write(record.but(state=State.CANCELLED, doing=None, bases=()))


async def undo_resume(context: Context, record: Record) -> None:
    """Leave a session as it was before somebody wanted it to go on."""
    if record.state is State.FINISHED:
        await launch.tear_down(context, record, keep_agent=True)
        record = record.but(bases=())
    elif record.fresh:
        await containers.remove(context.engine, container_name(record.id))
    elif record.state is State.PAUSED and record.type == "container":
        await frozen_again(context, record)
    context.store.write(record.but(doing=None, fresh=False))


async def saved(context: Context, record: Record) -> Record:
    """Save what there is of a container, and note it when the image is there."""
    name, image = container_name(record.id), saved_image(record.id)
    if await containers.find(context.engine, name) is not None:
        await containers.stop(context.engine, name)
        labels = images.saved_labels(record.id, context.store.home)
        await saving.save(context.engine, name, image, labels)
        if await images.find(context.engine, image) is None:
            raise ParaError("engine.refused", f"{image} is not there after it was saved")
    return context.store.write(record.but(state=State.PAUSED))


async def complete_pause(context: Context, record: Record) -> Record:
    """Remove a container once it is saved, and the images that it was saved in before."""
    if record.state is not State.PAUSED:
        record = await saved(context, record)
    await containers.remove(context.engine, container_name(record.id))
    image = await images.find(context.engine, saved_image(record.id))
    if image is not None:
        await images.remove_saved(context.engine, record.id, context.store.owns, but=image.id)
    return context.store.write(record.but(doing=None))


async def complete_end(context: Context, record: Record, state: State) -> Record:
    """Remove what a finished or cancelled session had; its work is in the repository already."""
    over = record if record.state is state else context.store.write(record.but(state=state))
    await launch.tear_down(context, over, keep_agent=state is State.FINISHED)
    if over.type == "worktree" and state is State.CANCELLED:
        await _drop_empty_branch(context, over, over.branch)
    return context.store.write(
        over.but(doing=None, head=None, target=None, target_branch=None, bases=())
    )


async def ended(context: Context, record: Record, state: State) -> Record:
    """Complete a finish or cancel whose work is safe: what fails now, the next process does.

    Only where the end cannot be written down does it raise: the session then goes on.
    """
    over = context.store.write(record.but(state=state))
    try:
        return await complete_end(context, over, state)
    except Exception as error:  # noqa: BLE001 # whatever it is, the work is where it belongs
        put_off(f"session {record.name} has ended, but not all of it is removed", error)
        return over


async def _settle_end(context: Context, record: Record) -> None:
    if record.state in {State.FINISHED, State.CANCELLED}:
        await complete_end(context, record, record.state)
        return
    repo = await discovery.of_session(record)
    if record.doing == "finish":
        ref, state = f"refs/heads/{record.target_branch}", State.FINISHED
    else:
        ref, state = archive_ref(record.id), State.CANCELLED
    if record.target is not None and await repository.ref_commit(repo, ref) == record.target:
        kept = {"finished": record.target, "branch": record.target_branch or record.branch}
        changes = kept if state is State.FINISHED else {}
        await complete_end(context, record.but(**changes), state)
        return
    try:
        async with context.store.holding_repo(record.refs_at):
            await bundle.drop_incoming(repo, record.id)
    except ParaError as error:
        put_off(f"refs of {record.name} are not deleted", error)
    await undo_end(context, record)


async def undo_end(context: Context, record: Record) -> None:
    """Let a session go on that was to end, unless its end is written down already."""
    now = context.store.read(record.id)
    if now is None or now.state in OVER:
        return
    if record.type == "container" and record.state in {State.RUNNING, State.FAILED}:
        seen = await containers.find(context.engine, container_name(record.id))
        if seen is not None and seen.state == "paused":
            await freezing.thaw(context.engine, seen.name)
        alive = seen is not None and seen.state in {"running", "paused"}
        if alive and claims.rests(context.store.agent_folder(record.id)):
            await _go_on(context, record)
    if record.head is not None:
        repo = await discovery.of_session(record)
        await worktree.uncommit(repo, record.branch, record.head)
    context.store.write(record.but(doing=None, head=None, target=None, target_branch=None))


async def _go_on(context: Context, record: Record) -> None:
    """Let the agent go on, if it can: a session whose agent cannot is one that can still end."""
    try:
        await agent.go_on(context, record, None)
    except ParaError as error:
        _log.warning("its agent does not go on: %s", error, extra={"session": record.name})


async def frozen_again(context: Context, record: Record) -> None:
    """Freeze a container that was let go on."""
    seen = await containers.find(context.engine, container_name(record.id))
    if seen is not None and seen.state == "running":
        await freezing.freeze(context.engine, seen.name)


async def _drop_empty_branch(context: Context, record: Record, branch: str) -> None:
    repo = await discovery.find(record)
    if repo is None:
        return
    async with context.store.holding_repo(record.refs_at):
        at = await repository.branch_commit(repo, branch)
        kept = {record.base, record.finished}
        if record.archive is not None:
            kept |= {record.archive, record.archive_tip}
        if at is not None and at in kept and not await in_use(repo, branch):
            await repository.delete_refs(repo, f"refs/heads/{branch}")


async def _clear_stray(context: Context, stray: Path) -> None:
    session_id = stray.name.partition(".")[0]
    async with context.store.holding(session_id, patience=0):
        if stray not in context.store.strays():
            return  # its session began in the meantime
        if stray.parent.name == "scratch":
            await containers.remove(context.engine, f"{HELPER_PREFIX}{stray.name}")
            await volumes.remove(context.engine, volume_name(stray.name))
        await launch.clear_away(context, stray, session_id)
