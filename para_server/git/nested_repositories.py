"""Keep what repositories within a worktree have: submodules, and others that a person made there.

git notes of such a repository the commit alone, and its files and history go with the worktree.
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

_MAX_REPOSITORIES: Final = 1000  # repositories


class NestedRepository(Model):
    """A repository within a worktree: a submodule of it, one that git ignores, or a plain one.

    `path` is relative to the worktree. `changed` tells whether it has files that its commit has
    not, and `tips` are the commits that may be nowhere else.
    """

    path: str
    kind: Literal["submodule", "ignored", "plain"]
    head: str | None = None
    tips: tuple[str, ...] = ()
    changed: bool = False


async def find_nested(folder: Path) -> tuple[NestedRepository, ...]:
    """Return the repositories within a worktree, outermost first."""
    found = await run_in_thread(lambda: list(_walk_git_folders(folder)))
    if not found:
        return ()
    listed = await git(folder, "ls-files", "-s", "-z")
    linked = await _list_committed_links(folder)
    linked |= {e.partition("\t")[2] for e in listed.split("\0") if e.startswith(GITLINK)}
    known: list[NestedRepository] = []
    for path in found[:_MAX_REPOSITORIES]:
        if not await _is_repository(folder / path):
            continue
        above = next((one for one in reversed(known) if path.startswith(f"{one.path}/")), None)
        kind: Literal["submodule", "ignored", "plain"] = "plain"
        if path in linked or (above is not None and above.kind == "submodule"):
            kind = "submodule"
        elif (above is not None and above.kind == "ignored") or await _is_ignored(
            folder, path, above
        ):
            kind = "ignored"
        known.append(await _describe_repository(folder, path, kind))
    return tuple(known)


async def find_uninitialized_submodules(
    folder: Path, found: Sequence[NestedRepository]
) -> tuple[str, ...]:
    """Return the submodules' folders with files that are none of the repositories found.

    One that was never fetched, whose .git was removed or is broken, or that came back from an
    archive: git overlooks all that is in it.
    """
    listed = (await git(folder, "ls-files", "-s", "-z")).split("\0")
    links = {entry.partition("\t")[2] for entry in listed if entry.startswith(GITLINK)}
    links -= {one.path for one in found}
    full = await run_in_thread(lambda: [one for one in sorted(links) if _has_files(folder / one)])
    return tuple([one for one in full if await list_files_below(folder, one)])


async def copy_commits(
    repo: Repo, folder: Path, one: NestedRepository, found: Sequence[NestedRepository], message: str
) -> tuple[str, ...]:
    """Bring the commits of an inner repository, and its changed files as one, to the repository.

    Gives the commits; `found` are all inner repositories, of which each is brought by itself.
    Raises workspace.git-failed where it can't be done.
    """
    place = folder / one.path
    tips = list(one.tips)
    if one.changed:
        within = f"{one.path}/"
        deeper = [o.path.removeprefix(within) for o in found if o.path.startswith(within)]
        tree = await write_tree(place, one.head, excluded=deeper)
        parent = ("-p", one.head) if one.head else ()
        made = await git(
            place,
            *_identity_options(repo),
            "commit-tree",
            tree,
            *parent,
            "-F",
            "-",
            input_text=message,
        )
        tips.insert(0, made.strip())
    if not tips:
        return ()
    hashes = (await git(place, "rev-parse", "--show-object-format")).strip()
    if hashes != repo.object_format:
        raise ParaError(
            "workspace.git-failed",
            f"The repository {one.path} has objects of another format ({hashes})",
        )
    git_dir = (await git(place, "rev-parse", "--absolute-git-dir")).removesuffix("\n")
    with tempfile.TemporaryFile(dir=git_dir) as pack:
        listed = "".join(f"{tip}\n" for tip in dict.fromkeys(tips))
        packing = ("pack-objects", "-q", "--revs", "--stdout", "--delta-base-offset")
        await git(place, *packing, input_text=listed, stdout=pack, long_running=True)
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
    """Return whether git works on a folder itself, and not on the one around it."""
    try:
        top = await retry_git(place, "rev-parse", "--show-toplevel")
    except GitFailedError:  # its own is broken: git takes it for a plain folder, or says so
        return False
    return top.removesuffix("\n") == str(place.resolve())


async def _is_ignored(folder: Path, path: str, above: NestedRepository | None) -> bool:
    """Return whether a folder is ignored by the rules of the repository around it."""
    around = folder / above.path if above is not None else folder
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
    here = [*([head] if head else []), *await _list_local_tips(place)]
    tips = [tip for tip in dict.fromkeys(here) if kind == "plain" or await _is_new(place, tip)]
    status = ("status", "--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=dirty")
    changed = kind != "ignored" and bool(await git(place, *status))
    if kind == "submodule" and head is None:
        kind = "plain"  # git can note no commit of it
    return NestedRepository(path=path, kind=kind, head=head, tips=tuple(tips), changed=changed)


async def _list_local_tips(place: Path) -> list[str]:
    """Return the commits that refs of a repository's own name; every stash is one."""
    local = ("refs/heads", "refs/tags", "refs/stash", "refs/notes", "refs/worktree", "refs/bisect")
    found = (await git(place, "for-each-ref", "--format=%(objectname)", *local)).split()
    try:
        stashes = await retry_git(place, "reflog", "show", "--format=%H", "refs/stash", "--")
    except GitFailedError:  # there is none
        return found
    return [*found, *stashes.split()]


async def _is_new(place: Path, tip: str) -> bool:
    """Return whether a commit is in no repository that this one was fetched from."""
    return bool(await git(place, "rev-list", "-n", "1", tip, "--not", "--remotes"))


def _identity_options(repo: Repo) -> tuple[str, ...]:
    return ("-c", f"user.name={repo.who.author}", "-c", f"user.email={repo.who.email}")


def list_plain_paths(found: tuple[NestedRepository, ...]) -> tuple[str, ...]:
    """Return the folders whose files are taken as the worktree's own."""
    return tuple(one.path for one in found if one.kind == "plain")
