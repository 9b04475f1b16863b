"""Expand the home folder in paths of settings and variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_USER_HOME: Final = "${userHome}"  # as in VS Code


def expand_home(text: str) -> str:
    """Return a path without `~`, `~USER` or `${userHome}`; raises ValueError without a home."""
    plain = text.replace(_USER_HOME, "~", 1) if text.startswith(_USER_HOME) else text
    path = os.path.expanduser(plain)  # noqa: PTH111 # pathlib raises RuntimeError, as bugs do
    if path.startswith("~"):
        who = plain.partition("/")[0]
        missing = "HOME is not set" if who == "~" else f"there is no user {who[1:]}"
        raise ValueError(f"{text} cannot be expanded: {missing}")
    return path


def user_home() -> Path | None:
    """Return the user's home folder; None if it is unknown."""
    try:
        return Path(expand_home("~"))
    except ValueError:
        return None


def is_utf8(path: Path | str) -> bool:
    """Return whether a path is UTF-8: para cannot store any other in JSON."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
