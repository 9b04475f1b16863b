"""Read and change the refs and commits of the user's repository."""

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
from para_server.git.bounded_output import read_git_output
from para_server.git.process import GitFailedError, git
from para_server.git.retry import git_succeeds
from para_server.git.user_config import Identity

COMMIT: Final = re.compile(r"^[0-9a-f]{40}([0-9a-f]{24})?$")
# valid by all rules of git, so that git need not be started to check
_SIMPLE_BRANCH_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(/[A-Za-z0-9_-]+)*")
_EXIT_NOT_FOUND: Final = 1  # other exit codes are failures
# built into git, by object format
EMPTY_TREE: Final = {
    "sha1": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "sha256": "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
_STORE_ENTRY: Final = re.compile(r"[0-9a-f]{2}|pack|info|incoming-\S+|tmp_obj\S*|maintenance\.lock")
_MAX_STORES: Final = 100
_MAX_ALTERNATES: Final = 1 << 20  # bytes
_MAX_BRANCHES: Final = 10_000
_MAX_BRANCH_BYTES: Final = 4 << 20  # bytes of their names
_TIMEOUT: Final = 10.0  # seconds; listing branches takes a thousandth of this
_MAX_DEPTH: Final = 5  # git follows alternates no deeper


class Repo(Model):
    """A repository: its work tree, its git folder (refs, objects), and the user's identity."""

    top: Path
    common: Path
    object_format: str
    shallow: bool
    partial: bool
    who: Identity
    excludes_file: Path
    warnings: tuple[str, ...] = ()  # for people who start sessions of it

    @property
    def objects(self) -> Path:
        """The folder of its objects."""
        return self.common / "objects"


@single_flight
async def resolve_commit(repo: Repo, revision: str) -> str:
    """Return the commit of a revision; raises workspace.unknown-base and workspace.no-commits."""
    commit = await _resolve(repo.top, f"{revision}^{{commit}}")
    if commit is not None:
        return commit
    if await _resolve(repo.top, "HEAD^{commit}") is None and revision == "HEAD":
        raise ParaError(
            "workspace.no-commits",
            f"{repo.top} has no commit to start from",
            Remedy(title="Create a first commit: git commit --allow-empty -m start"),
        )
    raise ParaError(
        "workspace.unknown-base",
        f"{printable(revision)} is not a revision of {repo.top}",
        Remedy(title="Start from HEAD"),
    )


async def require_complete_commit(repo: Repo, commit: str) -> None:
    """Raise workspace.git-failed if a partial clone lacks files of the commit."""
    if not repo.partial:
        return
    command = ("rev-list", "--objects", "--no-walk", "--missing=print", f"{commit}^{{tree}}")
    objects = await git(repo.top, *command)
    if any(line.startswith("?") for line in objects.splitlines()):
        raise ParaError(
            "workspace.git-failed",
            f"{repo.top} is a partial clone that lacks files of {commit[:12]}",
            Remedy(title="Fetch them: git fetch --refetch --no-filter"),
        )


async def require_branch_name(repo: Repo, branch: str) -> None:
    """Raise command.invalid-params if git does not accept a name for a branch."""
    if _SIMPLE_BRANCH_NAME.fullmatch(branch):
        return
    is_valid = await git_succeeds(repo.top, "check-ref-format", f"refs/heads/{branch}")
    if not is_valid or branch.startswith("-"):
        message = f"{printable(branch)} is not a valid branch name"
        issue = Issue(path="branch", message="not a valid branch name")
        raise ParaError("command.invalid-params", message, issues=[issue])


async def list_branches(repo: Repo) -> tuple[str, ...]:
    """Return the names of the branches, latest commit first, at most `_MAX_BRANCHES`."""
    options = (f"--count={_MAX_BRANCHES}", "--sort=-committerdate", "--format=%(refname:lstrip=2)")
    command = ("for-each-ref", *options, "refs/heads")
    listing = await read_git_output(repo.top, command, _MAX_BRANCH_BYTES, _TIMEOUT)
    complete = listing[:_MAX_BRANCH_BYTES].rpartition(b"\n")[0]
    return tuple(filter(None, complete.decode(errors="surrogateescape").split("\n")))


async def resolve_branch(repo: Repo, branch: str) -> str | None:
    """Return the commit of a branch, or None if it does not exist."""
    return await resolve_ref(repo, f"refs/heads/{branch}")


async def resolve_ref(repo: Repo, ref: str) -> str | None:
    """Return the commit of a ref, or None if it does not exist."""
    return await _resolve(repo.top, ref)


@single_flight
async def has_path(repo: Repo, commit: str, path: str) -> bool:
    """Return whether a commit has a file or folder; cached, so the commit must be a hash."""
    return await _resolve(repo.top, f"{commit}:{path}") is not None


def branch_exists_error(branch: str) -> ParaError:
    """Return the error for a taken branch name, with remedies."""
    return ParaError(
        "workspace.branch-exists",
        f"The branch {printable(branch)} already exists",
        Remedy(title="Choose another one with branch (--branch=BRANCH), or another name"),
        Remedy(title="Choose another prefix", setting="git.branchPrefix"),
    )


async def is_ancestor(repo: Repo, old: str, new: str) -> bool:
    """Return whether a commit is in the history of another."""
    return await git_succeeds(repo.top, "merge-base", "--is-ancestor", old, new)


async def list_parents(repo: Repo, commit: str) -> list[str]:
    """Return the parents of a commit."""
    return (await git(repo.top, "rev-parse", f"{commit}^@")).split()


async def move_ref(repo: Repo, ref: str, commit: str, expected: str | None) -> None:
    """Set a ref if it still is at the expected commit; raises workspace.git-failed."""
    old = expected or "0" * len(commit)
    await git(repo.top, "-c", "core.fsync=all", "update-ref", "-m", "para", ref, commit, old)


async def delete_refs(repo: Repo, *refs: str) -> None:
    """Delete all refs or none; a missing ref counts as deleted."""
    commands = "".join(f"delete {ref}\0\0" for ref in refs)
    await git(repo.top, "update-ref", "-z", "--stdin", input_text=commands)


async def protect_base_commit(repo: Repo, session_id: str, commit: str) -> None:
    """Protect a base commit from git's garbage collection."""
    await git(repo.top, "update-ref", base_ref(session_id), commit)


async def protect_new_base_commit(repo: Repo, session_id: str, commit: str, branch: str) -> None:
    """Protect a base commit if the session's branch is free; raises workspace.branch-exists."""
    commands = f"verify refs/heads/{branch}\0\0update {base_ref(session_id)}\0{commit}\0\0"
    try:
        await git(repo.top, "update-ref", "-z", "--stdin", input_text=commands)
    except GitFailedError:
        parts = branch.split("/")
        for taken in ("/".join(parts[:n]) for n in range(1, len(parts) + 1)):
            if await resolve_branch(repo, taken):
                raise branch_exists_error(taken) from None
        raise


async def protect_reviewed_commit(repo: Repo, session_id: str, commit: str) -> None:
    """Protect the commit that a review of a session showed, until the next review."""
    await git(repo.top, "update-ref", review_ref(session_id), commit)


def list_object_stores(repo: Repo) -> list[Path]:
    """Return the object stores of a repository: its own, and its alternates.

    Sessions can read each of them, so folders that are no object stores are left out.
    Raises workspace.git-failed if the repository's own store is a link to such a folder.
    """
    stores: list[Path] = []
    pending = [(repo.objects.resolve(), 0)]
    while pending:
        store, depth = pending.pop(0)
        if store in stores or depth > _MAX_DEPTH or len(stores) == _MAX_STORES:
            continue
        if (depth or store != repo.common.resolve() / "objects") and not _is_object_store(store):
            if depth:
                continue
            raise _foreign_store_error(repo)
        stores.append(store)
        lines = (read_bounded(store / "info/alternates", _MAX_ALTERNATES) or b"").split(b"\n")
        pending += [
            ((store / os.fsdecode(line)).resolve(), depth + 1)
            for line in lines[:_MAX_STORES]
            if line and not line.startswith(b"#") and b"\0" not in line
        ]
    return stores


def _foreign_store_error(repo: Repo) -> ParaError:
    return ParaError(
        "workspace.git-failed",
        f"{printable(str(repo.objects))} is a link to a folder with more than git's objects",
        Remedy(title="Replace it with a folder of the repository: git clone creates one"),
    )


def _is_object_store(folder: Path) -> bool:
    """Return whether a folder contains what git creates in an object store, and nothing else."""
    try:
        names = {entry.name for entry in folder.iterdir()}
    except OSError:
        return False
    return "pack" in names and all(_STORE_ENTRY.fullmatch(name) for name in names)


async def _resolve(folder: Path, revision: str) -> str | None:
    try:
        output = await git(folder, "rev-parse", "--verify", "-q", "--end-of-options", revision)
    except GitFailedError as error:
        if error.exit_code != _EXIT_NOT_FOUND:
            raise
        return None
    commit = output.splitlines()[-1] if output else ""
    return commit if COMMIT.match(commit) else None
