"""Describe a session's work outside its branch, and refuse what a person must decide first."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Final, get_args

from para_server.core.errors import ParaError, Remedy
from para_server.core.model import Model
from para_server.core.records import Record
from para_server.core.results import Left
from para_server.core.untrusted import one_line, printable, read_bounded

_MAX_FILE: Final = 1 << 20  # bytes of a helper's list
_MAX_ENTRIES: Final = 1000  # items of each list
_MAX_SHOWN: Final = 5  # paths in a message
_KINDS: Final = frozenset(get_args(Left.model_fields["what"].annotation))
_PATH_KINDS: Final = frozenset({"submodule", "ignored-repository"})
_COMMANDS: Final = {"branch": "git branch", "tag": "git tag", "stash": "git stash apply"}
_LOST: Final = {
    "broken": "it cannot be read completely and is not kept",
    "loose": "its commits cannot be read and are not kept; its files are kept",
}
_OPERATIONS: Final = {
    "am": "git am",
    "bisect": "a bisection",
    "cherry_pick": "a cherry-pick",
    "merge": "a merge",
    "rebase": "a rebase",
    "revert": "a revert",
    "sequence": "a sequence of cherry-picks or reverts",
}


class Finding(Model):
    """One item outside the branch: its kind, how it is kept, its object, and its path or ref."""

    what: str
    how: str
    at: str
    value: str


class Findings(Model):
    """Items outside the branch, stopped operations, conflicts, and files that need a filter."""

    beside: tuple[Finding, ...] = ()
    stopped: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    filtered: tuple[str, ...] = ()


def read_findings(scratch: Path) -> Findings:
    """Return the findings that a helper wrote into a folder, without malformed ones."""
    entries = [entry.split(" ", 3) for entry in _fields(scratch / "left")]
    return Findings(
        beside=tuple(
            Finding(what=what, how=how, at=at, value=value)
            for what, how, at, value in (e for e in entries if len(e) == 4)  # noqa: PLR2004 # fields of Finding
            if what in _KINDS
        ),
        stopped=tuple(
            line for entry in _fields(scratch / "stopped") for line in entry.splitlines()
        ),
        conflicts=tuple(_fields(scratch / "conflicts")),
        filtered=tuple(_fields(scratch / "filtered")),
    )


def _fields(file: Path) -> list[str]:
    raw = read_bounded(file, _MAX_FILE) or b""
    return [os.fsdecode(field) for field in raw.split(b"\0")[:_MAX_ENTRIES] if field]


def not_on_branch(findings: Findings, archive: str) -> tuple[Left, ...]:
    """Return all items that are not on the branch of a finished session."""
    return tuple(_describe(finding, archive) for finding in findings.beside)


def not_in_archive(findings: Findings, archive: str) -> tuple[Left, ...]:
    """Return all items that are not in the archive of a cancelled session."""
    gone = [finding for finding in findings.beside if _is_lost(finding)]
    return tuple(_describe(finding, archive) for finding in gone)


def _is_lost(finding: Finding) -> bool:
    if finding.what in {"merge", "ignored-repository"}:  # not in an archive either
        return True
    return finding.how in _LOST


def require_mergeable(record: Record, findings: Findings) -> None:
    """Raise workspace.git-failed if a person or the agent has to decide something first."""
    params = {"name": record.name, "repo": record.repo}
    cancel = Remedy(title="Cancel it; an archive keeps all", command="para.cancel", params=params)
    if findings.stopped or findings.conflicts:
        amid = ", ".join(_describe_operation(finding) for finding in findings.stopped)
        parts = [f"in the middle of {amid}"] if amid else []
        if findings.conflicts:
            parts.append(f"with conflicts in {_join_paths(findings.conflicts)}")
        raise ParaError(
            "workspace.git-failed",
            f"Session {record.name} is {' '.join(parts)}: its work is incomplete",
            Remedy(title="Complete or abort it in the session", command="para.open", params=params),
            cancel,
        )
    if findings.filtered:
        raise ParaError(
            "workspace.git-failed",
            f"Session {record.name} changed files that need a git filter, which is not in the "
            f"container: {_join_paths(findings.filtered)}",
            Remedy(title="Revert the changes in the session", command="para.open", params=params),
            cancel,
        )


def _describe(finding: Finding, archive: str) -> Left:
    value = printable(os.fsencode(finding.value).decode(errors="backslashreplace"))
    if finding.what == "merge":
        operation = _describe_operation(finding.value)
        return Left(what="merge", detail=f"{operation} was stopped; its commits are in {archive}")
    detail = _detail(finding, value, archive)
    if finding.what in _PATH_KINDS:
        return Left.model_validate({"what": finding.what, "path": value, "detail": detail})
    return Left.model_validate({"what": finding.what, "ref": value, "detail": detail})


def _detail(finding: Finding, value: str, archive: str) -> str:
    at = one_line(finding.at)
    match finding.what, finding.how:
        case "submodule", "kept":
            head = "" if at == "-" else f", its HEAD is {at}"
            return f"its commits that the branch lacks are kept in {archive}{head}"
        case "submodule", "files":
            return f"its changed files are kept in {archive}"
        case "ignored-repository", "kept":
            return f"git ignores its files, which are not kept; its commits are kept in {archive}"
        case "ignored-repository", "files":
            return "git ignores it, and it is not kept"
        case _, "kept":
            short = value.removeprefix("refs/heads/").removeprefix("refs/tags/")
            short = value.rpartition("/")[2] if short.startswith(("refs/", "worktrees/")) else short
            dashes = ["--"] if short.startswith("-") else []
            name = [] if finding.what == "stash" else [*dashes, short]
            # quoted, because a person may paste it into a shell
            return f"kept in {archive}: {_COMMANDS[finding.what]} {shlex.join([*name, at])}"
        case _:
            return _LOST.get(finding.how, _LOST["broken"])


def _describe_operation(text: str) -> str:
    word, *rest = text.split()
    operation = _OPERATIONS.get(word, "an operation")
    return f"{operation} ({' of '.join(rest)})" if len(rest) == 2 else operation  # noqa: PLR2004 # step, steps


def _join_paths(paths: tuple[str, ...]) -> str:
    shown = [
        one_line(os.fsencode(path).decode(errors="backslashreplace")) for path in paths[:_MAX_SHOWN]
    ]
    more = [f"and {len(paths) - _MAX_SHOWN} more"] if len(paths) > _MAX_SHOWN else []
    return ", ".join([*shown, *more])
