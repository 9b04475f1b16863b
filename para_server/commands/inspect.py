"""Inspect sessions: `para.list`, `show`, `open`, `diff`, `file` and `logs`."""

from __future__ import annotations

import json

from para_server.agents import reported, supervisor
from para_server.agents.profile import fill_host_command_line
from para_server.agents.profiles import find_profile
from para_server.concurrency.cancellation import run_in_thread
from para_server.context import Context
from para_server.core import container_spec, lifecycle
from para_server.core.errors import ParaError, Remedy
from para_server.core.models import Session
from para_server.core.names import container_name, review_ref
from para_server.core.params import FileParams, ListParams, LogsParams, SessionParams
from para_server.core.records import Record
from para_server.core.results import (
    DiffResult,
    FileResult,
    ListResult,
    LogsResult,
    OpenResult,
    Terminal,
)
from para_server.engine import containers
from para_server.git import blob, commit_diff, discovery, repository
from para_server.git.repository import Repo
from para_server.registry import command
from para_server.sessions import lookup, present, reconcile, worktree_extract
from para_server.sessions.extract import extracted_work


@command("para.list", "List Sessions")
async def list_sessions(context: Context, params: ListParams) -> ListResult:
    """List sessions and count the running session containers."""
    return await present.list_sessions(context, params.repo, every=params.all)


@command("para.show", "Show Session")
async def show(context: Context, params: SessionParams) -> Session:
    """Show one session."""
    record = await lookup.find_session(context, params.name, params.repo)
    return await present.load_session(context, record)


@command("para.open", "Open Session")
async def open_session(context: Context, params: SessionParams) -> OpenResult:
    """Print the URI and the terminal command that open a session."""
    record = await lookup.find_session(context, params.name, params.repo)
    session = await present.load_session(context, record)
    broken = record.problem is not None and await _is_running(context, record)
    if not broken:  # after a failed set-up the container is kept for inspection
        lifecycle.require_allowed("open", record.name, record.repo, session.state)
    if record.type == "worktree":
        folder = context.store.workspace(record.id)
        return OpenResult(
            session=session,
            uri=folder.as_uri(),
            folder=str(folder),
            terminal=_terminal_on_host(context, record),
        )
    name = container_name(record.id)
    attached = _attach_authority(name, context.engine.editor_settings)
    supervised = session.agent is not None and not broken
    program, *options = context.engine.command_prefix
    inside = supervisor.ATTACH if supervised else ("sh", "-c", _SHELL_COMMAND)
    return OpenResult(
        session=session,
        uri=f"vscode-remote://attached-container+{attached}{container_spec.WORKSPACE}",
        folder=container_spec.WORKSPACE,
        terminal=Terminal(command=program, args=(*options, "exec", "-it", name, *inside)),
    )


@command("para.diff", "Review Changes")
async def diff(context: Context, params: SessionParams) -> DiffResult:
    """Show the changes of a session since its base, including uncommitted ones."""
    record = await lookup.find_session(context, params.name, params.repo, active_only=False)
    repo = await discovery.get_session_repository(record)
    if record.state in lifecycle.ENDED_STATES:
        return await _diff(repo, record, _end_commit(record))
    async with context.store.locked_session(record.id):
        await reconcile.reconcile_session(context, record.id)
        if record.type == "worktree":
            shown = await worktree_extract.commit_for_review(context, repo, record)
            return await _keep_and_diff(context, repo, record, shown)
        async with extracted_work(context, repo, record, "para: as it is now", "look") as extracted:
            return await _keep_and_diff(context, repo, record, extracted.tip)


@command("para.file", "Show File")
async def file(context: Context, params: FileParams) -> FileResult:
    """Show a file of a session, at its base or as `para.diff` last showed it."""
    record = await lookup.find_session(context, params.name, params.repo, active_only=False)
    repo = await discovery.get_session_repository(record)
    commit = record.base if params.side == "base" else await _reviewed_commit(repo, record)
    return await blob.read_file(repo, commit, params.path)


@command("para.logs", "Show Logs")
async def logs(context: Context, params: LogsParams) -> LogsResult:
    """Show the output of a session's agent."""
    record = await lookup.find_session(context, params.name, params.repo, active_only=False)
    folder = context.store.agent_folder(record.id)
    name, tail = record.agent or "", params.tail
    return LogsResult(text=await run_in_thread(lambda: reported.read_output(folder, name, tail)))


def _attach_authority(container: str, engine: dict[str, str]) -> str:
    """Return the part of a vscode-remote URI that identifies a container."""
    named = {"containerName": f"/{container}"} | ({"settings": engine} if engine else {})
    return json.dumps(named, separators=(",", ":")).encode().hex()


_SHELL_COMMAND = "command -v zsh >/dev/null && exec zsh; exec sh"


async def _keep_and_diff(context: Context, repo: Repo, record: Record, tip: str) -> DiffResult:
    """Return the changes of an active session, and keep their commit for `para.file`."""
    changes = await _diff(repo, record, tip)
    async with context.store.locked_refs(record.refs_at):
        await repository.protect_reviewed_commit(repo, record.id, tip)
    return changes


async def _reviewed_commit(repo: Repo, record: Record) -> str:
    if record.state in lifecycle.ENDED_STATES:
        return _end_commit(record)
    changes = await repository.resolve_ref(repo, review_ref(record.id))
    if changes is None:
        raise ParaError(
            "workspace.unknown-base",
            f"The changes of {record.name} have not been reviewed yet",
            Remedy(
                title="Review them",
                command="para.diff",
                params={"name": record.name, "repo": record.repo},
            ),
        )
    return changes


def _end_commit(record: Record) -> str:
    tip = record.finished if record.state.value == "finished" else record.archive
    return tip or record.base


async def _is_running(context: Context, record: Record) -> bool:
    container = await containers.find(context.engine, container_name(record.id))
    return container is not None and container.state == "running"


async def _diff(repo: Repo, record: Record, tip: str) -> DiffResult:
    if await repository.resolve_ref(repo, f"{tip}^{{commit}}") is None:
        raise ParaError(
            "workspace.unknown-base", f"The work of {record.name} is gone from {record.repo}"
        )
    changes = await commit_diff.compare_commits(repo, record.base, tip)
    patch = await commit_diff.create_patch(repo, record.base, tip, changes)
    return DiffResult(files=changes.files, patch=patch.text, omitted=patch.omitted)


def _terminal_on_host(context: Context, record: Record) -> Terminal:
    """Return the agent's command line for a person to run in the worktree.

    Settings of the repository are ignored, because the command runs on the host.
    """
    if not record.prompt:
        return Terminal(command=context.environ.get("SHELL", "/bin/sh"), args=())
    settings = context.settings(None).agent
    command, *args = fill_host_command_line(
        find_profile(record.agent or settings.name, settings), record.prompt
    )
    return Terminal(command=command, args=tuple(args))
