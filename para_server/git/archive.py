"""Read what an archive contains beside its files, and restore it in a new clone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from para_server.core.model import Model
from para_server.git.bounded_output import read_git_output
from para_server.git.process import GitFailedError, git
from para_server.git.repository import COMMIT, Repo, list_parents
from para_server.git.retry import retry_git

_MANIFEST: Final = "manifest"
_INDEX: Final = "index"
_UNNAMED_REFS: Final = "refs/para/kept"  # of restored commits without a known name
_MAX_MANIFEST: Final = 8 << 20  # bytes
_MAX_TAG: Final = 1 << 20  # bytes
_MAX_NAMES: Final = 5000
_MAX_SINGLE_UPDATES: Final = 200  # refs that are set one by one if they cannot be set together
_SYMBOL: Final = "ref: "


class ArchiveContents(Model):
    """The contents of an archive beside its files, with names from the session that git checks.

    `head` is the content of HEAD, `refs` are names and objects, `tags` are objects and the files
    with their texts, `at` is the commit with these files, `commits` are all commits to keep,
    `index` is the tree of staged changes.
    """

    at: str = ""
    head: str = ""
    refs: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    stashes: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()
    index: str | None = None


async def read_contents(repo: Repo, archive: str) -> ArchiveContents:
    """Return the contents of an archive; without a manifest, only its further parents."""
    _first, *others = await list_parents(repo, archive)
    if not others:
        return ArchiveContents()
    at = others[-1]
    parts = (await git(repo.top, "ls-tree", "--name-only", "-z", at)).split("\0")
    if _MANIFEST not in parts:  # of a version that stored no names
        return ArchiveContents(commits=tuple(others))
    manifest = await read_git_output(
        repo.top, ("cat-file", "blob", f"{at}:{_MANIFEST}"), _MAX_MANIFEST
    )
    entries = [os.fsdecode(one).split(" ", 2) for one in manifest.split(b"\0")[:_MAX_NAMES] if one]
    named = [(word, rest) for word, *rest in entries if rest]
    objects = [(word, rest) for word, rest in named if COMMIT.match(rest[0])]
    return ArchiveContents(
        at=at,
        head=next((" ".join(rest) for word, rest in named if word == "head"), ""),
        refs=tuple((rest[1], rest[0]) for word, rest in objects if word == "ref" and rest[1:]),
        tags=tuple((rest[0], rest[1]) for word, rest in objects if word == "tag" and rest[1:]),
        stashes=tuple(rest[0] for word, rest in objects if word == "stash"),
        commits=tuple(await list_parents(repo, at)),
        index=f"{at}:{_INDEX}" if _INDEX in parts else None,
    )


async def restore_refs(
    repo: Repo, folder: Path, carried: ArchiveContents, tip: str, existing: dict[str, str]
) -> str | None:
    """Restore the refs, tags and stashes of a session in a new clone, and return its HEAD.

    Returns None if HEAD is not at `tip` according to the restored and the `existing` refs.
    """
    for _tag, file in carried.tags:
        text = await read_git_output(
            repo.top, ("cat-file", "blob", f"{carried.at}:{file}"), _MAX_TAG
        )
        with suppress(GitFailedError):  # the session may have created an invalid tag
            make = ("hash-object", "-t", "tag", "-w", "--stdin")
            await retry_git(folder, *make, input_text=os.fsdecode(text), ignore_config=True)
    names = {ref: at for ref, at in carried.refs if ref.startswith("refs/")}
    nameless = set(carried.commits) - set(names.values()) - set(carried.stashes)
    names |= {f"{_UNNAMED_REFS}/{n}": commit for n, commit in enumerate(sorted(nameless))}
    await _set_refs(folder, names)
    for stash in reversed(carried.stashes):
        with suppress(GitFailedError):  # it may be an invalid stash
            store = ("stash", "store", "-q", "-m", "kept by para", stash)
            await retry_git(folder, *store, ignore_config=True)
    return _select_head(carried.head, tip, existing | names)


def _select_head(head: str, tip: str, names: dict[str, str]) -> str | None:
    if head.startswith(_SYMBOL):
        return head if names.get(head.removeprefix(_SYMBOL)) == tip else None
    return head if head == tip else None


async def _set_refs(folder: Path, names: dict[str, str]) -> None:
    """Set refs in one transaction, or else one by one those that git accepts."""
    commands = [f"update {ref}\0{at}\0\0" for ref, at in names.items()]
    try:
        await git(
            folder, "update-ref", "-z", "--stdin", input_text="".join(commands), ignore_config=True
        )
    except GitFailedError:
        for command in commands[:_MAX_SINGLE_UPDATES]:
            with suppress(GitFailedError):
                await git(
                    folder, "update-ref", "-z", "--stdin", input_text=command, ignore_config=True
                )
