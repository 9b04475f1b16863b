"""The only place that works in a worktree session's folder: a person's own, on the host."""

from __future__ import annotations

import tempfile
from pathlib import Path

from para_server.errors import ParaError
from para_server.git.clone import Start
from para_server.git.process import GitFailedError, git
from para_server.git.repository import Repo, branch_commit, branch_exists


async def make(repo: Repo, folder: Path, start: Start) -> None:
    """Add a worktree on a new branch, or on one that the session left."""
    existing = await branch_commit(repo, start.branch)
    if existing is not None and existing != start.tip:
        raise branch_exists(start.branch)
    new = () if existing else ("-b", start.branch)
    at = start.branch if existing else start.tip
    await git(repo.top, "worktree", "add", "-q", *new, "--", str(folder), at, long=True)
    if start.tree is not None:
        await git(folder, "read-tree", "-u", "--reset", start.tree, long=True)
        await git(folder, "read-tree", "--reset", "HEAD")


async def remove(repo: Repo, folder: Path) -> None:
    """Take a worktree away; one that is gone is only forgotten."""
    try:
        await git(repo.top, "worktree", "remove", "--force", "--force", "--", str(folder))
    except GitFailedError:
        await git(repo.top, "worktree", "prune")


async def commit_all(folder: Path, message: str) -> str:
    """Commit what is uncommitted, as the person would, and give the tip."""
    await git(folder, "add", "-A", long=True)
    if await git(folder, "status", "--porcelain", "-z"):
        await git(folder, "commit", "-q", "-F", "-", given=message)
    return (await git(folder, "rev-parse", "HEAD")).strip()


async def snapshot(repo: Repo, folder: Path, message: str) -> tuple[str, str]:
    """Make a commit of all there is, untracked files too, and give it and the tip.

    The person's own index is not touched. Of a folder that is gone, its last commit is there.
    """
    if not folder.is_dir():
        last = await _last_commit(repo, folder)
        return last, last
    head = (await git(folder, "rev-parse", "HEAD")).strip()
    with tempfile.TemporaryDirectory() as scratch:
        index = Path(scratch) / "index"
        await git(folder, "read-tree", f"--index-output={index}", "HEAD")
        environment = {"GIT_INDEX_FILE": str(index)}
        await git(folder, "add", "-A", environment=environment, long=True)
        tree = (await git(folder, "write-tree", environment=environment)).strip()
    if tree == (await git(folder, "rev-parse", "HEAD^{tree}")).strip():
        return head, head
    who = ("-c", f"user.name={repo.who.author}", "-c", f"user.email={repo.who.email}")
    made = await git(folder, *who, "commit-tree", tree, "-p", head, "-F", "-", given=message)
    return made.strip(), head


async def rename_branch(folder: Path, old: str, new: str) -> None:
    """Give the worktree's branch another name; raises workspace.branch-exists."""
    if old == new:
        return
    try:
        await git(folder, "branch", "-m", "--", old, new)
    except GitFailedError as error:
        if "already exists" in error.output:
            raise branch_exists(new) from None
        raise ParaError("workspace.git-failed", error.problem.message) from None


async def _last_commit(repo: Repo, folder: Path) -> str:
    """Tell where a worktree was, also where its folder is gone; raises workspace.git-failed."""
    listed = await git(repo.top, "worktree", "list", "--porcelain", "-z")
    for entry in listed.split("\0\0"):
        known = dict(line.partition(" ")[::2] for line in entry.split("\0"))
        if known.get("worktree") == str(folder) and "HEAD" in known:
            return known["HEAD"]
    raise ParaError("workspace.git-failed", f"{folder} is gone, and git knows no worktree there")
