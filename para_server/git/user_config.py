"""Reads what a person's git says of them: who commits, and what they ignore."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from para_server.core.errors import ParaError, Remedy
from para_server.core.model import Model
from para_server.core.untrusted import one_line

# the keys that are read from git's configuration, for `git config --get-regexp`
KEYS: Final = r"(user|author|committer)\.(name|email)|user\.useconfigonly|core\.excludesfile"
EXCLUDES: Final = "core.excludesfile"
_MAX_PATTERNS: Final = 1 << 20  # characters of a file that says what is ignored
_TRUE: Final = ("", "true", "yes", "on", "1")  # as git has it, where the value is given as such


class Identity(Model):
    """Who commits; `demanded` where git would refuse to commit without a configured address."""

    author: str
    email: str
    committer: str
    committer_email: str
    demanded: bool = False


def identity(config: Mapping[str, str]) -> Identity:
    """Return who the user's git would name in a commit, and para where it knows nobody."""
    strict = config.get("user.useconfigonly", "false").lower() in _TRUE
    email, committer_email = (_who(role, "email", config, strict) for role in _ROLES)
    author, committer = (_who(role, "name", config, strict) for role in _ROLES)
    return Identity(
        author=author or "para",
        email=email or "para@localhost",
        committer=committer or "para",
        committer_email=committer_email or "para@localhost",
        demanded=strict and not (email and committer_email),
    )


def demand_identity(who: Identity, place: Path) -> None:
    """Raise workspace.git-failed where the user wants no commit without a configured address."""
    if who.demanded:
        raise ParaError(
            "workspace.git-failed",
            f"git has no user.email for {place}, and user.useConfigOnly forbids to make one up",
            Remedy(title="Set it: git config user.email ADDRESS"),
        )


def excludes(common: Path, excludes_file: Path) -> str:
    """Return the patterns that a user ignores files by beside the repository's own.

    Sessions are given them, so no file is read that a repository's links lead to.
    """
    files = [excludes_file]
    if not _leads_elsewhere(common):
        files.append(common / _EXCLUDE)
    told = [_patterns_of(file) for file in files]
    return "".join(f"{one.rstrip()}\n" for one in told if one.strip())


def excludes_file(top: Path, config: Mapping[str, str]) -> Path:
    """Name the file of patterns that git reads for all of the user's repositories.

    `config` is the user's own and the machine's: the repository's could name any file.
    """
    said = config.get(EXCLUDES)
    if said is None:
        place = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        said = f"{place}/git/ignore"
    try:
        return top / Path(said).expanduser()
    except RuntimeError:  # there is no such user, or no home
        return top / said


def warnings(common: Path, told: Mapping[str, str], own: Mapping[str, str]) -> tuple[str, ...]:
    """Say which patterns sessions go without; `told` is all of git's configuration, `own` a part.

    One line for each, of what a repository could name to have a file of the host read.
    """
    lines: list[str] = []
    if told.get(EXCLUDES) != own.get(EXCLUDES):
        lines.append(
            "core.excludesFile of the repository's own configuration does not count in sessions: "
            "set it with git config --global"
        )
    if _leads_elsewhere(common):
        lines.append(f"{common / _EXCLUDE} is behind a link, and does not count in sessions")
    return tuple(one_line(line) for line in lines)


def _leads_elsewhere(common: Path) -> bool:
    return (common / _EXCLUDE).resolve() != common.resolve() / _EXCLUDE


_EXCLUDE: Final = "info/exclude"
_ROLES: Final = ("author", "committer")


def _who(role: str, what: str, config: Mapping[str, str], strict: bool) -> str:  # noqa: FBT001 # one of git's own switches
    said = os.environ.get(f"GIT_{role}_{what}".upper())
    told = said or config.get(f"{role}.{what}") or config.get(f"user.{what}")
    if not told and what == "email" and not strict:
        told = os.environ.get("EMAIL")
    return told or ""


def _patterns_of(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="surrogateescape") as source:
            lines = source.read(_MAX_PATTERNS).splitlines()
    except OSError:
        return ""
    # the comments of git's template are no rules, and an empty file costs sessions a look
    return "\n".join(line for line in lines if line.strip() and not line.startswith("#"))
