"""Read the user's identity and ignore patterns from git's configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from para_server.core.errors import ParaError, Remedy
from para_server.core.model import Model
from para_server.core.untrusted import one_line

# the keys to read, for `git config --get-regexp`
KEYS: Final = r"(user|author|committer)\.(name|email)|user\.useconfigonly|core\.excludesfile"
_EXCLUDES_KEY: Final = "core.excludesfile"
_EXCLUDE: Final = "info/exclude"
_ROLES: Final = ("author", "committer")
_MAX_PATTERNS: Final = 1 << 20  # characters of a file
_TRUE_VALUES: Final = ("", "true", "yes", "on", "1")  # as git's configuration parser has it


class Identity(Model):
    """The author and committer of commits.

    `incomplete` means that git would refuse to commit without a configured address.
    """

    author: str
    email: str
    committer: str
    committer_email: str
    incomplete: bool = False


def build_identity(config: Mapping[str, str]) -> Identity:
    """Return the identity that the user's git would use for a commit; the default is para."""
    strict = config.get("user.useconfigonly", "false").lower() in _TRUE_VALUES
    email, committer_email = (_read_identity_part(role, "email", config, strict) for role in _ROLES)
    author, committer = (_read_identity_part(role, "name", config, strict) for role in _ROLES)
    return Identity(
        author=author or "para",
        email=email or "para@localhost",
        committer=committer or "para",
        committer_email=committer_email or "para@localhost",
        incomplete=strict and not (email and committer_email),
    )


def require_identity(who: Identity, place: Path) -> None:
    """Raise workspace.git-failed if git requires a configured address and there is none."""
    if who.incomplete:
        raise ParaError(
            "workspace.git-failed",
            f"git has no user.email for {place}, and user.useConfigOnly requires one",
            Remedy(title="Set it: git config user.email ADDRESS"),
        )


def read_excludes(common: Path, excludes_file: Path) -> str:
    """Return the user's ignore patterns that are not in the repository's .gitignore files.

    They are copied into sessions, so a file behind a symbolic link of the repository is not read.
    """
    files = [excludes_file]
    if not _is_behind_link(common):
        files.append(common / _EXCLUDE)
    patterns = [_read_patterns(file) for file in files]
    return "".join(f"{lines.rstrip()}\n" for lines in patterns if lines.strip())


def find_excludes_file(top: Path, config: Mapping[str, str]) -> Path:
    """Return the path of the ignore file for all repositories of the user.

    `config` must be the user's and the system's configuration: a repository could set any file.
    """
    configured = config.get(_EXCLUDES_KEY)
    if configured is None:
        config_home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        configured = f"{config_home}/git/ignore"
    try:
        return top / Path(configured).expanduser()
    except RuntimeError:  # ~USER does not exist, or has no home
        return top / configured


def list_warnings(
    common: Path, effective: Mapping[str, str], own: Mapping[str, str]
) -> tuple[str, ...]:
    """Return a line for each source of ignore patterns that sessions do not use.

    These are the ones with which a repository could have any file of the host read. `effective` is
    git's whole configuration, `own` the part that is not the repository's.
    """
    lines: list[str] = []
    if effective.get(_EXCLUDES_KEY) != own.get(_EXCLUDES_KEY):
        lines.append(
            "core.excludesFile of the repository's own configuration is ignored in sessions: "
            "set it with git config --global"
        )
    if _is_behind_link(common):
        lines.append(f"{common / _EXCLUDE} is behind a symbolic link, and is ignored in sessions")
    return tuple(one_line(line) for line in lines)


def _is_behind_link(common: Path) -> bool:
    return (common / _EXCLUDE).resolve() != common.resolve() / _EXCLUDE


def _read_identity_part(role: str, part: str, config: Mapping[str, str], strict: bool) -> str:  # noqa: FBT001 # one of git's own switches
    variable = os.environ.get(f"GIT_{role}_{part}".upper())
    value = variable or config.get(f"{role}.{part}") or config.get(f"user.{part}")
    if not value and part == "email" and not strict:
        value = os.environ.get("EMAIL")
    return value or ""


def _read_patterns(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="surrogateescape") as source:
            lines = source.read(_MAX_PATTERNS).splitlines()
    except OSError:
        return ""
    # without the comments of git's template, so that sessions need not read an empty file
    return "\n".join(line for line in lines if line.strip() and not line.startswith("#"))
