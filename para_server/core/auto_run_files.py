"""The only place that knows which files run by themselves when a person opens or builds. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from fnmatch import translate
from typing import Final

from para_server.core.build_files import BUILT
from para_server.core.open_files import OPENED

_PATTERNS: Final = tuple(word for row in (*OPENED, *BUILT) for word in row.patterns.split())


def auto_run_files(paths: Iterable[str], submodules: Iterable[str] = ()) -> tuple[str, ...]:
    """Pick those of the changed paths that run without being asked for; submodules always do."""
    found = {path for path in paths if runs_by_itself(path)}
    return tuple(sorted(found.union(submodules)))


def runs_by_itself(path: str) -> bool:
    """Return whether a file runs without being asked for; takes time linear in the path's length.

    Case-insensitive file systems run .VSCODE/tasks.json as well, some of them pass over what is
    not seen or stands at the end of a name, and what should be a folder may be a link to one.
    """
    parts = _plain(path).split("/")
    whole = "/".join(parts)
    if parts[-1] in _NAMES or not _FOLDERS.isdisjoint(parts):
        return True
    if _WILD.match(parts[-1]):
        return True
    below = f"/{whole}/"
    return any(folder in below for folder in _DEEP_FOLDERS) or below.endswith(_DEEP_NAMES)


def _plain(path: str) -> str:
    if not path.isascii():
        path = unicodedata.normalize("NFC", path.translate(_UNSEEN))
    return _ENDS.sub("", path).casefold()


# what HFS+ passes over in names
_UNSEEN: Final = dict.fromkeys(
    [*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF]
)
_ENDS: Final = re.compile(r"(?<=[^/. ])[. ]++(?=/|\Z)")  # on NTFS
_FOLDED: Final = frozenset(pattern.casefold() for pattern in _PATTERNS)
_BELOW: Final = frozenset(p.removesuffix("/**") for p in _FOLDED if p.endswith("/**"))
_ALONE: Final = frozenset(p for p in _FOLDED if not p.endswith("/**"))
_FOLDERS: Final = frozenset(p for p in _BELOW if "/" not in p)
_DEEP_FOLDERS: Final = tuple(f"/{p}/" for p in _BELOW if "/" in p)
_NAMES: Final = frozenset(p for p in _ALONE if "/" not in p and "*" not in p)
_DEEP_NAMES: Final = tuple(f"/{p}/" for p in _ALONE if "/" in p)
_WILD: Final = re.compile("|".join(translate(p) for p in sorted(_ALONE) if "*" in p))
