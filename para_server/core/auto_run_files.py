"""Detect changed files that run automatically when a person opens or builds the project."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from fnmatch import translate
from typing import Final

from para_server.core.build_files import BUILD_FILES
from para_server.core.open_files import OPEN_FILES

_PATTERNS: Final = tuple(
    word for row in (*OPEN_FILES, *BUILD_FILES) for word in row.patterns.split()
)


def auto_run_files(paths: Iterable[str], submodules: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the changed paths that run automatically, sorted; submodules always count."""
    matches = {path for path in paths if runs_automatically(path)}
    return tuple(sorted(matches.union(submodules)))


def runs_automatically(path: str) -> bool:
    """Return whether a file runs automatically, in time linear in the length of the path.

    Case is ignored, as on case-insensitive file systems .VSCODE/tasks.json runs as well. So are
    the invisible characters and trailing dots that some file systems ignore in names. A path in
    place of a folder counts too: it may be a link to a folder.
    """
    parts = _normalized(path).split("/")
    whole = "/".join(parts)
    if parts[-1] in _FILE_NAMES or not _FOLDER_NAMES.isdisjoint(parts):
        return True
    if _WILDCARD_NAMES.match(parts[-1]):
        return True
    below = f"/{whole}/"
    return any(folder in below for folder in _DEEP_FOLDERS) or below.endswith(_DEEP_FILES)


def _normalized(path: str) -> str:
    if not path.isascii():
        path = unicodedata.normalize("NFC", path.translate(_IGNORED_BY_HFS))
    return _TRAILING_DOTS.sub("", path).casefold()


# characters that HFS+ ignores in names
_IGNORED_BY_HFS: Final = dict.fromkeys(
    [*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF]
)
_TRAILING_DOTS: Final = re.compile(r"(?<=[^/. ])[. ]++(?=/|\Z)")  # NTFS ignores them
_FOLDED_PATTERNS: Final = frozenset(pattern.casefold() for pattern in _PATTERNS)
_FOLDER_PATTERNS: Final = frozenset(
    p.removesuffix("/**") for p in _FOLDED_PATTERNS if p.endswith("/**")
)
_FILE_PATTERNS: Final = frozenset(p for p in _FOLDED_PATTERNS if not p.endswith("/**"))
_FOLDER_NAMES: Final = frozenset(p for p in _FOLDER_PATTERNS if "/" not in p)
_DEEP_FOLDERS: Final = tuple(f"/{p}/" for p in _FOLDER_PATTERNS if "/" in p)
_FILE_NAMES: Final = frozenset(p for p in _FILE_PATTERNS if "/" not in p and "*" not in p)
_DEEP_FILES: Final = tuple(f"/{p}/" for p in _FILE_PATTERNS if "/" in p)
_WILDCARD_NAMES: Final = re.compile(
    "|".join(translate(p) for p in sorted(_FILE_PATTERNS) if "*" in p)
)
