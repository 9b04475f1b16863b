"""The only place that lets sessions rest and go on: `para.pause` and `para.resume`."""

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
from para_server.engine import containers, images
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
    """Let a session rest.

    `save` saves the container as an image and removes it, which frees CPU, memory and its slot.
    `freeze` stops its processes where they are; it keeps its memory and its slot.
    """
    async with locking.locked_session(context, "pause", params.name, params.repo) as (
        record,
        _,
        seen,
    ):
        if record.type == "worktree":
            raise ParaError(
                "session.wrong-type",
                "Pause only works with container sessions",
                Remedy(
                    title="Keep its work and end it",
                    command="para.cancel",
                    params={"name": record.name, "repo": record.repo},
                ),
            )
        if params.mode == "freeze":
            return await ignore_cancellation(_frozen(context, record, seen))
        return await suspend.save_session(context, record)


@command("para.resume", "Resume Session")
async def resume(context: Context, params: ResumeParams) -> Session:
    """Let a session go on: its container, then its agent; `prompt` gives the agent more to do.

    A finished session goes on with more work on the same branch.
    """

    def instead(running: Record) -> Remedy | None:
        return _sending(running, params.prompt)

    chosen = locking.locked_session(context, "resume", params.name, params.repo, instead)
    async with chosen as (record, session, seen):
        if params.prompt is None and seen is not None and seen.state == "paused":
            return await ignore_cancellation(_thawed(context, record, seen))
        fresh = record.type == "container" and seen is None
        more = await _more(context, record, params)
        begun = context.store.write(record.but(doing="resume", fresh=fresh))
        async with rollback_on_failure() as rollback:
            rollback.push_async_callback(reconcile.roll_back_resume, context, begun)
            context.report(f"Resuming {record.name}", 10)
            going, released = begun.but(**more), None
            if session.state is State.FINISHED:
                going, released = await _reopened(context, going)
            problem = None
            if record.type == "container":
                released = released or provision.workspace_of_started(going)
                problem = await _revived(context, going, released, params.prompt)
            state = State.FAILED if problem else State.RUNNING
            ready = going.but(
                state=state,
                doing=None,
                fresh=False,
                problem=problem,
                started_at=datetime.now(UTC),
            )
            shown = await present.load_session(context, ready)
            context.store.write(ready)
        return shown


def _sending(record: Record, text: str | None) -> Remedy | None:
    """Propose to send a text to an agent that runs, which need not be resumed."""
    params: dict[str, object] = {"name": record.name, "repo": record.repo}
    if record.type == "worktree" or record.agent is None:
        return Remedy(title="Open it", command="para.open", params=params)
    if text is None or not agent_process.can_be_typed(text):
        return None
    return Remedy(
        title="Send it to the agent", command="para.send", params={"text": text, **params}
    )


async def _more(context: Context, record: Record, params: ResumeParams) -> dict[str, object]:
    if params.prompt is None:
        return {}
    # what a person is to run in a worktree, no repository chooses
    settings = context.settings(None if record.type == "worktree" else Path(record.repo))
    name = find_profile(record.agent or settings.agent.name, settings.agent).name
    if record.type == "container":
        await credentials.demand_login(context, settings, name, record.image)
    return {
        "prompt": params.prompt,
        "agent": name,
        "conversation": record.conversation or str(uuid4()),
    }


async def _frozen(context: Context, record: Record, seen: ContainerInfo | None) -> Session:
    await containers.freeze(context.engine, container_name(record.id))
    rests = seen and seen.model_copy(update={"state": "paused"})
    return present.build_session(
        context, context.store.write(record.but(state=State.PAUSED)), rests
    )


async def _thawed(context: Context, record: Record, seen: ContainerInfo) -> Session:
    """Let a frozen session go on, or leave it frozen."""
    async with rollback_on_failure() as rollback:
        rollback.push_async_callback(reconcile.freeze_again, context, record)
        await containers.thaw(context.engine, seen.name)
    ready = record.but(state=State.RUNNING, problem=None, started_at=datetime.now(UTC))
    context.store.write(ready)
    return present.build_session(context, ready, seen.model_copy(update={"state": "running"}))


async def _reopened(context: Context, record: Record) -> tuple[Record, ReleasedWorkspace]:
    """Give a finished session a workspace again, at its branch."""
    repo = await discovery.get_session_repository(record)
    settings = context.settings(repo.top)
    tip = await repository.resolve_branch(repo, record.branch) or record.finished
    if tip is None or await repository.resolve_ref(repo, f"{tip}^{{commit}}") is None:
        raise ParaError(
            "workspace.unknown-base", f"The branch {record.branch} of {record.name} is gone"
        )
    start = StartPoint(branch=record.branch, tip=tip, anchor=tip)
    await provision.keep_base_commit(context, repo, record, tip)
    standing = await checkout_cache.find_or_create(context, repo, record, settings, start)
    released = await provision.create_workspace(context, repo, standing, settings, start)
    return standing.but(finished=tip), released


async def _revived(
    context: Context, record: Record, released: ReleasedWorkspace, more: str | None
) -> Problem | None:
    """Start the container again, set it up where it is new, and let the agent go on."""
    name = container_name(record.id)
    seen = await containers.find(context.engine, name)
    if seen is not None and seen.state == "paused":
        await containers.thaw(context.engine, name)
        if more is None:
            return None
        at_work = agent_process.can_continue_conversation(
            context, record
        ) and agent_process.can_accept_text(context, record)
        # what it is at is not lost where the rest is only typed
        give = (
            agent_process.send_text
            if at_work and agent_process.can_be_typed(more)
            else agent_process.resume_agent
        )
        await give(context, record, more)
        return None
    new = record.problem is not None  # its set-up failed
    if seen is None:
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
