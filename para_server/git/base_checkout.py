"""The only place that makes checkouts for sessions to share: the lower layers of their workspaces.

A checkout is a folder with the files of a commit, as `git.clone` would write them, and with the
index that knows them as `.git/index`. Where much of it is in another checkout already, it is made
as a layer over that one: it has what differs, and says what is gone as overlay file systems do.
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
from para_server.git.clone import hand_over
from para_server.git.process import GitFailedError, git
from para_server.git.repository import Repo, lenders

INDEX: Final = ".git/index"
_RULES: Final = ".gitattributes"
_SUBMODULE: Final = "160000"
_WORTH: Final = 4  # a layer has at most one of so many files: more is made anew


@cached
async def count(repo: Repo, commit: str) -> int:
    """Tell how many files a commit has, named by its hash."""
    return (await git(repo.top, "ls-tree", "-r", "-z", "--name-only", commit)).count("\0")


async def changed(repo: Repo, old: str, new: str) -> dict[str, str]:
    """Tell for each path that differs between two commits how, in git's raw words."""
    told = ("diff-tree", "-r", "-z", "--no-renames", "--no-ext-diff", "--raw", old, new)
    fields = (await git(repo.top, *told)).split("\0")
    return dict(zip(fields[1::2], fields[0::2], strict=False))


def worth_a_layer(changes: dict[str, str], files: int) -> bool:
    """Tell whether a checkout may and should be a layer over one that differs so from it."""
    # rules may let files come out in another way although git has them unchanged, and the folder
    # of a submodule does not hide the files of a folder beneath it
    strange = any(
        path.rpartition("/")[2] == _RULES or _SUBMODULE in how for path, how in changes.items()
    )
    return not strange and len(changes) * _WORTH <= files


async def make(repo: Repo, commit: str, scratch: Path, owner: int | None) -> Path:
    """Write all files of a commit into a new folder below `scratch`, for a uid that is not ours."""
    files = await _begun(repo, commit, scratch)
    await _git(scratch, "read-tree", "-u", "--reset", commit)
    await filters.write(repo, commit, files, _environment(scratch))
    await _ended(scratch, owner)
    await _look(repo, scratch, owner)
    return files


async def make_layer(
    repo: Repo,
    commit: str,
    scratch: Path,
    lower: Sequence[Path],
    changes: dict[str, str],
    owner: int | None,
) -> Path:
    """Write what a commit has other than the checkout that `lower` makes, topmost first.

    Raises PermissionError where this system lets only root say that a file is gone.
    """
    files = await _begun(repo, commit, scratch)
    index = next(folder / INDEX for folder in lower if (folder / INDEX).is_file())
    await run_in_thread(lambda: shutil.copyfile(index, files / INDEX))
    await _git(scratch, "read-tree", "-m", commit)
    deleted = [path for path, how in changes.items() if how.endswith("D")]
    written = "".join(f"{path}\0" for path, how in changes.items() if not how.endswith("D"))
    await _git(scratch, "checkout-index", "-f", "-u", "-z", "--stdin", given=written)
    folders = await git(repo.top, "ls-tree", "-r", "-d", "-z", "--name-only", commit)
    gone = _gone(deleted, set(folders.split("\0")))
    await run_in_thread(lambda: _say_gone(files, gone))
    await _ended(scratch, owner)
    return files


def size(folder: Path) -> int:
    """Tell how many bytes of the disk a folder takes."""
    total = 0
    for root, folders, files in os.walk(folder):
        for entry in (*folders, *files):
            total += os.lstat(os.path.join(root, entry)).st_blocks * 512  # noqa: PTH118 # a Path for each of 50,000 files takes a second
    return total


async def _begun(repo: Repo, commit: str, scratch: Path) -> Path:
    files = scratch / "files"
    (files / ".git").mkdir(parents=True)
    await git(
        scratch,
        *("init", "-q", "--bare", "--template=", f"--object-format={repo.object_format}"),
        *("--", str(scratch / "git")),
        plain=True,
    )
    (scratch / "git/HEAD").write_text(f"{commit}\n")
    if ignored := user_config.excludes(repo.common, repo.excludes_file):
        # as sessions have it, so that what git found untracked holds for them
        (scratch / "git/info").mkdir(exist_ok=True)
        (scratch / "git/info/exclude").write_text(ignored, errors="surrogateescape")
    (scratch / "git/objects/info").mkdir(exist_ok=True)
    (scratch / "git/objects/info/alternates").write_text(f"{lenders(repo)[0]}\n")
    return files


async def _git(scratch: Path, *arguments: str, given: str | None = None) -> None:
    await git(
        scratch / "files",
        *arguments,
        given=given,
        plain=True,
        long=True,
        environment=_environment(scratch),
    )


def _environment(scratch: Path) -> dict[str, str]:
    return {
        "GIT_DIR": str(scratch / "git"),
        "GIT_WORK_TREE": str(scratch / "files"),
        "GIT_INDEX_FILE": str(scratch / "files" / INDEX),
        "GIT_OPTIONAL_LOCKS": "1",  # what `status` finds out is to be written down
    }


async def _ended(scratch: Path, owner: int | None) -> None:
    """Give a checkout to agents' user, and an index that git can rely upon."""
    files = scratch / "files"
    await hand_over(files, owner)
    # it has the owners that files had before; of a layer, it knows also the files beneath
    await _git(scratch, "update-index", "-q", "--refresh", "--ignore-missing")
    # git compares whole seconds: what an agent changes must not be of the second of the checkout,
    # and an index that is younger than its files spares git a look into them
    since = int((files / INDEX).stat().st_mtime)
    await asyncio.sleep(max(0.0, since + 1.05 - time.time()))
    os.utime(files / INDEX)
    await hand_over(files / ".git", owner)


async def _look(repo: Repo, scratch: Path, owner: int | None) -> None:
    """Let the index remember that no folder has untracked files, for the first look of sessions."""
    files = scratch / "files"
    with suppress(GitFailedError):  # rules that git cannot read; it looks anew then
        await _git(scratch, "-c", "core.untrackedCache=true", "-c", "index.threads=1", "status")
    index = (files / INDEX).read_bytes()
    moved = untracked_cache.moved(index, files, WORKSPACE, repo.object_format)
    (files / INDEX).write_bytes(moved)
    await hand_over(files / ".git", owner)


def _gone(deleted: list[str], folders: set[str]) -> set[str]:
    """Give what is to be hidden: a deleted file, or the topmost folder that went with it."""
    gone = set()
    for path in deleted:
        parts = path.split("/")
        above = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        gone.add(next((folder for folder in above if folder not in folders), path))
    return gone


def _say_gone(files: Path, gone: set[str]) -> None:
    for path in gone:
        target = files / path
        if os.path.lexists(target):
            continue  # something else has taken its place, which hides it
        target.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(target, stat.S_IFCHR, os.makedev(0, 0))
