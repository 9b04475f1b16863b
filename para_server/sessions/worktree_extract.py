"""Extract the work of a worktree session: its branch and work that a branch cannot hold.

The folder is not changed before it is certain that the session can end.
"""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from para_server.concurrency.cancellation import rollback_on_failure, run_both
from para_server.context import Context
from para_server.core.errors import ParaError, Remedy
from para_server.core.model import Model
from para_server.core.names import archive_ref
from para_server.core.records import Record
from para_server.core.results import Left
from para_server.core.untrusted import one_line
from para_server.git import nested_repositories, repository, worktree, worktree_commit
from para_server.git.nested_repositories import NestedRepository
from para_server.git.process import git
from para_server.git.repository import Repo
from para_server.git.worktree_state import (
    WorktreeState,
    find_unreachable,
    read_state,
    require_unused_branch,
)
from para_server.sessions import off_branch
from para_server.sessions.off_branch import Finding, Findings

_MAX_SHOWN: Final = 5  # paths in a message


class WorktreeWork(Model):
    """Commits of a worktree session: `tip` for its branch, `keep` with all its other work.

    `keep` is None if the branch has everything. `head` is HEAD if that was not on the branch.
    """

    tip: str
    keep: str | None
    left: tuple[Left, ...] = ()
    head: str | None = None


async def follow_renamed_branch(context: Context, repo: Repo, record: Record) -> Record:
    """Return the record with the current name of its branch, which a person may have renamed."""
    folder = context.store.workspace(record.id)
    if not folder.is_dir():
        return record
    state = await read_state(repo, folder)
    current_branch = state.branch
    if current_branch is None or current_branch == record.branch:
        return record
    is_renamed = await worktree.is_renamed_branch(repo, folder, record.branch, current_branch)
    return record.updated(branch=current_branch) if is_renamed else record


@asynccontextmanager
async def committed_work(
    context: Context, repo: Repo, record: Record, state: WorktreeState, message: str
) -> AsyncIterator[WorktreeWork]:
    """Commit all changes on the session's branch; rolled back if the block fails."""
    folder = context.store.workspace(record.id)
    branch_commit = await repository.resolve_branch(repo, record.branch)
    nested = await nested_repositories.find_nested(folder)
    assert state.head is not None, "require_finishable checks it"
    async with rollback_on_failure() as rollback:
        rollback.push_async_callback(
            worktree.restore_state, repo, folder, state, record.branch, branch_commit
        )
        kept = [*state.unreferenced]
        left: list[Left] = []
        if (
            state.branch == record.branch
            or branch_commit is None
            or await _is_ancestor(repo, branch_commit, state.head)
        ):
            if state.branch != record.branch:
                await worktree.attach_branch(folder, record.branch, state.head, branch_commit)
            plain = nested_repositories.list_plain_paths(nested)
            await worktree_commit.commit_all(folder, message, plain)
            tip = (await git(folder, "rev-parse", "HEAD")).strip()
        else:
            tip = branch_commit
            plain = ()
            await _require_all_on_branch(repo, record, folder, state, branch_commit)
            kept += await find_unreachable(repo, [state.head]) if state.branch is None else []
        if state.branch not in {None, record.branch} and not await _is_ancestor(
            repo, state.head, tip
        ):
            left.append(_left_on_branch(state.branch or "", state.head))
        yield await _collect_off_branch(repo, record, folder, tip, kept, nested, left, plain)


async def require_finishable(
    context: Context, repo: Repo, record: Record, branch: str
) -> WorktreeState:
    """Return the state of the worktree; raises if a person has to decide something first."""
    folder = context.store.workspace(record.id)
    params = {"name": record.name, "repo": record.repo}
    if not folder.is_dir():
        raise ParaError(
            "workspace.git-failed",
            f"The worktree of {record.name} is gone: {folder} does not exist",
            Remedy(title="Cancel it; its commits are kept", command="para.cancel", params=params),
        )
    state = await read_state(repo, folder)
    off_branch.require_mergeable(record, Findings(stopped=state.stopped, conflicts=state.conflicts))
    if state.head is None:
        raise ParaError(
            "workspace.git-failed",
            f"The worktree of {record.name} is on {one_line(state.branch or 'HEAD')}, which has no "
            "commit yet",
            Remedy(title=f"Commit there, or switch back: {_switch_command(folder, record)}"),
            Remedy(title="Cancel it; an archive keeps all", command="para.cancel", params=params),
        )
    for one in dict.fromkeys((record.branch, branch)):
        await require_unused_branch(repo, one, folder)
    return state


