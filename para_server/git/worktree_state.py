"""Read where a worktree stands: its branch, its commit, a stopped operation, and conflicts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

from para_server.concurrency.cancellation import run_both
from para_server.core.errors import ParaError, Remedy
from para_server.core.model import Model
from para_server.git.process import GitFailedError, git
from para_server.git.repository import Repo, ref_commit
from para_server.git.retry import insist

# what git leaves in a worktree's git folder while an operation waits for a person
_MARKS: Final = {
    "rebase-merge": "rebase",
    "rebase-apply/applying": "am",
    "rebase-apply": "rebase",
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry_pick",
    "REVERT_HEAD": "revert",
    "sequencer/todo": "sequence",
    "BISECT_LOG": "bisect",
}
# and the files in which it names commits that nothing else may hold
_NAMING: Final = (
    "MERGE_HEAD CHERRY_PICK_HEAD REVERT_HEAD REBASE_HEAD MERGE_AUTOSTASH rebase-merge/orig-head "
    "rebase-merge/onto rebase-merge/autostash rebase-merge/stopped-sha rebase-apply/orig-head "
    "rebase-apply/autostash rebase-apply/abort-safety sequencer/head"
).split()
_OWN_REFS: Final = ("refs/worktree", "refs/bisect", "refs/rewritten")
_HASH: Final = re.compile(r"\b[0-9a-f]{40}(?:[0-9a-f]{24})?\b")
_LEFT: Final = re.compile(
    r"^checkout: moving from ([0-9a-f]{40}(?:[0-9a-f]{24})?) to ", re.MULTILINE
)
_MOST: Final = 200  # commits that are looked at
_MAX_FILE: Final = 1 << 20
_STEPS: Final = (
    ("rebase-merge/msgnum", "rebase-merge/end"),
    ("rebase-apply/next", "rebase-apply/last"),
)


class WorktreeState(Model):
    """Where a worktree stands.

    `head` is None on a branch without commits, `on` is the branch of HEAD or None where HEAD is
    detached. `alone` are commits that only this worktree knows: of operations, of its own refs,
    and those made on a detached HEAD that was left again.
    """

    head: str | None
    on: str | None
    stopped: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


async def standing(repo: Repo, folder: Path) -> WorktreeState:
    """Return where a worktree stands; raises workspace.git-failed."""
    git_dir = await _git_dir(repo, folder)
    (head, on), unmerged = await run_both(
        run_both(_head(folder), _branch(folder)), git(folder, "ls-files", "-u", "-z")
    )
    entries = [entry.partition("\t")[2] for entry in unmerged.split("\0") if entry]
    return WorktreeState(
        head=head,
        on=on,
        stopped=_stopped(git_dir),
        conflicts=tuple(dict.fromkeys(entries)),
        alone=await _alone(repo, folder, git_dir),
    )


async def _git_dir(repo: Repo, folder: Path) -> Path:
    """Return the git folder of a worktree; raises workspace.git-failed where it has none."""
    try:
        told = await git(folder, "rev-parse", "--absolute-git-dir")
    except GitFailedError:
        repair = shlex.join(["git", "-C", str(repo.top), "worktree", "repair"])
        raise ParaError(
            "workspace.git-failed",
            f"{folder} is no worktree any more: its .git is gone, or names no git folder",
            Remedy(title=f"Make it one again: {repair}"),
            Remedy(title="Move the folder away, and cancel: the commits are kept"),
        ) from None
    return Path(told.removesuffix("\n"))


async def unreachable(repo: Repo, commits: list[str]) -> list[str]:
    """Return those of the commits that no ref of the repository reaches."""
    found: list[str] = []
    for commit in dict.fromkeys(commits[:_MOST]):
        if await ref_commit(repo, f"{commit}^{{commit}}") is None:
            continue
        beyond = ("rev-list", "-n", "1", commit, *(f"^{one}" for one in found))
        if await git(repo.top, *beyond, "--not", "--glob=refs/*"):
            found.append(commit)
    return found


async def demand_unused(repo: Repo, branch: str, but: Path | None = None) -> None:
    """Raise workspace.branch-exists where a branch would change under somebody's hands."""
    if await in_use(repo, branch, but):
        raise ParaError(
            "workspace.branch-exists",
            f"The branch {branch} is checked out, rebased or bisected in a work tree, "
            "and would change under your hands",
            Remedy(title="Complete that, and switch to another branch: git switch --detach"),
            Remedy(title="Finish as another branch"),
        )


