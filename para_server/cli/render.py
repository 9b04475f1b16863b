"""The only place that knows how the results of commands read at a terminal.

A result that has no words of its own here is shown as JSON.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import singledispatch
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from para_server.command_line import format_command_line
from para_server.core import models, results
from para_server.core.errors import Problem
from para_server.core.untrusted import one_line, printable
from para_server.registry import COMMANDS

_AGES: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_CELL: Final = 1000  # characters, also where a path has line breaks
_LONGEST_PATH: Final = 4096  # characters: a name at its end is what runs
_PROMPT: Final = 48  # columns of a table that a prompt may take


@singledispatch
def in_words(result: BaseModel) -> str:
    """Tell a result to a person."""
    return result.model_dump_json(by_alias=True, indent=2)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align the columns of a table."""
    rows = [[_cell(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in padded)


@in_words.register
def _(session: models.Session) -> str:
    agent = session.agent
    rows = [
        ("branch", session.branch),
        ("agent", f"{agent.name}, {_agent_state(session)}" if agent else ""),
        ("detail", one_line(agent.detail) if agent else ""),
        ("container", session.container.name if session.container else ""),
        ("workspace", session.workspace or ""),
        ("repo", session.repo),
        ("base", session.base[:12]),
        ("prompt", one_line(session.prompt)),
        ("problem", _problem(session.problem)),
        *(("warning", one_line(warning)) for warning in session.warnings),
    ]
    told = table([[f"  {title}", text] for title, text in rows if text])
    return f"{session.name}  {session.state}\n{told}"


@in_words.register
def _(result: results.ListResult) -> str:
    counted = f"{result.running} of {result.limit} containers run"
    if not result.sessions:
        return f"No sessions; {counted}"
    several = len({session.repo for session in result.sessions}) > 1
    names = {(session.repo, session.name) for session in result.sessions}
    by_id = len(names) < len(result.sessions)  # a name was used again: it does not tell them apart
    titles = ["NAME", *["ID"] * by_id, "STATE", "AGENT", "BRANCH", "CHANGED", *["REPO"] * several]
    rows = [[*titles, "PROMPT"]]
    rows += [
        [
            session.name,
            *[session.id] * by_id,
            session.state,
            _agent_state(session) or "-",
            session.branch,
            _age(session.updated_at),
            *[Path(session.repo).name] * several,
            one_line(session.prompt, _PROMPT),
        ]
        for session in result.sessions
    ]
    return f"{table(rows)}\n\n{counted}"


@in_words.register
def _(result: results.BranchesResult) -> str:
    return "\n".join(one_line(branch) for branch in result.branches) or "No branches"


@in_words.register
def _(result: results.FinishResult) -> str:
    text = (
        f"{result.session.name} is finished: branch {result.branch} at {result.commit[:12]}, "
        f"{_counted(result.files, 'file')} +{result.insertions} \N{MINUS SIGN}{result.deletions}"
    )
    text = "\n".join([text, *(f"Note: {one_line(each, 500)}" for each in result.omitted)])
    text += _left(result.left)
    if result.archive:
        text += f"\nWhat is beside the branch is kept in {result.archive}"
    if not result.auto_run_files:
        return text
    listed = "\n".join(f"  {one_line(path, _LONGEST_PATH)}" for path in result.auto_run_files)
    return f"{text}\nLook at these before you check it out; they run by themselves:\n{listed}"


@in_words.register
def _(result: results.CancelResult) -> str:
    kept = f"its work is kept in {result.archive}" if result.archive else "it had changed nothing"
    return f"{result.session.name} is cancelled; {kept}{_left(result.left)}"


def _left(left: Sequence[results.Left]) -> str:
    """Name what is not in a branch, or not in an archive."""
    lines = [
        f"  {one.what} {one_line(one.path or one.ref or '')}".rstrip() + f": {one_line(one.detail)}"
        for one in left
    ]
    return "\nLeft out:\n" + "\n".join(lines) if lines else ""


@in_words.register
def _(result: results.OpenResult) -> str:
    typed = shlex.join([result.terminal.command, *result.terminal.args])
    on_host = result.session.type == "worktree"
    return f"cd {shlex.quote(result.folder)} && {typed}" if on_host else typed


@in_words.register
def _(result: results.DiffResult) -> str:
    return result.patch


@in_words.register
def _(result: results.FileResult) -> str:
    if not result.exists:
        return f"There is no file {one_line(result.path)}"
    return "The file is binary" if result.binary else result.text


@in_words.register
def _(result: results.StatsResult) -> str:
    rows = []
    if result.changes is not None:
        counted = _counted(result.changes.files, "file")
        lines = f"+{result.changes.insertions} -{result.changes.deletions}"
        rows.append(["changed", f"{counted} {lines}"])
    if result.cpu is not None:
        rows.append(["CPU", f"{result.cpu:g} %"])
    if result.memory is not None:
        rows.append(["memory", f"{result.memory >> 20} MiB"])
    return table(rows) if rows else "Nothing is known"


@in_words.register
def _(result: results.LogsResult) -> str:
    return result.text


@in_words.register
def _(result: results.BuildResult) -> str:
    return f"{result.image} is built: {result.size / 1e6:.0f} MB in {result.seconds:.1f} s"


@in_words.register
def _(result: results.SetupResult) -> str:
    typed = shlex.join([result.terminal.command, *result.terminal.args])
    return f"Log in with this, and then complete it with `para auth complete`:\n  {typed}"


@in_words.register
def _(result: results.LoginResult) -> str:
    where = f"in {result.image}; never push it" if result.image else "in a volume"
    return f"The login is kept {where} ({result.state})"


@in_words.register
def _(result: results.LoginStatus) -> str:
    end = f", until {result.expires_at:%Y-%m-%d %H:%M} UTC" if result.expires_at else ""
    return f"The login is {result.state}{end}"


@in_words.register
def _(result: results.RemovedResult) -> str:
    return "\n".join(f"removed  {what}" for what in result.removed) or "There is no login"


@in_words.register
def _(result: results.CleanResult) -> str:
    return _cleaned(result, "removed", "kept")


@in_words.register
def _(result: results.DoctorResult) -> str:
    lines = []
    for check in result.checks:
        mark = "✓" if check.ok else "!" if check.level == "warning" else "✗"
        lines.append(f"{mark} {check.name}: {one_line(check.detail, _CELL)}")
        for remedy in check.problem.remedies if check.problem else ():
            known = COMMANDS.get(remedy.command or "")
            typed = format_command_line(known, remedy.params or {}) if known else ""
            how = typed or remedy.setting or remedy.url or ""
            lines.append(f"    {remedy.title}" + (f": {how}" if how else ""))
    return "\n".join(lines)


def would_be(result: BaseModel) -> str:
    """Write for a person what a command that only looked would do."""
    if isinstance(result, results.CleanResult):
        return _cleaned(result, "would remove", "would keep")
    return in_words(result)


def remark(result: object) -> str | None:
    """Return what a person may wonder at in a result that prints nothing."""
    if isinstance(result, results.LogsResult) and not result.text:
        return "nothing has been printed"
    if isinstance(result, results.DiffResult) and not result.files:
        return "nothing has changed"
    return None


def is_failure(result: object) -> bool:
    """Tell whether a result, although there is one, says that not all is well."""
    if isinstance(result, results.DoctorResult):
        return any(check.level == "error" for check in result.checks)
    return False


def _cleaned(result: results.CleanResult, removed: str, kept: str) -> str:
    rows = [[removed, one_line(what)] for what in result.removed]
    rows += [[kept, one_line(what)] for what in result.kept]
    return table(rows) if rows else "Nothing to clean"


def _cell(text: str) -> str:
    """Keep a text in its cell, blanks at its beginning too."""
    return printable(text[:_CELL]).replace("\n", "\\x0a").replace("\t", "\\x09")


def _agent_state(session: models.Session) -> str:
    return str(session.agent.state) if session.agent else ""


def _problem(problem: Problem | None) -> str:
    return f"{problem.message} ({problem.slug})" if problem else ""


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _age(moment: datetime) -> str:
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for size, unit in _AGES:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "now"
