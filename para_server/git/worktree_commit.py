"""Create trees and commits of all files of a worktree, without changing the user's index."""

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

GITLINK: Final = "160000"  # the mode of a submodule in a tree
_EXIT_DIFFERENT: Final = 1  # of `git diff-index --quiet`, and of `git add` with a complaint


async def write_tree(
    folder: Path,
    head: str | None,
    plain: Sequence[str] = (),
    *,
    excluded: Sequence[str] = (),
    uninitialized: Sequence[str] = (),
) -> str:
    """Write a tree of all files that git does not ignore, independent of the index.

    `plain` are nested repositories whose files are added like those of the folder, by their own
    ignore rules; `uninitialized` are folders of submodules without a repository, whose files git
    skips; `excluded` are folders to leave out.
    """
    async with _temporary_index(folder) as (_, environment):
        if head is not None:
            await git(folder, "read-tree", head, environment=environment)
        await _stage_all(folder, environment, plain, (*excluded, *uninitialized))
        for path in uninitialized:
            tracked = await _list_tracked(folder, environment, path)
            await _replace_entries(
                folder, environment, tracked, await list_files_below(folder, path)
            )
        return (await git(folder, "write-tree", environment=environment)).strip()


async def list_files_below(folder: Path, path: str) -> tuple[str, ...]:
    """Return the files below a path that git does not ignore, independent of the index.

    git lists no files of a folder that the index has as a submodule, so no index is used.
    """
    no_index = {"GIT_INDEX_FILE": str(folder.parent / f"index.{secrets.token_hex(8)}")}
    listing = ("ls-files", "-oz", "--exclude-standard", "--", f":(literal){path}")
    names = await git(folder, *listing, environment=no_index, long_running=True)
    return tuple(name for name in names.split("\0") if name)


async def commit_all(folder: Path, message: str, plain: Sequence[str] = ()) -> None:
    """Commit all uncommitted changes as the user would: with their hooks and their signature."""
    async with _temporary_index(folder) as (index, environment):
        original = Path((await git(folder, "rev-parse", "--git-path", "index")).removesuffix("\n"))
        with reporting_os_errors(index), suppress(FileNotFoundError):
            shutil.copy2(folder / original, index)
        await _stage_all(folder, environment, plain, ())
        if await _has_changes(folder, environment):
            commit = ("commit", "-q", "-F", "-")
            await git(
                folder, *commit, input_text=message, environment=environment, long_running=True
            )


async def list_overlooked_files(folder: Path) -> tuple[str, ...]:
    """Return the existing files with the flag assume-unchanged or skip-worktree."""
    listed = (await git(folder, "ls-files", "-v", "-z")).split("\0")
    flagged = (entry[2:] for entry in listed if entry[:1].islower() or entry[:1] == "S")
    return tuple(path for path in flagged if os.path.lexists(folder / path))


@asynccontextmanager
async def _temporary_index(folder: Path) -> AsyncIterator[tuple[Path, dict[str, str]]]:
    """Provide a temporary index in the git folder, with which it is removed after a crash."""
    git_dir = Path((await git(folder, "rev-parse", "--absolute-git-dir")).removesuffix("\n"))
    index = git_dir / f"index.para-{secrets.token_hex(4)}"
    try:
        yield index, {"GIT_INDEX_FILE": str(index)}
    finally:
        for file in (index, index.with_name(f"{index.name}.lock")):
            with suppress(OSError):
                file.unlink()


async def _has_changes(folder: Path, environment: dict[str, str]) -> bool:
    try:
        await git(
            folder, "diff-index", "--cached", "--quiet", "HEAD", "--", environment=environment
        )
    except GitFailedError as error:
        if error.exit_code != _EXIT_DIFFERENT:
            raise
        return True
    return False


async def _stage_all(
    folder: Path, environment: dict[str, str], plain: Sequence[str], excluded: Sequence[str]
) -> None:
    exclusions = await _list_exclusions(folder, environment, (*plain, *excluded))
    if exclusions:
        specs = "".join(f"{spec}\0" for spec in (".", *exclusions))
        add = ("add", "-A", "--pathspec-from-file=-", "--pathspec-file-nul")
        try:
            await git(folder, *add, input_text=specs, environment=environment, long_running=True)
        except GitFailedError as error:
            # all is added; git complains that an excluded folder is ignored anyway
            if error.exit_code != _EXIT_DIFFERENT:
                raise
    else:
        await git(folder, "add", "-A", environment=environment, long_running=True)
    for path in plain:
        tracked = await _list_tracked(folder, environment, path)
        listed = await git(
            folder / path, "ls-files", "-coz", "--exclude-standard", long_running=True
        )
        # also files that it ignores but that the outer repository tracks
        names = [*(f"{path}/{name}" for name in listed.split("\0") if name), *tracked.split("\0")]
        await _replace_entries(folder, environment, tracked, names)


async def _list_exclusions(
    folder: Path, environment: dict[str, str], paths: Sequence[str]
) -> tuple[str, ...]:
    """Return the pathspecs that exclude folders from `git add`, without those in a submodule.

    git does not enter submodules, and refuses pathspecs in them.
    """
    if not paths:
        return ()
    listed = (await git(folder, "ls-files", "-s", "-z", environment=environment)).split("\0")
    links = {entry.partition("\t")[2] for entry in listed if entry.startswith(GITLINK)}
    return tuple(
        f":(exclude,literal){path}"
        for path in paths
        if not any(str(parent) in links for parent in Path(path).parents)
    )


async def _list_tracked(folder: Path, environment: dict[str, str], path: str) -> str:
    listing = ("ls-files", "-z", "--", f":(literal){path}")
    return await git(folder, *listing, environment=environment)


async def _replace_entries(
    folder: Path, environment: dict[str, str], tracked: str, names: Sequence[str]
) -> None:
    """Replace the entries `tracked` of the index with the files `names`."""
    removal = ("update-index", "-z", "--force-remove", "--stdin")
    await git(folder, *removal, input_text=tracked, environment=environment)
    files = [name for name in dict.fromkeys(names) if name and _is_file(folder, name)]
    added = "".join(f"{name}\0" for name in files)
    addition = ("update-index", "-z", "--add", "--replace", "--stdin")
    await git(folder, *addition, input_text=added, environment=environment, long_running=True)


def _is_file(folder: Path, name: str) -> bool:
    """Return whether a path is a file or a symbolic link, and no folder in it is a link."""
    path = folder / name
    if path.parent.resolve() != folder.resolve() / Path(name).parent:
        return False
    return path.is_symlink() or path.is_file()
