"""Add and remove the worktree of a session, and move its branch: a person's own, on the host."""

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
    branch_commit,
    branch_exists,
    delete_refs,
    move_ref,
    parents,
    ref_commit,
)
from para_server.git.retry import insist
from para_server.git.worktree_state import WorktreeState, belongs_to
from para_server.host.filesystem import remove_tree

_RENAMED: Final = 100  # entries of a log that look like the wanted one
_MAX_REASON: Final = 200  # characters of what a hook says


async def make(repo: Repo, folder: Path, start: StartPoint) -> str | None:
    """Add a worktree on a new branch, or on one that the session left.

    Gives what its post-checkout hook complained of: the worktree is whole by then.
    """
    existing = await branch_commit(repo, start.branch)
    if existing is not None and existing != start.tip:
        raise branch_exists(start.branch)
    new = () if existing else ("-b", start.branch)
    at = start.branch if existing else start.tip
    complaint = None
    try:
        await git(repo.top, "worktree", "add", "-q", *new, "--", str(folder), at, long=True)
    except GitFailedError as error:
        if not await _is_whole(folder, start):
            raise
        said = one_line(error.output.strip())[-_MAX_REASON:]
        complaint = f"The hook post-checkout of the repository failed{said and f': {said}'}"
    if start.head is not None:
        await git(folder, "update-ref", "-m", "para", "--no-deref", "HEAD", start.head)
    if start.tree is not None:
        await git(folder, "read-tree", "-u", "--reset", start.tree, long=True)
        await git(folder, "read-tree", "--reset", "HEAD")
    return complaint


async def remove(repo: Repo, folder: Path) -> None:
    """Take a worktree away as far as git can; whoever removes the rest calls `forget` then."""
    with suppress(GitFailedError):
        await git(repo.top, "worktree", "remove", "--force", "--force", "--", str(folder))


def forget(repo: Repo, folder: Path) -> None:
    """Remove what git still knows of a worktree that is gone, and of no other one."""
    linked = repo.common / "worktrees"
    if folder.exists() or not linked.is_dir():
        return
    for git_dir in linked.iterdir():
        if belongs_to(git_dir, folder):
            remove_tree(git_dir)


async def rename_branch(repo: Repo, old: str, new: str) -> None:
    """Give a branch another name; raises workspace.branch-exists."""
    if old == new:
        return
    try:
        await git(repo.top, "branch", "-m", "--", old, new)
    except GitFailedError as error:
        if "already exists" in error.output:
            raise branch_exists(new) from None
        raise ParaError("workspace.git-failed", error.problem.message) from None


async def renamed(repo: Repo, folder: Path, branch: str, on: str) -> bool:
    """Return whether the branch that a worktree stands on is a branch by another name."""
    if await branch_commit(repo, branch) is not None:
        return False
    wanted = f"Branch: renamed refs/heads/{branch} to refs/heads/{on}"
    how = ("--fixed-strings", f"--grep-reflog={wanted}", f"-{_RENAMED}", "--format=%gs")
    try:
        log = await insist(folder, "reflog", "show", *how, f"refs/heads/{on}", "--")
    except GitFailedError:
        return False
    return wanted in log.splitlines()


async def join(folder: Path, branch: str, head: str, before: str | None) -> None:
    """Let a worktree stand on a branch that moves to its commit; no file changes."""
    old = before or "0" * len(head)
    await git(folder, "update-ref", "-m", "para", f"refs/heads/{branch}", head, old)
    await git(folder, "symbolic-ref", "-m", "para", "HEAD", f"refs/heads/{branch}")


async def restore(
    repo: Repo, folder: Path, was: WorktreeState, branch: str, tip: str | None
) -> None:
    """Let a worktree stand where it stood, and its branch be where it was."""
    ref = f"refs/heads/{branch}"
    if was.on is None and was.head is not None:
        await git(folder, "update-ref", "-m", "para", "--no-deref", "HEAD", was.head)
    elif was.on is not None and was.on != branch:
        await git(folder, "symbolic-ref", "-m", "para", "HEAD", f"refs/heads/{was.on}")
    now = await ref_commit(repo, ref)
    if now == tip:
        return
    if tip is None:
        await delete_refs(repo, ref)
    else:
        await move_ref(repo, ref, tip, now)


async def uncommit(repo: Repo, branch: str, head: str) -> None:
    """Take the commit back that a finish made on a branch before its process was killed."""
    ref = f"refs/heads/{branch}"
    now = await ref_commit(repo, ref)
    if now is not None and now != head and await parents(repo, now) == [head]:
        await move_ref(repo, ref, head, now)


async def last_commit(repo: Repo, folder: Path) -> str:
    """Return where a worktree was whose folder is gone; raises workspace.git-failed."""
    listed = await git(repo.top, "worktree", "list", "--porcelain", "-z")
    for entry in listed.split("\0\0"):
        known = dict(line.partition(" ")[::2] for line in entry.split("\0"))
        if known.get("worktree") == str(folder) and "HEAD" in known:
            return known["HEAD"]
    raise ParaError("workspace.git-failed", f"{folder} is gone, and git knows no worktree there")


async def _is_whole(folder: Path, start: StartPoint) -> bool:
    """Return whether a worktree was made although git failed: a hook runs when all is done."""
    try:
        hook = await git(folder, "rev-parse", "--git-path", "hooks/post-checkout")
        head = await git(folder, "rev-parse", "HEAD")
        status = await git(folder, "status", "--porcelain", "-z", "--untracked-files=no")
    except GitFailedError:
        return False
    has_hook = (folder / hook.removesuffix("\n")).is_file()
    return has_hook and head.strip() == start.tip and not status
