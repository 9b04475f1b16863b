"""Find the nested repositories of a worktree, and copy their commits and changed files.

Of a nested repository (a submodule, or one that the user created), git records only the commit; its
files and history would be lost with the worktree.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from para_server.concurrency.cancellation import run_in_thread
from para_server.core.errors import ParaError
from para_server.core.model import Model
from para_server.git.process import GitFailedError, git
from para_server.git.repository import Repo
from para_server.git.retry import git_succeeds, retry_git
from para_server.git.worktree_commit import GITLINK, list_files_below, write_tree

_MAX_REPOSITORIES: Final = 1000


class NestedRepository(Model):
    """A repository within a worktree: a submodule, an ignored one, or another (plain) one.

    `path` is relative to the worktree. `changed` is whether it has uncommitted changes, `tips` are
    the commits that may be in no other repository.
    """

    path: str
    kind: Literal["submodule", "ignored", "plain"]
    head: str | None = None
    tips: tuple[str, ...] = ()
    changed: bool = False


async def find_nested(folder: Path) -> tuple[NestedRepository, ...]:
    """Return the repositories within a worktree, outermost first."""
    paths = await run_in_thread(lambda: list(_walk_git_folders(folder)))
    if not paths:
        return ()
    entries = await git(folder, "ls-files", "-s", "-z")
    linked = await _list_committed_links(folder)
    linked |= {e.partition("\t")[2] for e in entries.split("\0") if e.startswith(GITLINK)}
    repositories: list[NestedRepository] = []
    for path in paths[:_MAX_REPOSITORIES]:
        if not await _is_repository(folder / path):
            continue
        outer = next(
            (one for one in reversed(repositories) if path.startswith(f"{one.path}/")), None
        )
        kind: Literal["submodule", "ignored", "plain"] = "plain"
        if path in linked or (outer is not None and outer.kind == "submodule"):
            kind = "submodule"
        elif (outer is not None and outer.kind == "ignored") or await _is_ignored(
            folder, path, outer
        ):
            kind = "ignored"
        repositories.append(await _describe_repository(folder, path, kind))
    return tuple(repositories)


async def find_uninitialized_submodules(
    folder: Path, found: Sequence[NestedRepository]
) -> tuple[str, ...]:
    """Return the submodule folders that contain files but no repository; git skips those files.

    Such a submodule was never fetched, lost its .git, or was restored from an archive.
    """
    listed = (await git(folder, "ls-files", "-s", "-z")).split("\0")
    links = {entry.partition("\t")[2] for entry in listed if entry.startswith(GITLINK)}
    links -= {one.path for one in found}
    with_files = await run_in_thread(
        lambda: [one for one in sorted(links) if _has_files(folder / one)]
    )
    return tuple([one for one in with_files if await list_files_below(folder, one)])


async def copy_commits(
    repo: Repo, folder: Path, one: NestedRepository, found: Sequence[NestedRepository], message: str
) -> tuple[str, ...]:
    """Copy the commits of a nested repository, and a commit of its changes, to the repository.

    Returns the commits. `found` are all nested repositories; deeper ones are copied by calls of
    their own. Raises workspace.git-failed, for example for another object format.
    """
    nested = folder / one.path
    tips = list(one.tips)
    if one.changed:
        prefix = f"{one.path}/"
        deeper = [o.path.removeprefix(prefix) for o in found if o.path.startswith(prefix)]
        tree = await write_tree(nested, one.head, excluded=deeper)
        parent = ("-p", one.head) if one.head else ()
        commit = await git(
            nested,
            *(*_identity_options(repo), "commit-tree", tree, *parent, "-F", "-"),
            input_text=message,
        )
        tips.insert(0, commit.strip())
    if not tips:
        return ()
    object_format = (await git(nested, "rev-parse", "--show-object-format")).strip()
    if object_format != repo.object_format:
        raise ParaError(
            "workspace.git-failed",
            f"The nested repository {one.path} has another object format ({object_format})",
        )
    git_dir = (await git(nested, "rev-parse", "--absolute-git-dir")).removesuffix("\n")
    with tempfile.TemporaryFile(dir=git_dir) as pack:
        revisions = "".join(f"{tip}\n" for tip in dict.fromkeys(tips))
        packing = ("pack-objects", "-q", "--revs", "--stdout", "--delta-base-offset")
        await git(nested, *packing, input_text=revisions, stdout=pack, long_running=True)
        os.lseek(pack.fileno(), 0, os.SEEK_SET)
        await git(repo.top, "index-pack", "--stdin", stdin=pack, long_running=True)
    return tuple(dict.fromkeys(tips))


def _walk_git_folders(folder: Path) -> Iterator[str]:
    for root, folders, files in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
        elif ".git" not in files:
            continue
        if root != str(folder):
            yield os.path.relpath(root, folder)


def _has_files(place: Path) -> bool:
    if place.is_symlink() or not place.is_dir():
        return False
    return any(set(files) - {".git"} for _, files in _walk_files(place))


def _walk_files(place: Path) -> Iterator[tuple[str, list[str]]]:
    for root, folders, files in os.walk(place):
        if ".git" in folders:
            folders.remove(".git")
        yield root, files


async def _is_repository(place: Path) -> bool:
    """Return whether git finds the top of a repository at a folder."""
    try:
        top = await retry_git(place, "rev-parse", "--show-toplevel")
    except GitFailedError:  # its .git is broken
        return False
    return top.removesuffix("\n") == str(place.resolve())


async def _is_ignored(folder: Path, path: str, outer: NestedRepository | None) -> bool:
    """Return whether a folder is ignored by the rules of the repository around it."""
    around = folder / outer.path if outer is not None else folder
    return await git_succeeds(
        around, "check-ignore", "-q", "--", os.path.relpath(folder / path, around)
    )


async def _list_committed_links(folder: Path) -> set[str]:
    try:
        listed = await retry_git(folder, "ls-tree", "-r", "-z", "HEAD")
    except GitFailedError:  # no commit yet
        return set()
    return {e.partition("\t")[2] for e in listed.split("\0") if e.startswith(GITLINK)}


async def _describe_repository(
    folder: Path, path: str, kind: Literal["submodule", "ignored", "plain"]
) -> NestedRepository:
    place = folder / path
    try:
        head = (await retry_git(place, "rev-parse", "--verify", "-q", "HEAD^{commit}")).strip()
    except GitFailedError:
        head = None
    commits = [*([head] if head else []), *await _list_local_tips(place)]
    tips = [tip for tip in dict.fromkeys(commits) if kind == "plain" or await _is_new(place, tip)]
    status = ("status", "--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=dirty")
    changed = kind != "ignored" and bool(await git(place, *status))
    if kind == "submodule" and head is None:
        kind = "plain"  # git cannot record a commit of it
    return NestedRepository(path=path, kind=kind, head=head, tips=tuple(tips), changed=changed)


async def _list_local_tips(place: Path) -> list[str]:
    """Return the commits of a repository's own refs, with all stashes."""
    local = ("refs/heads", "refs/tags", "refs/stash", "refs/notes", "refs/worktree", "refs/bisect")
    commits = (await git(place, "for-each-ref", "--format=%(objectname)", *local)).split()
    try:
        stashes = await retry_git(place, "reflog", "show", "--format=%H", "refs/stash", "--")
    except GitFailedError:  # no stash
        return commits
    return [*commits, *stashes.split()]


async def _is_new(place: Path, tip: str) -> bool:
    """Return whether a commit is on no remote-tracking branch."""
    return bool(await git(place, "rev-list", "-n", "1", tip, "--not", "--remotes"))


def _identity_options(repo: Repo) -> tuple[str, ...]:
    return ("-c", f"user.name={repo.who.author}", "-c", f"user.email={repo.who.email}")


def list_plain_paths(found: tuple[NestedRepository, ...]) -> tuple[str, ...]:
    """Return the paths of plain repositories, whose files are added like the worktree's own."""
    return tuple(one.path for one in found if one.kind == "plain")
