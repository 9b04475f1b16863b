"""The only place that tells what changed between two commits."""

from __future__ import annotations

from typing import Final

from para_server.errors import Frozen
from para_server.git.process import git_bytes
from para_server.git.repository import Repo
from para_server.results import FileChange

MAX_PATCH: Final = 16 << 20  # bytes of a patch that an editor can still show
# a text of nothing but line ends takes git forty times its size: what is larger counts as binary
_COMPARE: Final = ("-c", "core.bigFileThreshold=8m", "diff-tree", "-r", "--no-renames")
_SUBMODULE: Final = "160000"


class Difference(Frozen):
    """What changed between two commits."""

    files: tuple[FileChange, ...]
    submodules: tuple[str, ...]

    @property
    def insertions(self) -> int:
        """Count the lines that came."""
        return sum(file.insertions for file in self.files)

    @property
    def deletions(self) -> int:
        """Count the lines that went."""
        return sum(file.deletions for file in self.files)


async def difference(repo: Repo, old: str, new: str) -> Difference:
    """List the files that differ between two commits."""
    asked = [*_COMPARE, "-z", "--raw", "--numstat", "--no-abbrev", old, new]
    raw = await git_bytes(repo.top, asked)
    return _parsed(raw)


async def patch(repo: Repo, old: str, new: str) -> str:
    """Give the patch between two commits, cut after a whole file where it is enormous."""
    asked = [*_COMPARE, "-p", "--no-ext-diff", "--no-textconv", old, new]
    raw = await git_bytes(repo.top, asked, MAX_PATCH)
    if len(raw) <= MAX_PATCH:
        return raw.decode(errors="replace")
    cut = raw.rfind(b"\ndiff --git ", 0, MAX_PATCH)
    shown = raw[: max(cut + 1, 0)].decode(errors="replace")
    return f"{shown}# the rest is left out: the patch has more than {MAX_PATCH >> 20} MiB\n"


def _parsed(raw: bytes) -> Difference:
    """Read what diff-tree prints: first the raw entries, then the counts of lines."""
    parts = raw.decode(errors="surrogateescape").split("\0")
    status: dict[str, str] = {}
    submodules: list[str] = []
    counts: dict[str, tuple[int, int]] = {}
    position = 0
    while position < len(parts) and parts[position]:
        entry = parts[position]
        if entry.startswith(":"):
            old_mode, new_mode, _old, _new, letter = entry[1:].split(" ")
            path = parts[position + 1]
            status[path] = letter[:1]
            if _SUBMODULE in {old_mode, new_mode}:
                submodules.append(_shown(path))
            position += 2
            continue
        insertions, deletions, path = entry.split("\t", 2)
        counts[path] = (_count(insertions), _count(deletions))
        position += 1
    files = tuple(
        FileChange(
            path=_shown(path), status=letter, insertions=counts[path][0], deletions=counts[path][1]
        )
        for path, letter in status.items()
    )
    return Difference(files=files, submodules=tuple(submodules))


def _count(text: str) -> int:
    return int(text) if text.isdigit() else 0  # a binary file has "-"


def _shown(path: str) -> str:
    # what is not UTF-8 cannot go over the wire
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
