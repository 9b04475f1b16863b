"""Read a file from a commit."""

from __future__ import annotations

import os
from typing import Final

from para_server.core.results import FileResult
from para_server.core.untrusted import one_line
from para_server.git.bounded_output import read_git_output
from para_server.git.repository import Repo

_MAX_FILE_BYTES: Final = 4 << 20  # bytes; editors compare no larger files
_MAX_ENTRY_BYTES: Final = 1 << 17  # bytes of the one line of ls-tree
_TIMEOUT: Final = 20.0  # seconds
_STREAM_LARGE_BLOBS: Final = ("-c", "core.bigFileThreshold=8m")  # never whole in memory
_PROBED_BYTES: Final = 8000  # first bytes of a file; like git, a NUL in them means binary


async def read_file(repo: Repo, commit: str, path: str) -> FileResult:
    """Return a file of a commit as text; the filters of the repository do not run on it."""
    if not _is_valid_path(path):
        return FileResult(path=one_line(path), exists=False)
    command = ["--literal-pathspecs", "ls-tree", "-z", "--full-tree", commit, "--", path]
    listing = await read_git_output(repo.top, command, _MAX_ENTRY_BYTES, _TIMEOUT)
    entry = listing.decode(errors="surrogateescape").partition("\0")[0]
    description, _, listed_path = entry.partition("\t")
    if listed_path != path:
        return FileResult(path=path, exists=False)
    _mode, kind, oid = description.split(" ")
    if kind == "commit":
        return FileResult(path=path, exists=True, text=f"Subproject commit {oid}\n")
    if kind != "blob":
        return FileResult(path=path, exists=False)
    raw = await read_git_output(
        repo.top, [*_STREAM_LARGE_BLOBS, "cat-file", "blob", oid], _MAX_FILE_BYTES, _TIMEOUT
    )
    if b"\0" in raw[:_PROBED_BYTES]:
        return FileResult(path=path, exists=True, binary=True)
    text = raw[:_MAX_FILE_BYTES].decode(errors="replace")
    return FileResult(path=path, exists=True, cut=len(raw) > _MAX_FILE_BYTES, text=text)


def _is_valid_path(path: str) -> bool:
    """Return whether a text can be a path in a tree, without special components."""
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return b"\0" not in raw and not {b"", b".", b".."} & set(raw.split(b"/"))
