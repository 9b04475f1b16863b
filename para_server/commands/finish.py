"""The only place that brings a session's work into the repository: `para.finish`."""

from __future__ import annotations

from para_server.commands import agent, recovery, remainder, view, worktree_end
from para_server.commands.takeout import Taken, taken_out
from para_server.commands.worktree_end import Work
from para_server.context import Context
from para_server.engine import freezing
from para_server.engine.containers import Seen
from para_server.errors import ParaError, Remedy
from para_server.git import differences, discovery, repository, user, worktree
from para_server.git.differences import Difference
from para_server.git.repository import Repo
from para_server.git.standing import demand_unused
from para_server.models import State
from para_server.names import archive_ref
from para_server.params import FinishParams
from para_server.records import Record
from para_server.registry import command
from para_server.results import FinishResult
from para_server.steps import too_late_to_cancel, undone_on_failure


@command("para.finish", "Finish Session")
async def finish(context: Context, params: FinishParams) -> FinishResult:
    """Bring a session's work into the repository as a branch, and remove the session.

    What is uncommitted is committed with `message`. Container and workspace are removed only
    after the branch holds the work. `autoRunFiles` are the changed files that run by themselves
    when a person opens or builds the branch.
    """
    async with view.held(context, "finish", params.name, params.repo) as (record, _, seen):
        repo = await discovery.of_session(record)
        if record.type == "worktree":
            return await _finish_worktree(context, repo, record, params)
        branch = params.branch or record.branch
        existing = await _demand_usable(repo, record, branch, params.message)
        begun = context.store.write(record.but(doing="finish"))
        async with undone_on_failure() as undo:
            undo.push_async_callback(recovery.undo_end, context, begun)
            context.report(f"Taking the work of {record.name} out", 10)
            await still(context, record, seen)
            async with taken_out(context, repo, begun, params.message, "finish") as taken:
                begun = await _judged(context, repo, begun, taken, branch, existing)
                # beforehand, since it can be cancelled
                changed = await differences.difference(repo, taken.since, taken.tip)
                result = too_late_to_cancel(_kept(context, repo, begun, taken, existing, changed))
                return await result


async def still(context: Context, record: Record, seen: Seen | None) -> None:
    """Hold the processes of a session, so that its files do not change while they are read.

    An agent that can continue its conversation is ended first; any other would begin anew, should
    the session go on.
    """
    if record.state is State.PAUSED or seen is None or seen.state != "running":
        return
    if agent.continues(context, record):
        await agent.rest(context, record)
    await freezing.freeze(context.engine, seen.name)


async def _demand_usable(repo: Repo, record: Record, branch: str, message: str) -> str | None:
    """Raise unless branch and message can be used; gives where the branch is."""
    await repository.demand_branch_name(repo, branch)
    if not message.strip():
        raise ParaError("command.invalid-params", "The message is empty")
    user.demand_identity(repo.who, repo.top)
    return await _demand_free(repo, record, branch)


async def _demand_free(repo: Repo, record: Record, branch: str) -> str | None:
    """Raise workspace.branch-exists unless the branch is new, or is where this session left it."""
    existing = await repository.branch_commit(repo, branch)
    if existing is None or (record.type == "worktree" and branch == record.branch):
        return existing
    if existing != record.finished:
        raise repository.branch_exists(branch)
    await demand_unused(repo, branch)
    return existing


async def _judged(
    context: Context, repo: Repo, record: Record, taken: Taken, branch: str, existing: str | None
) -> Record:
    """Note where the work is about to go, so that a killed process can be completed."""
    remainder.demand_decided(record, taken.found)
    if taken.tip in {record.base, record.finished} and not taken.more:
        raise nothing(record)
    if existing is not None and not await repository.is_ancestor(repo, existing, taken.tip):
        raise repository.branch_exists(branch)
    context.report(f"Making the branch {branch}", 60)
    return context.store.write(record.but(target=taken.tip, target_branch=branch))


async def _kept(
    context: Context,
    repo: Repo,
    record: Record,
    taken: Taken,
    existing: str | None,
    changed: Difference,
) -> FinishResult:
    branch = record.target_branch or record.branch
    async with context.store.holding_repo(record.refs_at):
        if taken.more:
            await archive(repo, record, taken.keep)
        await repository.move_ref(repo, f"refs/heads/{branch}", taken.tip, existing)
    result = await _ended(context, record, branch, taken.tip, changed)
    kept = archive_ref(record.id)
    left = remainder.beside_branch(taken.found, kept)
    return result.model_copy(update={"left": left, "archive": kept if taken.more else None})


async def archive(repo: Repo, record: Record, keep: str) -> None:
    """Set the session's archive; another one that it has already gets a ref of its own.

    Only the one that the session was recovered from is replaced, since its files are the session's,
    and that only where all commits that it kept are in the new one.
    """
    ref = archive_ref(record.id)
    before = await repository.ref_commit(repo, ref)
    if before is not None and not await _contained(repo, record, before, keep):
        aside = f"{ref}.{before}"
        await repository.move_ref(repo, aside, before, await repository.ref_commit(repo, aside))
    await repository.move_ref(repo, ref, keep, before)


async def _contained(repo: Repo, record: Record, before: str, keep: str) -> bool:
    """Return whether a new archive has all that the one before has."""
    needed = await repository.parents(repo, before) if before == record.archive else [before]
    return all([await repository.is_ancestor(repo, one, keep) for one in needed])


async def _ended(
    context: Context, record: Record, branch: str, tip: str, changed: Difference
) -> FinishResult:
    kept = record.but(branch=branch, finished=tip)
    over = await recovery.ended(context, kept, State.FINISHED)
    return FinishResult(
        session=view.of(context, over, None),
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
    record = await worktree_end.adopted(context, repo, record)
    branch = params.branch or record.branch
    await _demand_usable(repo, record, branch, params.message)
    where = await worktree_end.demand_decided(context, repo, record, branch)
    begun = context.store.write(record.but(doing="finish", head=where.head))
    async with undone_on_failure() as undo:
        undo.push_async_callback(recovery.undo_end, context, begun)
        async with worktree_end.committed(context, repo, begun, where, params.message) as work:
            if work.tip in {record.base, record.finished} and work.keep is None:
                raise nothing(record)
            # beforehand, since it can be cancelled
            changed = await differences.difference(repo, record.base, work.tip)
            kept = _kept_of_worktree(context, repo, begun, work, branch, changed)
            return await too_late_to_cancel(kept)


async def _kept_of_worktree(
    context: Context, repo: Repo, record: Record, work: Work, branch: str, changed: Difference
) -> FinishResult:
    async with context.store.holding_repo(record.refs_at):
        if work.keep is not None:
            await archive(repo, record, work.keep)
        # only now: the branch has the work already, so a killed process is completed from here on
        begun = context.store.write(record.but(target=work.tip, target_branch=branch))
        await worktree.rename_branch(repo, record.branch, branch)
    result = await _ended(context, begun, branch, work.tip, changed)
    kept = archive_ref(record.id) if work.keep is not None else None
    return result.model_copy(update={"left": work.left, "archive": kept})


def nothing(record: Record) -> ParaError:
    """Make the error that says that there is no work."""
    params = {"name": record.name, "repo": record.repo}
    return ParaError(
        "workspace.nothing-to-finish",
        f"Session {record.name} has changed nothing",
        Remedy(title="Cancel it", command="para.cancel", params=params),
    )
