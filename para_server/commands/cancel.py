"""Cancel sessions and recover them: `para.cancel` and `para.recover`."""

from __future__ import annotations

from datetime import UTC, datetime

from para_server.concurrency.cancellation import ignore_cancellation, rollback_on_failure
from para_server.context import Context
from para_server.core import lifecycle
from para_server.core.errors import ParaError
from para_server.core.models import Session, State
from para_server.core.names import archive_ref
from para_server.core.params import RecoverParams, SessionParams
from para_server.core.records import Record
from para_server.core.results import CancelResult
from para_server.git import archive as archives
from para_server.git import discovery, repository
from para_server.git.clone import StartPoint
from para_server.git.repository import Repo
from para_server.registry import command
from para_server.sessions import (
    locking,
    lost_records,
    off_branch,
    present,
    provision,
    reconcile,
    setup_script,
    suspend,
    worktree_extract,
)
from para_server.sessions.archive import archive_work
from para_server.sessions.extract import extracted_work
from para_server.sessions.workspace import checkout_cache


@command("para.cancel", "Cancel Session")
async def cancel(context: Context, params: SessionParams) -> CancelResult:
    """Cancel a session and keep its work in an archive.

    The archive is the ref refs/para/archive/ID of the repository, with uncommitted and untracked
    files too; `para.recover` restores it. Files that git ignores are not kept.
    """
    async with locking.locked_session(context, "cancel", params.name, params.repo) as (
        record,
        _,
        container,
    ):
        repo = await discovery.get_session_repository(record)
        if record.type == "worktree":
            record = await worktree_extract.follow_renamed_branch(context, repo, record)  # noqa: PLW2901 # its branch
        pending = context.store.write(record.updated(doing="cancel"))
        async with rollback_on_failure() as rollback:
            rollback.push_async_callback(reconcile.roll_back_end, context, pending)
            context.report(f"Archiving the work of {record.name}", 10)
            message = f"para: {record.name} as it was cancelled"
            if record.type == "worktree":
                work = await worktree_extract.snapshot_worktree(context, repo, pending, message)
                pending = pending.updated(archive_head=work.head)
                result = await ignore_cancellation(
                    _archive_and_end(context, repo, pending, work.keep or work.tip, work.tip)
                )
                return result.model_copy(update={"left": work.left})
            await suspend.freeze_session(context, record, container)
            async with extracted_work(context, repo, pending, message, "cancel") as extracted:
                result = await ignore_cancellation(
                    _archive_and_end(context, repo, pending, extracted.keep, extracted.head)
                )
                left = off_branch.not_in_archive(extracted.findings, archive_ref(record.id))
                return result.model_copy(update={"left": left})


@command("para.recover", "Recover Session")
async def recover(context: Context, params: RecoverParams) -> Session:
    """Recover a cancelled session with its work.

    The set-up script runs in the new container. The agent does not start automatically: start it
    with `para.send`, or with `para.resume` and a prompt. A session whose record is missing or
    unreadable, as reported by `para.doctor`, is restored too.
    """
    back = await lost_records.restore_record(context, params.name, params.repo)
    if back is not None:
        return await present.load_session(context, back)
    async with locking.locked_session(context, "recover", params.name, params.repo) as (record, *_):
        repo = await discovery.get_session_repository(record)
        settings = context.settings(repo.top)
        await _require_free(context, repo, record)
        start = await _start_point_of(repo, record)
        pending = context.store.write(record.updated(doing="recover"))
        async with rollback_on_failure() as rollback:
            rollback.push_async_callback(reconcile.roll_back_recover, context, pending)
            context.report(f"Recovering {record.name}", 10)
            await provision.keep_base_commit(context, repo, pending, start.anchor)
            pending = await checkout_cache.find_or_create(context, repo, pending, settings, start)
            has_script = await setup_script.can_have_script(context, repo, pending)
            await provision.provision_session(context, repo, pending, settings, record.image, start)
            pending = (
                context.store.read_record(record.id) or pending
            )  # warnings may have been added
            problem = await setup_script.run_script(context, pending) if has_script else None
            ready = pending.updated(
                state=State.FAILED if problem else State.RUNNING,
                doing=None,
                problem=problem,
                unbegun=True,
                started_at=datetime.now(UTC),
            )
            session = await present.load_session(context, ready)
            context.store.write(ready)
        return session


async def _archive_and_end(
    context: Context, repo: Repo, record: Record, keep: str, head: str
) -> CancelResult:
    kept = record.updated(archive=keep, archive_tip=head)
    has_work = keep != record.base
    if has_work:
        kept = context.store.write(kept.updated(target=keep))
        async with context.store.locked_refs(record.refs_at):
            await archive_work(repo, record, keep)
    over = await reconcile.end_session(context, kept, State.CANCELLED)
    ref = archive_ref(record.id) if has_work else None
    return CancelResult(session=present.build_session(context, over, None), archive=ref)


async def _start_point_of(repo: Repo, record: Record) -> StartPoint:
    """Return the start point in an archive: its files, and its first parent as the branch."""
    at = record.archive or record.base
    if await repository.resolve_ref(repo, f"{at}^{{commit}}") is None:
        raise ParaError(
            "workspace.unknown-base", f"The archive of {record.name} is gone from {record.repo}"
        )
    tip = record.archive_tip or at
    is_users = at == record.base
    if tip == at:
        return StartPoint(branch=record.branch, tip=at, anchor=at, filtered=is_users)
    return StartPoint(
        branch=record.branch,
        tip=tip,
        anchor=at,
        tree=f"{at}^{{tree}}",
        head=record.archive_head,
        carried=await archives.read_contents(repo, at),
        base=await repository.resolve_ref(repo, f"{record.base}^{{commit}}"),
        filtered=False,
    )


async def _require_free(context: Context, repo: Repo, record: Record) -> None:
    """Raise session.name-taken or workspace.branch-exists if its name or branch is in use."""
    live = [
        r
        for r in context.store.read_all()
        if r.refs_at == record.refs_at
        and r.id != record.id
        and r.state not in lifecycle.ENDED_STATES
    ]
    if any(r.name == record.name for r in live):
        raise ParaError("session.name-taken", f"The name {record.name} is used by another session")
    commit = await repository.resolve_branch(repo, record.branch)
    is_taken = record.type == "worktree" and commit not in {None, record.archive_tip}
    if is_taken or any(r.branch == record.branch for r in live):
        raise repository.branch_exists_error(record.branch)
