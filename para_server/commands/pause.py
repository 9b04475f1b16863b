"""Pause and resume sessions: `para.pause` and `para.resume`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from para_server.agents.profiles import find_profile
from para_server.concurrency.cancellation import ignore_cancellation, rollback_on_failure
from para_server.context import Context
from para_server.core.errors import ParaError, Problem, Remedy
from para_server.core.models import Session, State
from para_server.core.names import container_name, saved_image
from para_server.core.params import PauseParams, ResumeParams
from para_server.core.records import Record
from para_server.engine import containers, freezer, images
from para_server.engine.containers import ContainerInfo
from para_server.git import discovery, repository
from para_server.git.clone import StartPoint
from para_server.registry import command
from para_server.sessions import (
    agent_process,
    credentials,
    locking,
    present,
    provision,
    reconcile,
    setup_script,
    suspend,
)
from para_server.sessions.provision import ReleasedWorkspace
from para_server.sessions.workspace import checkout_cache


@command("para.pause", "Pause Session")
async def pause(context: Context, params: PauseParams) -> Session:
    """Pause a session.

    `save` saves the container as an image and removes it, which frees CPU, memory and its slot.
    `freeze` freezes the container's processes, which keep their memory and the slot.
    """
    async with locking.locked_session(context, "pause", params.name, params.repo) as (
        record,
        _,
        container,
    ):
        if record.type == "worktree":
            raise ParaError(
                "session.wrong-type",
                "Pause only works with container sessions",
                Remedy(
                    title="Cancel it and archive its work",
                    command="para.cancel",
                    params={"name": record.name, "repo": record.repo},
                ),
            )
        if params.mode == "freeze":
            return await ignore_cancellation(_freeze(context, record, container))
        return await suspend.save_session(context, record)


@command("para.resume", "Resume Session")
async def resume(context: Context, params: ResumeParams) -> Session:
    """Resume a session and its agent.

    With `prompt`, the agent receives it as its next task. A finished session continues on the same
    branch.
    """

    def instead(running: Record) -> Remedy | None:
        return _send_remedy(running, params.prompt)

    chosen = locking.locked_session(context, "resume", params.name, params.repo, instead)
    async with chosen as (record, session, container):
        if params.prompt is None and container is not None and container.state == "paused":
            return await ignore_cancellation(_thaw(context, record, container))
        fresh = record.type == "container" and container is None
        more = await _resume_fields(context, record, params)
        pending = context.store.write(record.updated(doing="resume", fresh=fresh))
        async with rollback_on_failure() as rollback:
            rollback.push_async_callback(reconcile.roll_back_resume, context, pending)
            context.report(f"Resuming {record.name}", 10)
            resumed, released = pending.updated(**more), None
            if session.state is State.FINISHED:
                resumed, released = await _reopen(context, resumed)
            problem = None
            if record.type == "container":
                released = released or provision.workspace_of_started(resumed)
                problem = await _restart(context, resumed, released, params.prompt)
            state = State.FAILED if problem else State.RUNNING
            ready = resumed.updated(
                state=state,
                doing=None,
                fresh=False,
                problem=problem,
                started_at=datetime.now(UTC),
            )
            shown = await present.load_session(context, ready)
            context.store.write(ready)
        return shown


def _send_remedy(record: Record, text: str | None) -> Remedy | None:
    """Return a remedy for an agent that is running already: send it the text."""
    params: dict[str, object] = {"name": record.name, "repo": record.repo}
    if record.type == "worktree" or record.agent is None:
        return Remedy(title="Open it", command="para.open", params=params)
    if text is None or not agent_process.can_be_typed(text):
        return None
    return Remedy(
        title="Send it to the agent", command="para.send", params={"text": text, **params}
    )


async def _resume_fields(
    context: Context, record: Record, params: ResumeParams
) -> dict[str, object]:
    if params.prompt is None:
        return {}
    # a repository must not choose what a person runs on the host
    settings = context.settings(None if record.type == "worktree" else Path(record.repo))
    name = find_profile(record.agent or settings.agent.name, settings.agent).name
    if record.type == "container":
        await credentials.require_login(context, settings, name, record.image)
    return {
        "prompt": params.prompt,
        "agent": name,
        "conversation": record.conversation or str(uuid4()),
    }


async def _freeze(context: Context, record: Record, container: ContainerInfo | None) -> Session:
    await freezer.freeze(context.engine, container_name(record.id))
    frozen = container and container.model_copy(update={"state": "paused"})
    return present.build_session(
        context, context.store.write(record.updated(state=State.PAUSED)), frozen
    )


async def _thaw(context: Context, record: Record, container: ContainerInfo) -> Session:
    """Thaw a frozen session; it stays frozen if that fails."""
    async with rollback_on_failure() as rollback:
        rollback.push_async_callback(reconcile.freeze_again, context, record)
        await freezer.thaw(context.engine, container.name)
    ready = record.updated(state=State.RUNNING, problem=None, started_at=datetime.now(UTC))
    context.store.write(ready)
    return present.build_session(context, ready, container.model_copy(update={"state": "running"}))


async def _reopen(context: Context, record: Record) -> tuple[Record, ReleasedWorkspace]:
    """Create the workspace of a finished session again, at its branch."""
    repo = await discovery.get_session_repository(record)
    settings = context.settings(repo.top)
    tip = await repository.resolve_branch(repo, record.branch) or record.finished
    if tip is None or await repository.resolve_ref(repo, f"{tip}^{{commit}}") is None:
        raise ParaError(
            "workspace.unknown-base", f"The branch {record.branch} of {record.name} is gone"
        )
    start = StartPoint(branch=record.branch, tip=tip, anchor=tip)
    await provision.keep_base_commit(context, repo, record, tip)
    prepared = await checkout_cache.find_or_create(context, repo, record, settings, start)
    released = await provision.create_workspace(context, repo, prepared, settings, start)
    return prepared.updated(finished=tip), released


async def _restart(
    context: Context, record: Record, released: ReleasedWorkspace, more: str | None
) -> Problem | None:
    """Start the container, run the set-up script if it is new, and resume the agent."""
    name = container_name(record.id)
    container = await containers.find(context.engine, name)
    if container is not None and container.state == "paused":
        await freezer.thaw(context.engine, name)
        if more is None:
            return None
        accepts_text = agent_process.can_continue_conversation(
            context, record
        ) and agent_process.can_accept_text(context, record)
        # typing keeps the current work of an agent, which a restart would interrupt
        deliver = (
            agent_process.send_text
            if accepts_text and agent_process.can_be_typed(more)
            else agent_process.resume_agent
        )
        await deliver(context, record, more)
        return None
    new = record.problem is not None  # its set-up has failed
    if container is None:
        repo = await discovery.get_session_repository(record)
        saved = await images.find(context.engine, saved_image(record.id))
        image = saved_image(record.id) if saved else record.image
        await provision.create_container(context, repo, record, context.settings(repo.top), image)
        new = new or saved is None
    await provision.start_container(context, record, released)
    problem = await setup_script.run_script(context, record) if new else None
    if problem is None:
        await agent_process.resume_agent(context, record, more)
    return problem