async def commit_for_review(context: Context, repo: Repo, record: Record) -> str:
    """Return a commit of all files of a worktree, or its last commit if the folder is gone."""
    folder = context.store.workspace(record.id)
    if not folder.is_dir():
        return await worktree.find_last_commit(repo, folder)
    state = await read_state(repo, folder)
    nested = await nested_repositories.find_nested(folder)
    tree = await worktree_commit.write_tree(
        folder, state.head, nested_repositories.list_plain_paths(nested)
    )
    work = await _commit_archive(repo, state.head or record.base, tree, [], "para: as it is now")
    return work.keep or work.tip


async def snapshot_worktree(
    context: Context, repo: Repo, record: Record, message: str
) -> WorktreeWork:
    """Return commits of all work of a worktree, without changing it.

    If its folder is gone, its last commit is used.
    """
    folder = context.store.workspace(record.id)
    branch_commit = await repository.resolve_branch(repo, record.branch)
    if not folder.is_dir():
        last = await worktree.find_last_commit(repo, folder)
        beside = None if branch_commit in {None, last} else last
        return await _commit_archive(
            repo, branch_commit or last, None, [beside] if beside else [], message
        )
    state = await read_state(repo, folder)
    nested = await nested_repositories.find_nested(folder)
    tip = branch_commit or state.head or record.base
    # also changed files of submodules, so that recover restores them at their paths
    flat = tuple(one.path for one in nested if one.kind != "ignored" and (one.tips or one.changed))
    uninitialized = await nested_repositories.find_uninitialized_submodules(folder, nested)
    paths = tuple(dict.fromkeys((*nested_repositories.list_plain_paths(nested), *flat)))
    tree = await worktree_commit.write_tree(folder, state.head, paths, uninitialized=uninitialized)
    kept = [*state.unreferenced]
    detached = state.head if state.head not in {None, tip} else None
    if detached is not None:
        kept.insert(0, detached)
    findings: list[Finding] = [
        Finding(what="merge", how="kept", at="-", value=one) for one in state.stopped
    ]
    findings += _uninitialized_findings(uninitialized)
    for one in nested:
        kept += await nested_repositories.copy_commits(repo, folder, one, nested, message)
        findings += _nested_findings(one)
    work = await _commit_archive(repo, tip, tree, kept, message)
    left = off_branch.not_in_archive(Findings(beside=tuple(findings)), archive_ref(record.id))
    return work.model_copy(update={"left": left, "head": detached})


async def _collect_off_branch(
    repo: Repo,
    record: Record,
    folder: Path,
    tip: str,
    kept: list[str],
    nested: tuple[NestedRepository, ...],
    left: list[Left],
    plain: tuple[str, ...],
) -> WorktreeWork:
    """Return the work with everything that is not on the branch of a session to finish."""
    archive = archive_ref(record.id)
    kept = [one for one in kept if not await _is_ancestor(repo, one, tip)]
    message = f"para: work of {record.name} outside its branch"
    if kept:
        listed = ", ".join(one[:12] for one in kept[:_MAX_SHOWN])
        detail = f"commits on no branch are kept in {archive}: {listed}"
        left.append(Left(what="branch", ref=archive, detail=detail))
    findings: list[Finding] = []
    for one in nested:
        kept += await nested_repositories.copy_commits(repo, folder, one, nested, message)
        findings += _nested_findings(one)
    tree = None
    hidden, uninitialized = await run_both(
        worktree_commit.list_overlooked_files(folder),
        nested_repositories.find_uninitialized_submodules(folder, nested),
    )
    findings += _uninitialized_findings(uninitialized)
    if hidden or uninitialized:
        full = await worktree_commit.write_tree(folder, tip, plain, uninitialized=uninitialized)
        if full != (await git(repo.top, "rev-parse", f"{tip}^{{tree}}")).strip():
            tree = full
        if tree and hidden:
            listed = ", ".join(one_line(one) for one in hidden[:_MAX_SHOWN])
            detail = f"files with changes hidden from git are kept in {archive}: {listed}"
            left.append(Left(what="branch", ref=archive, detail=detail))
    work = await _commit_archive(repo, tip, tree, kept, message)
    beside = off_branch.not_on_branch(Findings(beside=tuple(findings)), archive)
    keep = work.keep if work.keep != tip else None
    return work.model_copy(update={"keep": keep, "left": (*left, *beside)})


