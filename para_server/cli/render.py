"""Render the results of commands as text for a terminal.

A result type without a function here is rendered as JSON.
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

_AGE_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_MAX_CELL: Final = 1000  # characters
_MAX_PATH: Final = 4096  # characters: the file name at the end is what runs
_MAX_PROMPT: Final = 48  # characters of a prompt in a table


@singledispatch
def render(result: BaseModel) -> str:
    """Return a result as text for a person."""
    return result.model_dump_json(by_alias=True, indent=2)


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text with aligned columns."""
    rows = [[_escape_cell(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in padded)


@render.register
def _(session: models.Session) -> str:
    agent = session.agent
    rows = [
        ("branch", session.branch),
        ("agent", f"{agent.name}, {_get_agent_state(session)}" if agent else ""),
        ("detail", one_line(agent.detail) if agent else ""),
        ("container", session.container.name if session.container else ""),
        ("workspace", session.workspace or ""),
        ("repo", session.repo),
        ("base", session.base[:12]),
        ("prompt", one_line(session.prompt)),
        ("problem", _format_problem(session.problem)),
        *(("warning", one_line(warning)) for warning in session.warnings),
    ]
    body = format_table([[f"  {title}", text] for title, text in rows if text])
    return f"{session.name}  {session.state}\n{body}"


@render.register
def _(result: results.ListResult) -> str:
    counted = f"{result.running} of {result.limit} containers run"
    if not result.sessions:
        return f"No sessions; {counted}"
    several = len({session.repo for session in result.sessions}) > 1
    names = {(session.repo, session.name) for session in result.sessions}
    by_id = len(names) < len(result.sessions)  # a name was used again
    titles = ["NAME", *["ID"] * by_id, "STATE", "AGENT", "BRANCH", "CHANGED", *["REPO"] * several]
    rows = [[*titles, "PROMPT"]]
    rows += [
        [
            session.name,
            *[session.id] * by_id,
            session.state,
            _get_agent_state(session) or "-",
            session.branch,
            _format_age(session.updated_at),
            *[Path(session.repo).name] * several,
            one_line(session.prompt, _MAX_PROMPT),
        ]
        for session in result.sessions
    ]
    return f"{format_table(rows)}\n\n{counted}"


@render.register
def _(result: results.BranchesResult) -> str:
    return "\n".join(one_line(branch) for branch in result.branches) or "No branches"


@render.register
def _(result: results.FinishResult) -> str:
    text = (
        f"{result.session.name} is finished: branch {result.branch} at {result.commit[:12]}, "
        f"{_format_count(result.files, 'file')} "
        f"+{result.insertions} \N{MINUS SIGN}{result.deletions}"
    )
    text = "\n".join([text, *(f"Note: {one_line(each, 500)}" for each in result.omitted)])
    text += _format_left(result.left)
    if result.archive:
        text += f"\nWork outside the branch is kept in {result.archive}"
    if not result.auto_run_files:
        return text
    files = "\n".join(f"  {one_line(path, _MAX_PATH)}" for path in result.auto_run_files)
    return f"{text}\nReview these before you check it out; they run automatically:\n{files}"


@render.register
def _(result: results.CancelResult) -> str:
    kept = f"its work is kept in {result.archive}" if result.archive else "it had changed nothing"
    return f"{result.session.name} is cancelled; {kept}{_format_left(result.left)}"


def _format_left(left: Sequence[results.Left]) -> str:
    """Return a list of what is in neither the branch nor the archive."""
    lines = [
        f"  {one.what} {one_line(one.path or one.ref or '')}".rstrip() + f": {one_line(one.detail)}"
        for one in left
    ]
    return "\nLeft out:\n" + "\n".join(lines) if lines else ""


@render.register
def _(result: results.OpenResult) -> str:
    typed = shlex.join([result.terminal.command, *result.terminal.args])
    on_host = result.session.type == "worktree"
    return f"cd {shlex.quote(result.folder)} && {typed}" if on_host else typed


@render.register
def _(result: results.DiffResult) -> str:
    return result.patch


@render.register
def _(result: results.FileResult) -> str:
    if not result.exists:
        return f"There is no file {one_line(result.path)}"
    return "The file is binary" if result.binary else result.text


@render.register
def _(result: results.StatsResult) -> str:
    rows = []
    if result.changes is not None:
        counted = _format_count(result.changes.files, "file")
        lines = f"+{result.changes.insertions} -{result.changes.deletions}"
        rows.append(["changed", f"{counted} {lines}"])
    if result.cpu is not None:
        rows.append(["CPU", f"{result.cpu:g} %"])
    if result.memory is not None:
        rows.append(["memory", f"{result.memory >> 20} MiB"])
    return format_table(rows) if rows else "No stats available"


@render.register
def _(result: results.LogsResult) -> str:
    return result.text


@render.register
def _(result: results.BuildResult) -> str:
    return f"{result.image} is built: {result.size / 1e6:.0f} MB in {result.seconds:.1f} s"


@render.register
def _(result: results.SetupResult) -> str:
    typed = shlex.join([result.terminal.command, *result.terminal.args])
    return f"Log in with this command, then run `para auth complete`:\n  {typed}"


@render.register
def _(result: results.LoginResult) -> str:
    where = f"in {result.image}; never push it" if result.image else "in a volume"
    return f"The login is kept {where} ({result.state})"


@render.register
def _(result: results.LoginStatus) -> str:
    end = f", until {result.expires_at:%Y-%m-%d %H:%M} UTC" if result.expires_at else ""
    return f"The login is {result.state}{end}"


@render.register
def _(result: results.RemovedResult) -> str:
    return "\n".join(f"removed  {what}" for what in result.removed) or "There is no login"


@render.register
def _(result: results.CleanResult) -> str:
    return _format_cleaned(result, "removed", "kept")


@render.register
def _(result: results.DoctorResult) -> str:
    lines = []
    for check in result.checks:
        mark = "✓" if check.ok else "!" if check.level == "warning" else "✗"
        lines.append(f"{mark} {check.name}: {one_line(check.detail, _MAX_CELL)}")
        for remedy in check.problem.remedies if check.problem else ():
            command = COMMANDS.get(remedy.command or "")
            typed = format_command_line(command, remedy.params or {}) if command else ""
            how = typed or remedy.setting or remedy.url or ""
            lines.append(f"    {remedy.title}" + (f": {how}" if how else ""))
    return "\n".join(lines)


def render_dry_run(result: BaseModel) -> str:
    """Return the result of a dry run as text for a person."""
    if isinstance(result, results.CleanResult):
        return _format_cleaned(result, "would remove", "would keep")
    return render(result)


def get_empty_note(result: object) -> str | None:
    """Return a note for a result with an empty text, None for others."""
    if isinstance(result, results.LogsResult) and not result.text:
        return "nothing has been printed"
    if isinstance(result, results.DiffResult) and not result.files:
        return "nothing has changed"
    return None


def is_failure(result: object) -> bool:
    """Return whether a result reports a failure, for the exit code."""
    if isinstance(result, results.DoctorResult):
        return any(check.level == "error" for check in result.checks)
    return False


def _format_cleaned(result: results.CleanResult, removed: str, kept: str) -> str:
    rows = [[removed, one_line(what)] for what in result.removed]
    rows += [[kept, one_line(what)] for what in result.kept]
    return format_table(rows) if rows else "Nothing to clean"


def _escape_cell(text: str) -> str:
    """Return a text on one line, with its leading blanks."""
    return printable(text[:_MAX_CELL]).replace("\n", "\\x0a").replace("\t", "\\x09")


def _get_agent_state(session: models.Session) -> str:
    return str(session.agent.state) if session.agent else ""


def _format_problem(problem: Problem | None) -> str:
    return f"{problem.message} ({problem.slug})" if problem else ""


def _format_count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _format_age(moment: datetime) -> str:
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for size, unit in _AGE_UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "now"