async def in_use(repo: Repo, branch: str, but: Path | None = None) -> bool:
    """Return whether a worktree stands on a branch, or is rebasing or bisecting it.

    `but` names a worktree that does not count.
    """
    ref = f"refs/heads/{branch}"
    listed = await git(repo.top, "worktree", "list", "--porcelain", "-z")
    for entry in listed.split("\0\0"):
        known = dict(line.partition(" ")[::2] for line in entry.split("\0"))
        if known.get("branch") == ref and known.get("worktree") != str(but):
            return True
    linked = repo.common / "worktrees"
    git_dirs = [repo.common, *(linked.iterdir() if linked.is_dir() else ())]
    return any(_works_on(one, ref) for one in git_dirs if not belongs_to(one, but))


def _works_on(git_dir: Path, ref: str) -> bool:
    names = (
        *(_text(git_dir / part / "head-name") for part in ("rebase-merge", "rebase-apply")),
        *_text(git_dir / "rebase-merge/update-refs").splitlines(),
        f"refs/heads/{_text(git_dir / 'BISECT_START')}",
    )
    return ref in {name.strip() for name in names}


def belongs_to(git_dir: Path, folder: Path | None) -> bool:
    """Return whether a git folder among those of linked worktrees is that of a folder."""
    there = _text(git_dir / "gitdir")
    return folder is not None and there != "" and Path(there).resolve() == folder.resolve() / ".git"


def _text(file: Path) -> str:
    try:
        with file.open(errors="surrogateescape") as stream:
            return stream.read(_MAX_FILE).removesuffix("\n")
    except OSError:
        return ""


async def _head(folder: Path) -> str | None:
    try:
        return (await git(folder, "rev-parse", "--verify", "-q", "HEAD^{commit}")).strip()
    except GitFailedError as error:
        if error.exit_code != 1:
            raise
        return None


async def _branch(folder: Path) -> str | None:
    try:
        ref = (await git(folder, "symbolic-ref", "-q", "HEAD")).removesuffix("\n")
    except GitFailedError as error:
        if error.exit_code != 1:
            raise
        return None
    return ref.removeprefix("refs/heads/")


def _stopped(git_dir: Path) -> tuple[str, ...]:
    found: list[str] = []
    for mark, operation in _MARKS.items():
        if (git_dir / mark).exists() and not (found and mark == "rebase-apply"):
            found.append(operation)
    # a rebase that stopped at a conflict leaves the marks of its parts
    if "rebase" in found:
        return (_with_steps(git_dir),)
    return tuple(found)


def _with_steps(git_dir: Path) -> str:
    for done, last in _STEPS:
        step, steps = _text(git_dir / done), _text(git_dir / last)
        if step.isdecimal() and steps.isdecimal():
            return f"rebase {step} {steps}"
    return "rebase"


async def _alone(repo: Repo, folder: Path, git_dir: Path) -> tuple[str, ...]:
    named = [found for name in _NAMING for found in _HASH.findall(_text(git_dir / name))]
    refs = await git(folder, "for-each-ref", "--format=%(objectname)", *_OWN_REFS)
    return tuple(await unreachable(repo, [*named, *refs.split(), *await _left_behind(folder)]))


async def _left_behind(folder: Path) -> list[str]:
    """Return where HEAD was detached before it moved on: what was committed there has no branch."""
    try:
        said = await insist(folder, "reflog", "show", "--format=%gs", f"-{_MOST}", "HEAD", "--")
    except GitFailedError:  # no commit yet, or no log
        return []
    return _LEFT.findall(said)