async def _commit_archive(
    repo: Repo, tip: str, tree: str | None, kept: list[str], message: str
) -> WorktreeWork:
    """Create a commit of a tree whose parents are `tip` and the kept commits, if needed."""
    tip_tree = (await git(repo.top, "rev-parse", f"{tip}^{{tree}}")).strip()
    beside = [one for one in dict.fromkeys(kept) if not await _is_ancestor(repo, one, tip)]
    if not beside and tree in {None, tip_tree}:
        return WorktreeWork(tip=tip, keep=tip)
    parents = [part for one in (tip, *beside) for part in ("-p", one)]
    who = ("-c", f"user.name={repo.who.author}", "-c", f"user.email={repo.who.email}")
    make = (*who, "commit-tree", tree or tip_tree, *parents, "-F", "-")
    return WorktreeWork(tip=tip, keep=(await git(repo.top, *make, input_text=message)).strip())


async def _is_ancestor(repo: Repo, old: str, new: str) -> bool:
    return old == new or await repository.is_ancestor(repo, old, new)


async def _require_all_on_branch(
    repo: Repo, record: Record, folder: Path, state: WorktreeState, branch_commit: str
) -> None:
    """Raise if HEAD is off the session's branch and has work that the branch would lack."""
    head = state.head or branch_commit
    at = f"on {one_line(state.branch)}" if state.branch else f"detached at {head[:12]}"
    if await git(folder, "status", "--porcelain", "-z", "--untracked-files=normal"):
        why = "has uncommitted files there"
    elif branch_commit in {record.base, record.finished} and not await _is_ancestor(
        repo, head, branch_commit
    ):
        why = f"while {record.branch} has nothing new"
    else:
        return
    params = {"name": record.name, "repo": record.repo}
    raise ParaError(
        "workspace.git-failed",
        f"The worktree of {record.name} is {at}, which is not on top of {record.branch}, {why}",
        Remedy(title=f"Move it to the branch there: {_switch_command(folder, record)}"),
        Remedy(title="Cancel it; an archive keeps all", command="para.cancel", params=params),
    )


def _switch_command(folder: Path, record: Record) -> str:
    return shlex.join(["git", "-C", str(folder), "switch", record.branch])


def _left_on_branch(branch: str, head: str) -> Left:
    return Left(
        what="branch",
        ref=f"refs/heads/{one_line(branch)}",
        detail=f"the worktree was on it, at {head[:12]}; it stays in the repository",
    )


def _uninitialized_findings(uninitialized: tuple[str, ...]) -> list[Finding]:
    return [Finding(what="submodule", how="files", at="-", value=path) for path in uninitialized]


def _nested_findings(one: NestedRepository) -> list[Finding]:
    """Return the findings for a nested repository whose work is not on the branch."""
    has_more = bool(one.tips) or (one.changed and one.kind == "submodule")
    if one.kind == "ignored":
        how = "kept" if one.tips else "files"
        return [Finding(what="ignored-repository", how=how, at="-", value=one.path)]
    if not has_more:
        return []
    how = "kept" if one.tips else "files"
    return [Finding(what="submodule", how=how, at=(one.head or "-")[:12], value=one.path)]
