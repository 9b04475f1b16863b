"""Run the set-up script of a session in its container, before its agent starts."""

from __future__ import annotations

import asyncio
import math
import os
import time
from pathlib import Path, PurePosixPath
from typing import Final

from para_server.agents import supervisor
from para_server.context import Context
from para_server.core.errors import Problem, Remedy
from para_server.core.names import container_name
from para_server.core.records import Record
from para_server.core.settings import ContainerSettings
from para_server.core.untrusted import one_line
from para_server.engine.exec_stream import stream_command
from para_server.git import repository
from para_server.git.repository import Repo

_DEFAULT_SCRIPT: Final = ContainerSettings().setup_script
_GRACE_SECONDS: Final = 30.0  # extra seconds until the exec itself is stopped


async def can_have_script(context: Context, repo: Repo, record: Record) -> bool:
    """Return whether a new session may have a script; the default one may be missing."""
    if record.type == "worktree":
        return False
    script = context.settings(Path(record.repo)).container.setup_script
    if script != _DEFAULT_SCRIPT:
        return bool(script)
    folder = PurePosixPath(script).parts[0]
    return await repository.has_path(repo, record.base, folder)


async def find_warnings(
    repo: Repo, record: Record, script: str = _DEFAULT_SCRIPT
) -> tuple[str, ...]:
    """Return a warning if the default script exists but is not in the base commit."""
    if record.type == "worktree" or not os.path.lexists(repo.top / script):
        return ()
    if await repository.has_path(repo, record.base, script):
        return ()
    return (f"{script} did not run: it is not in the base commit",)


async def run_script(context: Context, record: Record) -> Problem | None:
    """Run the script and return None, or the problem; the container is kept for inspection."""
    settings = context.settings(Path(record.repo)).container
    script = settings.setup_script
    if not script:
        return None

    def report_line(line: str) -> None:
        context.report(f"Set-up: {one_line(line)}", None)

    started_at, seconds = time.monotonic(), math.ceil(settings.setup_minutes * 60)
    command = supervisor.setup_command(script, seconds, optional=script == _DEFAULT_SCRIPT)
    try:
        # the container may ignore its own limit
        async with asyncio.timeout(seconds + _GRACE_SECONDS):
            code = await stream_command(
                context.engine, container_name(record.id), command, report_line
            )
    except TimeoutError:
        code = supervisor.EXIT_TIMEOUT
    if code == 0:
        return None
    late = code == supervisor.EXIT_TIMEOUT and time.monotonic() - started_at >= seconds
    return _problem(record, script, code, settings.setup_minutes if late else None)


def _problem(record: Record, script: str, code: int, minutes: float | None) -> Problem:
    params: dict[str, object] = {"name": record.name, "repo": record.repo}
    more_time: tuple[Remedy, ...] = ()
    how = "does not exist" if code == supervisor.EXIT_NO_SCRIPT else f"failed with exit code {code}"
    if minutes is not None:
        how = f"did not end within {minutes:g} minutes (container.setupMinutes)"
        more_time = (Remedy(title="Increase the time limit", setting="container.setupMinutes"),)
    return Problem(
        slug="session.setup-failed",
        message=f"The set-up script {one_line(script)} of {record.name} {how}",
        remedies=(
            Remedy(title="Show its output", command="para.logs", params=params),
            Remedy(
                title="Run it again, as edited in the session", command="para.resume", params=params
            ),
            *more_time,
            Remedy(title="Choose another script", setting="container.setupScript"),
            Remedy(
                title="Cancel the session; a new one runs the script that you commit",
                command="para.cancel",
                params=params,
            ),
        ),
    )
