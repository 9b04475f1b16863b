"""Complete or roll back commands whose process was killed, and remove their leftovers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from para_server.agents import reported
from para_server.context import Context
from para_server.core.errors import ParaError
from para_server.core.lifecycle import ENDED_STATES
from para_server.core.models import State
from para_server.core.names import (
    HELPER_PREFIX,
    archive_ref,
    container_name,
    overlay_volume_name,
)
from para_server.core.records import Record
from para_server.engine import containers, freezer, volumes
from para_server.git import bundle, discovery, repository, worktree
from para_server.git.worktree_state import is_branch_in_use
from para_server.host import disk_reserve
from para_server.sessions import agent_process, provision, suspend

_log = logging.getLogger(__name__)
# a busy session is no problem, and commands report an unreachable engine themselves
_EXPECTED: Final = frozenset({"session.busy", "engine.unreachable"})


async def reconcile_all(context: Context) -> None:
    """Reconcile every session that no process has locked; log what fails for the next time."""
    async with context.store.locked_cleanup():
        await _reconcile_each(context)


async def _reconcile_each(context: Context) -> None:
    records = context.store.read_all()
    if any(record.state not in ENDED_STATES for record in records):
        disk_reserve.create(context.store.home)
    for record in records:
        if record.doing is None:
            continue
        try:
            async with context.store.locked_session(record.id, timeout=0):
                await reconcile_session(context, record.id)
        except Exception as error:  # noqa: BLE001 # one failure must not stop the others
            log_postponed(f"session {record.name} is not reconciled", error)
    for leftover in _find_leftovers(context):
        try:
            await _remove_leftover(context, leftover)
        except Exception as error:  # noqa: BLE001 # as above
            log_postponed(f"{leftover} is not removed", error)


def _find_leftovers(context: Context) -> list[Path]:
    try:
        return list(context.store.leftovers())
    except OSError as error:
        log_postponed("leftovers are not listed", error)
        return []


def log_postponed(what: str, error: Exception) -> None:
    """Log what failed; the next process tries it again."""
    if isinstance(error, ParaError) and error.slug in _EXPECTED:
        _log.debug("%s: %s", what, error)
        return
    _log.warning("%s yet: %s", what, str(error) or type(error).__name__)


async def reconcile_session(context: Context, session_id: str) -> None:
    """Complete or roll back the interrupted command of a session, which must be locked."""
    record = context.store.read_record(session_id)
    if record is None or record.doing is None:
        return
    match record.doing:
        case "start":
            await roll_back_start(context, record)
        case "recover":
            await roll_back_recover(context, record)
        case "resume":
            await roll_back_resume(context, record)
        case "pause":
            await suspend.complete_pause(context, record)
        case "finish" | "cancel":
            await _reconcile_end(context, record)


async def roll_back_start(context: Context, record: Record) -> None:
    """Remove all parts of a session that did not start."""
    branch = record.branch if record.type == "worktree" else None
    await provision.remove_session(context, record)
    if branch is not None:
        await _delete_empty_branch(context, record, branch)
    context.store.remove(record.id)


async def roll_back_recover(context: Context, record: Record) -> None:
    """Return a session to cancelled; its archive is unchanged."""
    await provision.remove_session(context, record)
    if record.type == "worktree":
        await _delete_empty_branch(context, record, record.branch)
    context.store.write(record.updated(state=State.CANCELLED, doing=None, bases=()))


async def roll_back_resume(context: Context, record: Record) -> None:
    """Return a session to its state before the resume."""
    if record.state is State.FINISHED:
        await provision.remove_session(context, record, keep_agent=True)
        record = record.updated(bases=())
    elif record.fresh:
        await containers.remove(context.engine, container_name(record.id))
    elif record.state is State.PAUSED and record.type == "container":
        await freeze_again(context, record)
    context.store.write(record.updated(doing=None, fresh=False))


async def complete_end(context: Context, record: Record, state: State) -> Record:
    """Remove the parts of a finished or cancelled session, whose work is in the repository."""
    ended_record = (
        record if record.state is state else context.store.write(record.updated(state=state))
    )
    await provision.remove_session(context, ended_record, keep_agent=state is State.FINISHED)
    if ended_record.type == "worktree" and state is State.CANCELLED:
        await _delete_empty_branch(context, ended_record, ended_record.branch)
    return context.store.write(
        ended_record.updated(doing=None, head=None, target=None, target_branch=None, bases=())
    )


async def end_session(context: Context, record: Record, state: State) -> Record:
    """Complete a finish or cancel after its work is safe; the next process removes the rest.

    Raises only if the end cannot be written to the record: the session then continues.
    """
    ended_record = context.store.write(record.updated(state=state))
    try:
        return await complete_end(context, ended_record, state)
    except Exception as error:  # noqa: BLE001 # the work is safe whatever fails
        log_postponed(
            f"session {record.name} has ended, but some of its parts are not removed", error
        )
        return ended_record


async def _reconcile_end(context: Context, record: Record) -> None:
    if record.state in {State.FINISHED, State.CANCELLED}:
        await complete_end(context, record, record.state)
        return
    repo = await discovery.get_session_repository(record)
    if record.doing == "finish":
        ref, state = f"refs/heads/{record.target_branch}", State.FINISHED
    else:
        ref, state = archive_ref(record.id), State.CANCELLED
    if record.target is not None and await repository.resolve_ref(repo, ref) == record.target:
        kept = {"finished": record.target, "branch": record.target_branch or record.branch}
        changes = kept if state is State.FINISHED else {}
        await complete_end(context, record.updated(**changes), state)
        return
    try:
        async with context.store.locked_refs(record.refs_at):
            await bundle.delete_incoming_refs(repo, record.id)
    except ParaError as error:
        log_postponed(f"refs of {record.name} are not deleted", error)
    await roll_back_end(context, record)


async def roll_back_end(context: Context, record: Record) -> None:
    """Return a session to work after a failed finish or cancel, unless it has ended."""
    current = context.store.read_record(record.id)
    if current is None or current.state in ENDED_STATES:
        return
    if record.type == "container" and record.state in {State.RUNNING, State.FAILED}:
        container = await containers.find(context.engine, container_name(record.id))
        if container is not None and container.state == "paused":
            await freezer.thaw(context.engine, container.name)
        alive = container is not None and container.state in {"running", "paused"}
        if alive and reported.is_suspended(context.store.agent_folder(record.id)):
            await _resume_agent(context, record)
    if record.head is not None:
        repo = await discovery.get_session_repository(record)
        await worktree.roll_back_commit(repo, record.branch, record.head)
    context.store.write(record.updated(doing=None, head=None, target=None, target_branch=None))


async def _resume_agent(context: Context, record: Record) -> None:
    """Resume the agent; only log a failure, because the session can still end without it."""
    try:
        await agent_process.resume_agent(context, record, None)
    except ParaError as error:
        _log.warning("its agent is not resumed: %s", error, extra={"session": record.name})


async def freeze_again(context: Context, record: Record) -> None:
    """Freeze a container that was thawed."""
    container = await containers.find(context.engine, container_name(record.id))
    if container is not None and container.state == "running":
        await freezer.freeze(context.engine, container.name)


async def _delete_empty_branch(context: Context, record: Record, branch: str) -> None:
    repo = await discovery.find_session_repository(record)
    if repo is None:
        return
    async with context.store.locked_refs(record.refs_at):
        at = await repository.resolve_branch(repo, branch)
        kept = {record.base, record.finished}
        if record.archive is not None:
            kept |= {record.archive, record.archive_tip}
        if at is not None and at in kept and not await is_branch_in_use(repo, branch):
            await repository.delete_refs(repo, f"refs/heads/{branch}")


async def _remove_leftover(context: Context, leftover: Path) -> None:
    session_id = leftover.name.partition(".")[0]
    async with context.store.locked_session(session_id, timeout=0):
        if leftover not in context.store.leftovers():
            return  # its session has started meanwhile
        if leftover.parent.name == "scratch":
            await containers.remove(context.engine, f"{HELPER_PREFIX}{leftover.name}")
            await volumes.remove(context.engine, overlay_volume_name(leftover.name))
        await provision.remove_folder(context, leftover, session_id)
