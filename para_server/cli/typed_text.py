"""Read what was typed at a terminal: in its encoding, and from its current folder."""

from __future__ import annotations

import codecs
import locale
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_PLACES: Final = frozenset({"repo", "promptFile", "path"})  # bytes of a file system, not a text
_UTF8: Final = "utf-8"


def terminal_encoding() -> str:
    """Return the encoding of the user's locale; UTF-8 where it has none that Python knows."""
    try:
        name = codecs.lookup(locale.getencoding()).name
    except LookupError:
        return _UTF8
    return _UTF8 if name == "ascii" else name


def understood(typed: Mapping[str, Any], cwd: Path | None, encoding: str) -> dict[str, Any]:
    """Return params as they are on the wire: texts decoded, and the repository absolute."""
    params = {
        field: _decoded(value, encoding)
        if isinstance(value, str) and field not in _PLACES
        else value
        for field, value in typed.items()
    }
    repo = params.get("repo")
    if isinstance(repo, str) and repo and cwd is not None and not _is_absolute(repo):
        params["repo"] = os.path.realpath(cwd / repo)
    return params


def _is_absolute(repo: str) -> bool:
    return repo.startswith(("/", "~", "file://"))


def _decoded(text: str, encoding: str) -> str:
    """Decode a text that is not UTF-8 as the terminal wrote it, where that has another encoding."""
    try:
        return text if encoding == _UTF8 else os.fsencode(text).decode(encoding)
    except ValueError:
        return text  # it is refused by the name of the param
