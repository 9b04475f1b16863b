"""Make trees and commits of all files of a worktree, and leave the person's own index as it is."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from para_server.git.process import GitFailedError, git
from para_server.host.filesystem import reporting_os_errors

LINK: Final = "160000"  # the mode of a repository within
_DIFFERENT: Final = 1  # exit code of `git diff-index --quiet`, and of an `add` that complains


async def tree_of(
    folder: Path,
    head: str | None,
    plain: Sequence[str] = (),
    *,
    beyond: Sequence[str] = (),
    hollow: Sequence[str] = (),
) -> str:
    """Make a tree of all files that git does not ignore, whatever the index says of them.

    `plain` are repositories within whose files are taken as the folder's own, by their own rules;
    `hollow` are folders that git takes for repositories, and that are none; `beyond` are folders
    that are left out.
    """
    async with _scratch(folder) as (_, environment):
        if head is not None:
            await git(folder, "read-tree", head, environment=environment)
        await _take_all(folder, environment, plain, (*beyond, *hollow))
        for path in hollow:
            tracked = await _tracked(folder, environment, path)
            await _replace(folder, environment, tracked, await beneath(folder, path))
        return (await git(folder, "write-tree", environment=environment)).strip()


async def beneath(folder: Path, path: str) -> tuple[str, ...]:
    """Return the files in a folder within that git does not ignore, whatever the index has there.

    Where an index has a folder as a repository, git lists nothing of what is in it.
    """
    none = {"GIT_INDEX_FILE": str(folder.parent / f"index.{secrets.token_hex(8)}")}
    listing = ("ls-files", "-oz", "--exclude-standard", "--", f":(literal){path}")
    listed = await git(folder, *listing, environment=none, long=True)
    return tuple(name for name in listed.split("\0") if name)


async def commit_all(folder: Path, message: str, plain: Sequence[str] = ()) -> None:
    """Commit what is uncommitted, as the person would: with their hooks, and their signature."""
    async with _scratch(folder) as (index, environment):
        own = Path((await git(folder, "rev-parse", "--git-path", "index")).removesuffix("\n"))
        with reporting_os_errors(index), suppress(FileNotFoundError):
            shutil.copy2(folder / own, index)
        await _take_all(folder, environment, plain, ())
        if await _differs(folder, environment):
            commit = ("commit", "-q", "-F", "-")
            await git(folder, *commit, given=message, environment=environment, long=True)


async def overlooked(folder: Path) -> tuple[str, ...]:
    """Return the files that git was told to overlook, and that are there."""
    listed = (await git(folder, "ls-files", "-v", "-z")).split("\0")
    flagged = (entry[2:] for entry in listed if entry[:1].islower() or entry[:1] == "S")
    return tuple(path for path in flagged if os.path.lexists(folder / path))


@asynccontextmanager
async def _scratch(folder: Path) -> AsyncIterator[tuple[Path, dict[str, str]]]:
    """Give an index of its own, in the git folder: it goes with it where this process is killed."""
    git_dir = Path((await git(folder, "rev-parse", "--absolute-git-dir")).removesuffix("\n"))
    index = git_dir / f"index.para-{secrets.token_hex(4)}"
    try:
        yield index, {"GIT_INDEX_FILE": str(index)}
    finally:
        for file in (index, index.with_name(f"{index.name}.lock")):
            with suppress(OSError):
                file.unlink()


async def _differs(folder: Path, environment: dict[str, str]) -> bool:
    try:
        await git(
            folder, "diff-index", "--cached", "--quiet", "HEAD", "--", environment=environment
        )
    except GitFailedError as error:
        if error.exit_code != _DIFFERENT:
            raise
        return True
    return False


async def _take_all(
    folder: Path, environment: dict[str, str], plain: Sequence[str], beyond: Sequence[str]
) -> None:
    out = await _excluded(folder, environment, (*plain, *beyond))
    if out:
        specs = "".join(f"{spec}\0" for spec in (".", *out))
        add = ("add", "-A", "--pathspec-from-file=-", "--pathspec-file-nul")
        try:
            await git(folder, *add, given=specs, environment=environment, long=True)
        except GitFailedError as error:
            # it has added all, and complains that rules ignore a folder that it was to leave out
            if error.exit_code != _DIFFERENT:
                raise
    else:
        await git(folder, "add", "-A", environment=environment, long=True)
    for path in plain:
        tracked = await _tracked(folder, environment, path)
        listed = await git(folder / path, "ls-files", "-coz", "--exclude-standard", long=True)
        # also what it ignores itself, where the folder around it has it already
        here = [*(f"{path}/{name}" for name in listed.split("\0") if name), *tracked.split("\0")]
        await _replace(folder, environment, tracked, here)


async def _excluded(
    folder: Path, environment: dict[str, str], paths: Sequence[str]
) -> tuple[str, ...]:
    """Name folders that `git add` leaves out, but for those in a repository that the index has.

    Git does not look into that one, and refuses to have a path in it named.
    """
    if not paths:
        return ()
    listed = (await git(folder, "ls-files", "-s", "-z", environment=environment)).split("\0")
    links = {entry.partition("\t")[2] for entry in listed if entry.startswith(LINK)}
    return tuple(
        f":(exclude,literal){path}"
        for path in paths
        if not any(str(above) in links for above in Path(path).parents)
    )


async def _tracked(folder: Path, environment: dict[str, str], path: str) -> str:
    listing = ("ls-files", "-z", "--", f":(literal){path}")
    return await git(folder, *listing, environment=environment)


async def _replace(
    folder: Path, environment: dict[str, str], tracked: str, names: Sequence[str]
) -> None:
    """Put files into the index, in place of what it has."""
    removal = ("update-index", "-z", "--force-remove", "--stdin")
    await git(folder, *removal, given=tracked, environment=environment)
    files = [name for name in dict.fromkeys(names) if name and _is_file(folder, name)]
    given = "".join(f"{name}\0" for name in files)
    addition = ("update-index", "-z", "--add", "--replace", "--stdin")
    await git(folder, *addition, given=given, environment=environment, long=True)


def _is_file(folder: Path, name: str) -> bool:
    """Return whether there is a file or a link, and no link on the way to it."""
    path = folder / name
    if path.parent.resolve() != folder.resolve() / Path(name).parent:
        return False
    return path.is_symlink() or path.is_file()
