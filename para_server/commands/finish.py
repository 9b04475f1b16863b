"""Bring a session's work into the repository as a branch: `para.finish`."""

from __future__ import annotations

from para_server.concurrency.cancellation import ignore_cancellation, rollback_on_failure
from para_server.context import Context
from para_server.core.errors import ParaError, Remedy
from para_server.core.models import State
from para_server.core.names import archive_ref
from para_server.core.params import FinishParams
from para_server.core.records import Record
from para_server.core.results import FinishResult
from para_server.git import commit_diff, discovery, repository, user_config, worktree
from para_server.git.commit_diff import CommitDiff
from para_server.git.repository import Repo
from para_server.git.worktree_state import require_unused_branch
from para_server.registry import command
from para_server.sessions import (
    locking,
    off_branch,
    present,
    reconcile,
    suspend,
    worktree_extract,
)
from para_server.sessions.archive import archive_work
from para_server.sessions.extract import Extracted, extracted_work
from para_server.sessions.worktree_extract import WorktreeWork


@command("para.finish", "Finish Session")
async def finish(context: Context, params: FinishParams) -> FinishResult:
    """Finish a session and bring its work into the repository as a branch.

    Uncommitted changes are committed with `message`. Container and workspace are removed after the
    branch has the work. `autoRunFiles` are changed files that run automatically when a person opens
    or builds the branch.
    """
    async with locking.locked_session(context, "finish", params.name, params.repo) as (
        record,
        _,
        container,
    ):
        repo = await discovery.get_session_repository(record)
        if record.type == "worktree":
            return await _finish_worktree(context, repo, record, params)
        branch = params.branch or record.branch
        existing = await _require_usable(repo, record, branch, params.message)
        pending = context.store.write(record.updated(doing="finish"))
        async with rollback_on_failure() as rollback:
            rollback.push_async_callback(reconcile.roll_back_end, context, pending)
            context.report(f"Extracting the work of {record.name}", 10)
            await suspend.freeze_session(context, record, container)
            async with extracted_work(
                context, repo, pending, params.message, "finish"
            ) as extracted:
                pending = await _note_target(context, repo, pending, extracted, branch, existing)
                # before the end, because this step can still be cancelled
                changed = await commit_diff.compare_commits(repo, extracted.since, extracted.tip)
                result = ignore_cancellation(
                    _create_branch(context, repo, pending, extracted, existing, changed)
                )
                return await result


async def _require_usable(repo: Repo, record: Record, branch: str, message: str) -> str | None:
    """Return the commit of the branch, if it exists; raises if branch or message are unusable."""
    await repository.require_branch_name(repo, branch)
    if not message.strip():
        raise ParaError("command.invalid-params", "The message is empty")
    user_config.require_identity(repo.who, repo.top)
    return await _require_free_branch(repo, record, branch)


async def _require_free_branch(repo: Repo, record: Record, branch: str) -> str | None:
    """Raise workspace.branch-exists unless the branch is new or as this session left it."""
    existing = await repository.resolve_branch(repo, branch)
    if existing is None or (record.type == "worktree" and branch == record.branch):
        return existing
    if existing != record.finished:
        raise repository.branch_exists_error(branch)
    await require_unused_branch(repo, branch)
    return existing


async def _note_target(
    context: Context,
    repo: Repo,
    record: Record,
    extracted: Extracted,
    branch: str,
    existing: str | None,
) -> Record:
    """Check the work and write its target to the record, so that reconciling can complete it."""
    off_branch.require_mergeable(record, extracted.findings)
    if extracted.tip in {record.base, record.finished} and not extracted.more:
        raise nothing_to_finish_error(record)
    if existing is not None and not await repository.is_ancestor(repo, existing, extracted.tip):
        raise repository.branch_exists_error(branch)
    context.report(f"Creating the branch {branch}", 60)
    return context.store.write(record.updated(target=extracted.tip, target_branch=branch))


async def _create_branch(
    context: Context,
    repo: Repo,
    record: Record,
    extracted: Extracted,
    existing: str | None,
    changed: CommitDiff,
) -> FinishResult:
    branch = record.target_branch or record.branch
    async with context.store.locked_refs(record.refs_at):
        if extracted.more:
            await archive_work(repo, record, extracted.keep)
        await repository.move_ref(repo, f"refs/heads/{branch}", extracted.tip, existing)
    result = await _end_session(context, record, branch, extracted.tip, changed)
    kept = archive_ref(record.id)
    left = off_branch.not_on_branch(extracted.findings, kept)
    return result.model_copy(update={"left": left, "archive": kept if extracted.more else None})


async def _end_session(
    context: Context, record: Record, branch: str, tip: str, changed: CommitDiff
) -> FinishResult:
    kept = record.updated(branch=branch, finished=tip)
    over = await reconcile.end_session(context, kept, State.FINISHED)
    return FinishResult(
        session=present.build_session(context, over, None),
        branch=branch,
        commit=tip,
        files=changed.count,
        insertions=changed.insertions,
        deletions=changed.deletions,
        auto_run_files=changed.auto_run,
        omitted=changed.omitted,
    )


async def _finish_worktree(
    context: Context, repo: Repo, record: Record, params: FinishParams
) -> FinishResult:
    record = await worktree_extract.follow_renamed_branch(context, repo, record)
    branch = params.branch or record.branch
    await _require_usable(repo, record, branch, params.message)
    state = await worktree_extract.require_finishable(context, repo, record, branch)
    pending = context.store.write(record.updated(doing="finish", head=state.head))
    async with rollback_on_failure() as rollback:
        rollback.push_async_callback(reconcile.roll_back_end, context, pending)
        async with worktree_extract.committed_work(
            context, repo, pending, state, params.message
        ) as work:
            if work.tip in {record.base, record.finished} and work.keep is None:
                raise nothing_to_finish_error(record)
            # before the end, because this step can still be cancelled
            changed = await commit_diff.compare_commits(repo, record.base, work.tip)
            kept = _end_worktree(context, repo, pending, work, branch, changed)
            return await ignore_cancellation(kept)


async def _end_worktree(
    context: Context,
    repo: Repo,
    record: Record,
    work: WorktreeWork,
    branch: str,
    changed: CommitDiff,
) -> FinishResult:
    async with context.store.locked_refs(record.refs_at):
        if work.keep is not None:
            await archive_work(repo, record, work.keep)
        # after the archive: the branch has the work, so from here on reconciling completes it
        pending = context.store.write(record.updated(target=work.tip, target_branch=branch))
        await worktree.rename_branch(repo, record.branch, branch)
    result = await _end_session(context, pending, branch, work.tip, changed)
    kept = archive_ref(record.id) if work.keep is not None else None
    return result.model_copy(update={"left": work.left, "archive": kept})


def nothing_to_finish_error(record: Record) -> ParaError:
    """Return the error for a session without changes."""
    params = {"name": record.name, "repo": record.repo}
    return ParaError(
        "workspace.nothing-to-finish",
        f"Session {record.name} has no changes",
        Remedy(title="Cancel it", command="para.cancel", params=params),
    )
