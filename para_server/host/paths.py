"""Expand the folders that people name in settings and variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_USER_HOME: Final = "${userHome}"  # as editors write it


def expand_home(text: str) -> str:
    """Replace `~`, `~USER` and `${userHome}` at the beginning; raises ValueError without a home."""
    plain = text.replace(_USER_HOME, "~", 1) if text.startswith(_USER_HOME) else text
    found = os.path.expanduser(plain)  # noqa: PTH111 # pathlib raises a RuntimeError for a bug
    if found.startswith("~"):
        who = plain.partition("/")[0]
        missing = "HOME is not set" if who == "~" else f"there is no user {who[1:]}"
        raise ValueError(f"{text} names no folder: {missing}")
    return found


def user_home() -> Path | None:
    """Return the user's home; None where nothing names one."""
    try:
        return Path(expand_home("~"))
    except ValueError:
        return None


def is_utf8(path: Path | str) -> bool:
    """Return whether a path is UTF-8: what is not can be written down nowhere."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
