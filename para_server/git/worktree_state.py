"""Read the state of a worktree: its commit, its branch, stopped operations, and conflicts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

from para_server.concurrency.cancellation import run_both
from para_server.core.errors import ParaError, Remedy
from para_server.core.model import Model
from para_server.git.process import GitFailedError, git
from para_server.git.repository import Repo, resolve_ref
from para_server.git.retry import retry_git

# files in a worktree's git folder while an operation waits for the user
_OPERATION_MARKS: Final = {
    "rebase-merge": "rebase",
    "rebase-apply/applying": "am",
    "rebase-apply": "rebase",
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry_pick",
    "REVERT_HEAD": "revert",
    "sequencer/todo": "sequence",
    "BISECT_LOG": "bisect",
}
# files there with commits that may have no other reference
_FILES_NAMING_COMMITS: Final = (
    "MERGE_HEAD CHERRY_PICK_HEAD REVERT_HEAD REBASE_HEAD MERGE_AUTOSTASH rebase-merge/orig-head "
    "rebase-merge/onto rebase-merge/autostash rebase-merge/stopped-sha rebase-apply/orig-head "
    "rebase-apply/autostash rebase-apply/abort-safety sequencer/head"
).split()
_OWN_REFS: Final = ("refs/worktree", "refs/bisect", "refs/rewritten")
_COMMIT_HASH: Final = re.compile(r"\b[0-9a-f]{40}(?:[0-9a-f]{24})?\b")
_LEFT_COMMIT: Final = re.compile(
    r"^checkout: moving from ([0-9a-f]{40}(?:[0-9a-f]{24})?) to ", re.MULTILINE
)
_MAX_COMMITS: Final = 200  # reflog entries, and commits that are checked
_MAX_FILE: Final = 1 << 20
_STEP_FILES: Final = (
    ("rebase-merge/msgnum", "rebase-merge/end"),
    ("rebase-apply/next", "rebase-apply/last"),
)


class WorktreeState(Model):
    """The state of a worktree.

    `head` is None on a branch without commits, `branch` is None if HEAD is detached. `unreferenced`
    are commits that only this worktree refers to: those of operations, those of its own refs, and
    those created on a detached HEAD before it moved to a branch.
    """

    head: str | None
    branch: str | None
    stopped: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    unreferenced: tuple[str, ...] = ()


async def read_state(repo: Repo, folder: Path) -> WorktreeState:
    """Return the state of a worktree; raises workspace.git-failed."""
    git_dir = await _find_git_dir(repo, folder)
    (head, branch), unmerged = await run_both(
        run_both(_read_head(folder), _read_branch(folder)), git(folder, "ls-files", "-u", "-z")
    )
    entries = [entry.partition("\t")[2] for entry in unmerged.split("\0") if entry]
    return WorktreeState(
        head=head,
        branch=branch,
        stopped=_find_stopped(git_dir),
        conflicts=tuple(dict.fromkeys(entries)),
        unreferenced=await _find_unreferenced(repo, folder, git_dir),
    )


async def _find_git_dir(repo: Repo, folder: Path) -> Path:
    """Return the git folder of a worktree; raises workspace.git-failed if it has none."""
    try:
        output = await git(folder, "rev-parse", "--absolute-git-dir")
    except GitFailedError:
        repair = shlex.join(["git", "-C", str(repo.top), "worktree", "repair"])
        raise ParaError(
            "workspace.git-failed",
            f"{folder} is no longer a worktree: its .git is gone or does not refer to a git folder",
            Remedy(title=f"Repair it: {repair}"),
            Remedy(title="Move the folder away, and cancel: the commits are kept"),
        ) from None
    return Path(output.removesuffix("\n"))


async def find_unreachable(repo: Repo, commits: list[str]) -> list[str]:
    """Return the commits that no ref of the repository reaches, without ancestors of each other."""
    unreachable: list[str] = []
    for commit in dict.fromkeys(commits[:_MAX_COMMITS]):
        if await resolve_ref(repo, f"{commit}^{{commit}}") is None:
            continue
        command = ("rev-list", "-n", "1", commit, *(f"^{one}" for one in unreachable))
        if await git(repo.top, *command, "--not", "--glob=refs/*"):
            unreachable.append(commit)
    return unreachable


async def require_unused_branch(repo: Repo, branch: str, except_in: Path | None = None) -> None:
    """Raise workspace.branch-exists if a worktree uses a branch."""
    if await is_branch_in_use(repo, branch, except_in):
        raise ParaError(
            "workspace.branch-exists",
            f"The branch {branch} is checked out, rebased or bisected in a work tree, "
            "so finishing would change that work tree",
            Remedy(
                title="Complete that operation, and switch to another branch: git switch --detach"
            ),
            Remedy(title="Finish as another branch"),
        )


async def is_branch_in_use(repo: Repo, branch: str, except_in: Path | None = None) -> bool:
    """Return whether a worktree has a branch checked out, or is rebasing or bisecting it.

    The worktree `except_in` is not checked.
    """
    ref = f"refs/heads/{branch}"
    listed = await git(repo.top, "worktree", "list", "--porcelain", "-z")
    for entry in listed.split("\0\0"):
        known = dict(line.partition(" ")[::2] for line in entry.split("\0"))
        if known.get("branch") == ref and known.get("worktree") != str(except_in):
            return True
    linked = repo.common / "worktrees"
    git_dirs = [repo.common, *(linked.iterdir() if linked.is_dir() else ())]
    return any(_is_working_on(one, ref) for one in git_dirs if not belongs_to(one, except_in))


def _is_working_on(git_dir: Path, ref: str) -> bool:
    names = (
        *(_read_text(git_dir / part / "head-name") for part in ("rebase-merge", "rebase-apply")),
        *_read_text(git_dir / "rebase-merge/update-refs").splitlines(),
        f"refs/heads/{_read_text(git_dir / 'BISECT_START')}",
    )
    return ref in {name.strip() for name in names}


def belongs_to(git_dir: Path, folder: Path | None) -> bool:
    """Return whether the git folder of a linked worktree belongs to a folder."""
    location = _read_text(git_dir / "gitdir")
    return (
        folder is not None
        and location != ""
        and Path(location).resolve() == folder.resolve() / ".git"
    )


def _read_text(file: Path) -> str:
    try:
        with file.open(errors="surrogateescape") as stream:
            return stream.read(_MAX_FILE).removesuffix("\n")
    except OSError:
        return ""


async def _read_head(folder: Path) -> str | None:
    try:
        return (await git(folder, "rev-parse", "--verify", "-q", "HEAD^{commit}")).strip()
    except GitFailedError as error:
        if error.exit_code != 1:
            raise
        return None


async def _read_branch(folder: Path) -> str | None:
    try:
        ref = (await git(folder, "symbolic-ref", "-q", "HEAD")).removesuffix("\n")
    except GitFailedError as error:
        if error.exit_code != 1:
            raise
        return None
    return ref.removeprefix("refs/heads/")


def _find_stopped(git_dir: Path) -> tuple[str, ...]:
    operations: list[str] = []
    for mark, operation in _OPERATION_MARKS.items():
        if (git_dir / mark).exists() and not (operations and mark == "rebase-apply"):
            operations.append(operation)
    # a stopped rebase also leaves the marks of its steps
    if "rebase" in operations:
        return (_format_rebase(git_dir),)
    return tuple(operations)


def _format_rebase(git_dir: Path) -> str:
    for done, last in _STEP_FILES:
        step, steps = _read_text(git_dir / done), _read_text(git_dir / last)
        if step.isdecimal() and steps.isdecimal():
            return f"rebase {step} {steps}"
    return "rebase"


async def _find_unreferenced(repo: Repo, folder: Path, git_dir: Path) -> tuple[str, ...]:
    named = [
        commit
        for name in _FILES_NAMING_COMMITS
        for commit in _COMMIT_HASH.findall(_read_text(git_dir / name))
    ]
    refs = await git(folder, "for-each-ref", "--format=%(objectname)", *_OWN_REFS)
    return tuple(
        await find_unreachable(repo, [*named, *refs.split(), *await _list_detached_commits(folder)])
    )


async def _list_detached_commits(folder: Path) -> list[str]:
    """Return the commits that a detached HEAD left: they may be on no branch."""
    try:
        log = await retry_git(
            folder, "reflog", "show", "--format=%gs", f"-{_MAX_COMMITS}", "HEAD", "--"
        )
    except GitFailedError:  # no commit yet, or no log
        return []
    return _LEFT_COMMIT.findall(log)
