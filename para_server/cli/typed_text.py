"""Decode typed params from the terminal's encoding, and resolve the repository's path."""

from __future__ import annotations

import codecs
import locale
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_PATH_PARAMS: Final = frozenset({"repo", "promptFile", "path"})  # bytes of a path, not text
_UTF8: Final = "utf-8"


def terminal_encoding() -> str:
    """Return the encoding of the user's locale; UTF-8 if it is ASCII or unknown to Python."""
    try:
        name = codecs.lookup(locale.getencoding()).name
    except LookupError:
        return _UTF8
    return _UTF8 if name == "ascii" else name


def decode_params(typed: Mapping[str, Any], cwd: Path | None, encoding: str) -> dict[str, Any]:
    """Return params as on the wire: with decoded texts and the absolute path of `repo`."""
    params = {
        field: _decode(value, encoding)
        if isinstance(value, str) and field not in _PATH_PARAMS
        else value
        for field, value in typed.items()
    }
    repo = params.get("repo")
    if isinstance(repo, str) and repo and cwd is not None and not _is_absolute(repo):
        params["repo"] = os.path.realpath(cwd / repo)
    return params


def _is_absolute(repo: str) -> bool:
    return repo.startswith(("/", "~", "file://"))


def _decode(text: str, encoding: str) -> str:
    """Decode a text from the terminal's encoding, which need not be UTF-8."""
    try:
        return text if encoding == _UTF8 else os.fsencode(text).decode(encoding)
    except ValueError:
        return text  # validation reports it with the name of the param
