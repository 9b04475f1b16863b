"""The only place that asks and changes the user's own repository: its refs and commits."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from para_server.concurrency.singleflight import single_flight
from para_server.core.errors import Issue, ParaError, Remedy
from para_server.core.model import Model
from para_server.core.names import base_ref, review_ref
from para_server.core.untrusted import printable, read_bounded
from para_server.git.bounded_output import git_bytes
from para_server.git.process import GitFailedError, git
from para_server.git.retry import is_so
from para_server.git.user_config import Identity

COMMIT: Final = re.compile(r"^[0-9a-f]{40}([0-9a-f]{24})?$")
# what git takes by any of its rules, so that it need not be started to ask
_SURELY_A_BRANCH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(/[A-Za-z0-9_-]+)*")
_ABSENT: Final = 1  # exit code of a git that found nothing; another one is a failure
# what git knows by heart, by object format
EMPTY_TREE: Final = {
    "sha1": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "sha256": "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
_OF_STORE: Final = re.compile(r"[0-9a-f]{2}|pack|info|incoming-\S+|tmp_obj\S*|maintenance\.lock")
_MAX_LENDERS: Final = 100
_MAX_ALTERNATES: Final = 1 << 20  # bytes
_MAX_BRANCHES: Final = 10_000
_MAX_LISTED: Final = 4 << 20  # bytes of their names
_SECONDS: Final = 10.0  # a thousand times what it takes to list them
_MAX_DEPTH: Final = 5  # git follows alternates no deeper


class Repo(Model):
    """A repository: its work tree, where its refs and objects are, and who commits there."""

    top: Path
    common: Path
    object_format: str
    shallow: bool
    partial: bool
    who: Identity
    excludes_file: Path
    warnings: tuple[str, ...] = ()  # what a person should know of it who has sessions of it

    @property
    def objects(self) -> Path:
        """Name the folder of its objects."""
        return self.common / "objects"


@single_flight
async def commit_of(repo: Repo, revision: str) -> str:
    """Resolve a revision; raises workspace.unknown-base and workspace.no-commits."""
    found = await _resolved(repo.top, f"{revision}^{{commit}}")
    if found is not None:
        return found
    if await _resolved(repo.top, "HEAD^{commit}") is None and revision == "HEAD":
        raise ParaError(
            "workspace.no-commits",
            f"{repo.top} has no commit to start from",
            Remedy(title="Make a first commit: git commit --allow-empty -m start"),
        )
    raise ParaError(
        "workspace.unknown-base",
        f"{printable(revision)} is no revision of {repo.top}",
        Remedy(title="Start from HEAD"),
    )


async def demand_whole(repo: Repo, commit: str) -> None:
    """Raise workspace.git-failed where a partial clone lacks files of the commit."""
    if not repo.partial:
        return
    told = ("rev-list", "--objects", "--no-walk", "--missing=print", f"{commit}^{{tree}}")
    listed = await git(repo.top, *told)
    if any(line.startswith("?") for line in listed.splitlines()):
        raise ParaError(
            "workspace.git-failed",
            f"{repo.top} is a partial clone that lacks files of {commit[:12]}",
            Remedy(title="Fetch them: git fetch --refetch --no-filter"),
        )


async def demand_branch_name(repo: Repo, branch: str) -> None:
    """Raise command.invalid-params where git takes no such name for a branch."""
    if _SURELY_A_BRANCH.fullmatch(branch):
        return
    takes = await is_so(repo.top, "check-ref-format", f"refs/heads/{branch}")
    if not takes or branch.startswith("-"):
        message = f"{printable(branch)} is no name for a branch"
        issue = Issue(path="branch", message="no name for a branch")
        raise ParaError("command.invalid-params", message, issues=[issue])


async def branches(repo: Repo) -> tuple[str, ...]:
    """List the branches, the one with the latest commit first; of more than people read, a part."""
    how = (f"--count={_MAX_BRANCHES}", "--sort=-committerdate", "--format=%(refname:lstrip=2)")
    asked = ("for-each-ref", *how, "refs/heads")
    listed = await git_bytes(repo.top, asked, _MAX_LISTED, _SECONDS)
    whole = listed[:_MAX_LISTED].rpartition(b"\n")[0]
    return tuple(filter(None, whole.decode(errors="surrogateescape").split("\n")))


async def branch_commit(repo: Repo, branch: str) -> str | None:
    """Tell where a branch is; None where there is none."""
    return await ref_commit(repo, f"refs/heads/{branch}")


async def ref_commit(repo: Repo, ref: str) -> str | None:
    """Tell where a ref is; None where there is none."""
    return await _resolved(repo.top, ref)


@single_flight
async def has(repo: Repo, commit: str, path: str) -> bool:
    """Tell whether a commit, named by its hash, has a file or folder."""
    return await _resolved(repo.top, f"{commit}:{path}") is not None


def branch_exists(branch: str) -> ParaError:
    """Make the error that says how to get another branch."""
    return ParaError(
        "workspace.branch-exists",
        f"The branch {printable(branch)} exists already",
        Remedy(title="Choose another one with branch (--branch=BRANCH), or another name"),
        Remedy(title="Choose another prefix", setting="git.branchPrefix"),
    )


async def checked_out(repo: Repo, branch: str) -> bool:
    """Tell whether a work tree of the repository stands on a branch."""
    listed = await git(repo.top, "worktree", "list", "--porcelain", "-z")
    return f"branch refs/heads/{branch}" in listed.split("\0")


async def is_ancestor(repo: Repo, old: str, new: str) -> bool:
    """Tell whether a commit is in the history of another."""
    return await is_so(repo.top, "merge-base", "--is-ancestor", old, new)


async def parents(repo: Repo, commit: str) -> list[str]:
    """List the parents of a commit."""
    return (await git(repo.top, "rev-parse", f"{commit}^@")).split()


async def move_ref(repo: Repo, ref: str, commit: str, expected: str | None) -> None:
    """Set a ref, provided that it still is where it is expected; raises workspace.git-failed."""
    old = expected or "0" * len(commit)
    await git(repo.top, "-c", "core.fsync=all", "update-ref", "-m", "para", ref, commit, old)


async def delete_refs(repo: Repo, *refs: str) -> None:
    """Delete refs, all or none; one that is not there is deleted already."""
    told = "".join(f"delete {ref}\0\0" for ref in refs)
    await git(repo.top, "update-ref", "-z", "--stdin", given=told)


async def keep_base(repo: Repo, session_id: str, commit: str) -> None:
    """Keep a base alive against git's garbage collection."""
    await git(repo.top, "update-ref", base_ref(session_id), commit)


