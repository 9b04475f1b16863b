"""Create and remove the worktrees of sessions, and move their branches."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from para_server.core.errors import ParaError
from para_server.core.untrusted import one_line
from para_server.git.clone import StartPoint
from para_server.git.process import GitFailedError, git
from para_server.git.repository import (
    Repo,
    branch_exists_error,
    delete_refs,
    list_parents,
    move_ref,
    resolve_branch,
    resolve_ref,
)
from para_server.git.retry import retry_git
from para_server.git.worktree_state import WorktreeState, belongs_to
from para_server.host.filesystem import remove_tree

_MAX_RENAMES: Final = 100  # matching reflog entries
_MAX_REASON: Final = 200  # characters of the output of a hook


async def create_worktree(repo: Repo, folder: Path, start: StartPoint) -> str | None:
    """Create a worktree on a new branch, or on the branch that the session had before.

    Returns a warning if the post-checkout hook failed; the worktree is complete all the same.
    """
    existing = await resolve_branch(repo, start.branch)
    if existing is not None and existing != start.tip:
        raise branch_exists_error(start.branch)
    new_branch = () if existing else ("-b", start.branch)
    revision = start.branch if existing else start.tip
    warning = None
    try:
        await git(
            repo.top,
            *("worktree", "add", "-q", *new_branch, "--", str(folder), revision),
            long_running=True,
        )
    except GitFailedError as error:
        if not await _is_complete(folder, start):
            raise
        output = one_line(error.output.strip())[-_MAX_REASON:]
        warning = f"The post-checkout hook of the repository failed{output and f': {output}'}"
    if start.head is not None:
        await git(folder, "update-ref", "-m", "para", "--no-deref", "HEAD", start.head)
    if start.tree is not None:
        await git(folder, "read-tree", "-u", "--reset", start.tree, long_running=True)
        await git(folder, "read-tree", "--reset", "HEAD")
    return warning


async def remove_worktree(repo: Repo, folder: Path) -> None:
    """Remove a worktree as far as git can; call `forget_worktree` after removing the rest."""
    with suppress(GitFailedError):
        await git(repo.top, "worktree", "remove", "--force", "--force", "--", str(folder))


def forget_worktree(repo: Repo, folder: Path) -> None:
    """Remove git's administrative files of a worktree whose folder no longer exists."""
    linked = repo.common / "worktrees"
    if folder.exists() or not linked.is_dir():
        return
    for git_dir in linked.iterdir():
        if belongs_to(git_dir, folder):
            remove_tree(git_dir)


async def rename_branch(repo: Repo, old: str, new: str) -> None:
    """Rename a branch; raises workspace.branch-exists."""
    if old == new:
        return
    try:
        await git(repo.top, "branch", "-m", "--", old, new)
    except GitFailedError as error:
        if "already exists" in error.output:
            raise branch_exists_error(new) from None
        raise ParaError("workspace.git-failed", error.problem.message) from None


async def is_renamed_branch(repo: Repo, folder: Path, branch: str, current: str) -> bool:
    """Return whether `current`, the branch of a worktree, is `branch` renamed (by its reflog)."""
    if await resolve_branch(repo, branch) is not None:
        return False
    message = f"Branch: renamed refs/heads/{branch} to refs/heads/{current}"
    options = ("--fixed-strings", f"--grep-reflog={message}", f"-{_MAX_RENAMES}", "--format=%gs")
    try:
        log = await retry_git(folder, "reflog", "show", *options, f"refs/heads/{current}", "--")
    except GitFailedError:
        return False
    return message in log.splitlines()


async def attach_branch(folder: Path, branch: str, head: str, before: str | None) -> None:
    """Move a branch to the commit of a worktree and check it out there, without changing files."""
    old = before or "0" * len(head)
    await git(folder, "update-ref", "-m", "para", f"refs/heads/{branch}", head, old)
    await git(folder, "symbolic-ref", "-m", "para", "HEAD", f"refs/heads/{branch}")


async def restore_state(
    repo: Repo, folder: Path, state: WorktreeState, branch: str, tip: str | None
) -> None:
    """Restore the HEAD of a worktree and the commit of its branch."""
    ref = f"refs/heads/{branch}"
    if state.branch is None and state.head is not None:
        await git(folder, "update-ref", "-m", "para", "--no-deref", "HEAD", state.head)
    elif state.branch is not None and state.branch != branch:
        await git(folder, "symbolic-ref", "-m", "para", "HEAD", f"refs/heads/{state.branch}")
    current = await resolve_ref(repo, ref)
    if current == tip:
        return
    if tip is None:
        await delete_refs(repo, ref)
    else:
        await move_ref(repo, ref, tip, current)


async def roll_back_commit(repo: Repo, branch: str, head: str) -> None:
    """Roll back the commit that a killed finish created on a branch."""
    ref = f"refs/heads/{branch}"
    current = await resolve_ref(repo, ref)
    if current is not None and current != head and await list_parents(repo, current) == [head]:
        await move_ref(repo, ref, head, current)


async def find_last_commit(repo: Repo, folder: Path) -> str:
    """Return the last commit of a worktree whose folder is gone; raises workspace.git-failed."""
    listed = await git(repo.top, "worktree", "list", "--porcelain", "-z")
    for entry in listed.split("\0\0"):
        fields = dict(line.partition(" ")[::2] for line in entry.split("\0"))
        if fields.get("worktree") == str(folder) and "HEAD" in fields:
            return fields["HEAD"]
    raise ParaError(
        "workspace.git-failed", f"{folder} is gone, and git has no record of a worktree there"
    )


async def _is_complete(folder: Path, start: StartPoint) -> bool:
    """Return whether a worktree is complete although git failed: the hook runs last."""
    try:
        hook = await git(folder, "rev-parse", "--git-path", "hooks/post-checkout")
        head = await git(folder, "rev-parse", "HEAD")
        status = await git(folder, "status", "--porcelain", "-z", "--untracked-files=no")
    except GitFailedError:
        return False
    has_hook = (folder / hook.removesuffix("\n")).is_file()
    return has_hook and head.strip() == start.tip and not status
