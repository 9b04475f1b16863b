"""The only place that reads a file out of a commit."""

from __future__ import annotations

import os
from typing import Final

from para_server.core.results import FileResult
from para_server.core.untrusted import one_line
from para_server.git.bounded_output import git_bytes
from para_server.git.repository import Repo

MAX_FILE: Final = 4 << 20  # bytes of a file that an editor can still compare
_MAX_ENTRY: Final = 1 << 17  # bytes of a line of ls-tree: its path was asked for
_SECONDS: Final = 20.0  # far more than git needs for a file
_STREAMED: Final = ("-c", "core.bigFileThreshold=8m")  # what is larger is not read into memory
_LOOKED_AT: Final = 8000  # bytes at the beginning: where git, too, looks for what is binary


async def file(repo: Repo, commit: str, path: str) -> FileResult:
    """Give a file as people read it; filters of the repository are not run on it."""
    if not _nameable(path):
        return FileResult(path=one_line(path), exists=False)
    asked = ["--literal-pathspecs", "ls-tree", "-z", "--full-tree", commit, "--", path]
    listed = await git_bytes(repo.top, asked, _MAX_ENTRY, _SECONDS)
    entry = listed.decode(errors="surrogateescape").partition("\0")[0]
    described, _, found = entry.partition("\t")
    if found != path:
        return FileResult(path=path, exists=False)
    _mode, kind, oid = described.split(" ")
    if kind == "commit":
        return FileResult(path=path, exists=True, text=f"Subproject commit {oid}\n")
    if kind != "blob":
        return FileResult(path=path, exists=False)
    raw = await git_bytes(repo.top, [*_STREAMED, "cat-file", "blob", oid], MAX_FILE, _SECONDS)
    if b"\0" in raw[:_LOOKED_AT]:
        return FileResult(path=path, exists=True, binary=True)
    text = raw[:MAX_FILE].decode(errors="replace")
    return FileResult(path=path, exists=True, cut=len(raw) > MAX_FILE, text=text)


def _nameable(path: str) -> bool:
    """Tell whether git takes a text for a path in a tree, and for nothing else."""
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return b"\0" not in raw and not {b"", b".", b".."} & set(raw.split(b"/"))