async def keep_base_of_new(repo: Repo, session_id: str, commit: str, branch: str) -> None:
    """Keep a base alive whose branch is still to come; raises workspace.branch-exists."""
    told = f"verify refs/heads/{branch}\0\0update {base_ref(session_id)}\0{commit}\0\0"
    try:
        await git(repo.top, "update-ref", "-z", "--stdin", given=told)
    except GitFailedError:
        parts = branch.split("/")
        for taken in ("/".join(parts[:n]) for n in range(1, len(parts) + 1)):
            if await branch_commit(repo, taken):
                raise branch_exists(taken) from None
        raise


async def keep_review(repo: Repo, session_id: str, commit: str) -> None:
    """Keep what was shown of a session until it is shown again."""
    await git(repo.top, "update-ref", review_ref(session_id), commit)


def lenders(repo: Repo) -> list[Path]:
    """List the object stores that a repository's objects are in: its own, and what it borrows.

    Sessions see each of them, so a folder that is no object store is not lent, whoever names it.
    Raises workspace.git-failed where its own is a link to such a folder.
    """
    found: list[Path] = []
    waiting = [(repo.objects.resolve(), 0)]
    while waiting:
        store, depth = waiting.pop(0)
        if store in found or depth > _MAX_DEPTH or len(found) == _MAX_LENDERS:
            continue
        if (depth or store != repo.common.resolve() / "objects") and not _is_store(store):
            if depth:
                continue
            raise _no_store(repo)
        found.append(store)
        lines = (read_bounded(store / "info/alternates", _MAX_ALTERNATES) or b"").split(b"\n")
        waiting += [
            ((store / os.fsdecode(line)).resolve(), depth + 1)
            for line in lines[:_MAX_LENDERS]
            if line and not line.startswith(b"#") and b"\0" not in line
        ]
    return found


def _no_store(repo: Repo) -> ParaError:
    return ParaError(
        "workspace.git-failed",
        f"{printable(str(repo.objects))} is a link to a folder that has more than git's objects",
        Remedy(title="Make it a folder of the repository's own: git clone makes one"),
    )


def _is_store(folder: Path) -> bool:
    """Return whether a folder has what git makes in each object store, and nothing else."""
    try:
        names = {entry.name for entry in folder.iterdir()}
    except OSError:
        return False
    return "pack" in names and all(_OF_STORE.fullmatch(name) for name in names)


async def _resolved(folder: Path, revision: str) -> str | None:
    try:
        told = await git(folder, "rev-parse", "--verify", "-q", "--end-of-options", revision)
    except GitFailedError as error:
        if error.exit_code != _ABSENT:
            raise
        return None
    commit = told.splitlines()[-1] if told else ""
    return commit if COMMIT.match(commit) else None
