"""Create base checkouts, which sessions share as the lower layers of their workspaces.

A base checkout is a folder with the files of a commit, as `git.clone` would write them, and with
their index as `.git/index`. If most of the files are in another base checkout already, it is
created as a layer over that one: with the files that differ, and whiteouts for deleted files.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from para_server.concurrency.cancellation import run_in_thread
from para_server.concurrency.singleflight import cached
from para_server.core.container_spec import WORKSPACE
from para_server.git import filters, untracked_cache, user_config
from para_server.git.clone import change_owner
from para_server.git.process import GitFailedError, git
from para_server.git.repository import Repo, list_object_stores

INDEX: Final = ".git/index"
_ATTRIBUTES: Final = ".gitattributes"
_GITLINK: Final = "160000"
_MIN_FILES_PER_CHANGE: Final = 4  # a layer with more changes is not worth it


@cached
async def count_files(repo: Repo, commit: str) -> int:
    """Return the number of files in a commit, which is cached by its hash."""
    return (await git(repo.top, "ls-tree", "-r", "-z", "--name-only", commit)).count("\0")


async def list_changes(repo: Repo, old: str, new: str) -> dict[str, str]:
    """Return the paths that differ between two commits, with the raw line of diff-tree for each."""
    command = ("diff-tree", "-r", "-z", "--no-renames", "--no-ext-diff", "--raw", old, new)
    fields = (await git(repo.top, *command)).split("\0")
    return dict(zip(fields[1::2], fields[0::2], strict=False))


def is_worth_a_layer(changes: dict[str, str], files: int) -> bool:
    """Return whether a checkout can and should be a layer over one with these differences."""
    # changed attributes can change how unchanged files are written, and the empty folder of a
    # submodule would not hide the files of a folder in the lower layer
    unsuitable = any(
        path.rpartition("/")[2] == _ATTRIBUTES or _GITLINK in change
        for path, change in changes.items()
    )
    return not unsuitable and len(changes) * _MIN_FILES_PER_CHANGE <= files


async def create_checkout(repo: Repo, commit: str, scratch: Path, owner: int | None) -> Path:
    """Write all files of a commit into a new folder in `scratch`, and return that folder.

    `owner` is the uid that the files are changed to; None keeps the uid of this process.
    """
    files = await _prepare_folder(repo, commit, scratch)
    await _run_git(scratch, "read-tree", "-u", "--reset", commit)
    await filters.write_filtered_files(repo, commit, files, _environment(scratch))
    await _complete_checkout(scratch, owner)
    await _cache_untracked(repo, scratch, owner)
    return files


async def create_layer(
    repo: Repo,
    commit: str,
    scratch: Path,
    lower: Sequence[Path],
    changes: dict[str, str],
    owner: int | None,
) -> Path:
    """Write the files of a commit that differ from the checkout of the `lower` layers (top first).

    Raises PermissionError where only root may create whiteouts (device files).
    """
    files = await _prepare_folder(repo, commit, scratch)
    index = next(folder / INDEX for folder in lower if (folder / INDEX).is_file())
    await run_in_thread(lambda: shutil.copyfile(index, files / INDEX))
    await _run_git(scratch, "read-tree", "-m", commit)
    deleted = [path for path, change in changes.items() if change.endswith("D")]
    written = "".join(f"{path}\0" for path, change in changes.items() if not change.endswith("D"))
    await _run_git(scratch, "checkout-index", "-f", "-u", "-z", "--stdin", input_text=written)
    folders = await git(repo.top, "ls-tree", "-r", "-d", "-z", "--name-only", commit)
    whiteouts = _find_whiteouts(deleted, set(folders.split("\0")))
    await run_in_thread(lambda: _write_whiteouts(files, whiteouts))
    await _complete_checkout(scratch, owner)
    return files


def measure_size(folder: Path) -> int:
    """Return the disk usage of a folder in bytes."""
    total = 0
    for root, folders, files in os.walk(folder):
        for entry in (*folders, *files):
            total += os.lstat(os.path.join(root, entry)).st_blocks * 512  # noqa: PTH118 # a Path for each of 50,000 files takes a second
    return total


async def _prepare_folder(repo: Repo, commit: str, scratch: Path) -> Path:
    files = scratch / "files"
    (files / ".git").mkdir(parents=True)
    await git(
        scratch,
        *("init", "-q", "--bare", "--template=", f"--object-format={repo.object_format}"),
        *("--", str(scratch / "git")),
        ignore_config=True,
    )
    (scratch / "git/HEAD").write_text(f"{commit}\n")
    if ignored := user_config.read_excludes(repo.common, repo.excludes_file):
        # as in sessions, so that the cache of untracked files is valid for them
        (scratch / "git/info").mkdir(exist_ok=True)
        (scratch / "git/info/exclude").write_text(ignored, errors="surrogateescape")
    (scratch / "git/objects/info").mkdir(exist_ok=True)
    (scratch / "git/objects/info/alternates").write_text(f"{list_object_stores(repo)[0]}\n")
    return files


async def _run_git(scratch: Path, *arguments: str, input_text: str | None = None) -> None:
    await git(
        scratch / "files",
        *arguments,
        input_text=input_text,
        ignore_config=True,
        long_running=True,
        environment=_environment(scratch),
    )


def _environment(scratch: Path) -> dict[str, str]:
    return {
        "GIT_DIR": str(scratch / "git"),
        "GIT_WORK_TREE": str(scratch / "files"),
        "GIT_INDEX_FILE": str(scratch / "files" / INDEX),
        "GIT_OPTIONAL_LOCKS": "1",  # `status` writes its cache to the index
    }


async def _complete_checkout(scratch: Path, owner: int | None) -> None:
    """Change the owner of a checkout to the agents' user, and refresh its index for git."""
    files = scratch / "files"
    await change_owner(files, owner)
    # the index has the previous owners; that of a layer has entries for the lower files too
    await _run_git(scratch, "update-index", "-q", "--refresh", "--ignore-missing")
    # git compares whole seconds: the changes of an agent must be later than the second of the
    # checkout, and git need not read files that are older than the index
    since = int((files / INDEX).stat().st_mtime)
    await asyncio.sleep(max(0.0, since + 1.05 - time.time()))
    os.utime(files / INDEX)
    await change_owner(files / ".git", owner)


async def _cache_untracked(repo: Repo, scratch: Path, owner: int | None) -> None:
    """Store in the index that no folder has untracked files, for the first `status` of sessions."""
    files = scratch / "files"
    with suppress(GitFailedError):  # git cannot read the ignore rules; sessions search again then
        await _run_git(scratch, "-c", "core.untrackedCache=true", "-c", "index.threads=1", "status")
    index = (files / INDEX).read_bytes()
    relocated = untracked_cache.relocate_cache(index, files, WORKSPACE, repo.object_format)
    (files / INDEX).write_bytes(relocated)
    await change_owner(files / ".git", owner)


def _find_whiteouts(deleted: list[str], folders: set[str]) -> set[str]:
    """Return the paths to hide: deleted files, or the topmost folder that was deleted with them."""
    whiteouts = set()
    for path in deleted:
        parts = path.split("/")
        parents = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        whiteouts.add(next((folder for folder in parents if folder not in folders), path))
    return whiteouts


def _write_whiteouts(files: Path, whiteouts: set[str]) -> None:
    for path in whiteouts:
        target = files / path
        if os.path.lexists(target):
            continue  # another file at this path hides it already
        target.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(target, stat.S_IFCHR, os.makedev(0, 0))
