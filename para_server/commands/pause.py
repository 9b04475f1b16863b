"""The only place that lets sessions rest and go on: `para.pause` and `para.resume`."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from para_server.agents import claims
from para_server.agents.profiles import profile
from para_server.commands import agent, bases, credentials, launch, recovery, setup, view
from para_server.commands.launch import Released
from para_server.commands.send import can_be_typed, tell
from para_server.context import Context
from para_server.engine import containers, freezing, images
from para_server.engine.containers import Seen
from para_server.errors import ParaError, Problem, Remedy
from para_server.git import discovery, repository
from para_server.git.clone import Start
from para_server.models import Session, State
from para_server.names import container_name, saved_image
from para_server.params import PauseParams, ResumeParams
from para_server.records import Record
from para_server.registry import command
from para_server.steps import too_late_to_cancel, undone_on_failure

_log = logging.getLogger(__name__)


@command("para.pause", "Pause Session")
async def pause(context: Context, params: PauseParams) -> Session:
    """Let a session rest.

    `save` saves the container as an image and removes it, which frees CPU, memory and its slot.
    `freeze` stops its processes where they are; it keeps its memory and its slot.
    """
    async with view.held(context, "pause", params.name, params.repo) as (record, _, seen):
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
            return await too_late_to_cancel(_frozen(context, record, seen))
        return await save(context, record)


async def save(context: Context, record: Record) -> Session:
    """End the agent gently, save the container and remove it; the session is held."""
    context.report(f"Saving {record.name}", 10)
    begun = context.store.write(record.but(state=State.RUNNING, doing="pause"))
    async with undone_on_failure() as undo:
        undo.push_async_callback(_go_on, context, begun)
        await agent.rest(context, begun)
        saved = await recovery.saved(context, begun)
    return await too_late_to_cancel(_emptied(context, saved))


async def _emptied(context: Context, record: Record) -> Session:
    """Complete a pause whose image is there: what fails now, the next process does."""
    try:
        record = await recovery.complete_pause(context, record)
    except ParaError as error:
        _log.warning("not all is removed yet: %s", error, extra={"session": record.name})
    return view.of(context, record, None)


@command("para.resume", "Resume Session")
async def resume(context: Context, params: ResumeParams) -> Session:
    """Let a session go on: its container, then its agent; `prompt` gives the agent more to do.

    A finished session goes on with more work on the same branch.
    """

    def instead(running: Record) -> Remedy | None:
        return _sending(running, params.prompt)

    chosen = view.held(context, "resume", params.name, params.repo, instead)
    async with chosen as (record, session, seen):
        if params.prompt is None and seen is not None and seen.state == "paused":
            return await too_late_to_cancel(_thawed(context, record, seen))
        fresh = record.type == "container" and seen is None
        more = await _more(context, record, params)
        begun = context.store.write(record.but(doing="resume", fresh=fresh))
        async with undone_on_failure() as undo:
            undo.push_async_callback(recovery.undo_resume, context, begun)
            context.report(f"Resuming {record.name}", 10)
            going, released = begun.but(**more), None
            if session.state is State.FINISHED:
                going, released = await _reopened(context, going)
            problem = None
            if record.type == "container":
                released = released or launch.released_before(going)
                problem = await _revived(context, going, released, params.prompt)
            state = State.FAILED if problem else State.RUNNING
            ready = going.but(
                state=state,
                doing=None,
                fresh=False,
                problem=problem,
                started_at=datetime.now(UTC),
            )
            shown = await view.show(context, ready)
            context.store.write(ready)
        return shown


def _sending(record: Record, text: str | None) -> Remedy | None:
    """Propose to send a text to an agent that runs, which need not be resumed."""
    params: dict[str, object] = {"name": record.name, "repo": record.repo}
    if record.type == "worktree" or record.agent is None:
        return Remedy(title="Open it", command="para.open", params=params)
    if text is None or not can_be_typed(text):
        return None
    return Remedy(
        title="Send it to the agent", command="para.send", params={"text": text, **params}
    )


async def _more(context: Context, record: Record, params: ResumeParams) -> dict[str, object]:
    if params.prompt is None:
        return {}
    # what a person is to run in a worktree, no repository chooses
    settings = context.settings(None if record.type == "worktree" else Path(record.repo))
    name = profile(record.agent or settings.agent.name, settings.agent).name
    if record.type == "container":
        await credentials.demand_login(context, settings, name, record.image)
    return {
        "prompt": params.prompt,
        "agent": name,
        "conversation": record.conversation or str(uuid4()),
    }


async def _frozen(context: Context, record: Record, seen: Seen | None) -> Session:
    await freezing.freeze(context.engine, container_name(record.id))
    rests = seen and seen.model_copy(update={"state": "paused"})
    return view.of(context, context.store.write(record.but(state=State.PAUSED)), rests)


async def _thawed(context: Context, record: Record, seen: Seen) -> Session:
    """Let a frozen session go on, or leave it frozen."""
    async with undone_on_failure() as undo:
        undo.push_async_callback(recovery.frozen_again, context, record)
        await freezing.thaw(context.engine, seen.name)
    ready = record.but(state=State.RUNNING, problem=None, started_at=datetime.now(UTC))
    context.store.write(ready)
    return view.of(context, ready, seen.model_copy(update={"state": "running"}))


async def _go_on(context: Context, record: Record) -> None:
    """Take a pause back: the container is started again, if it is still there."""
    name = container_name(record.id)
    seen = await containers.find(context.engine, name)
    if seen is None:
        await recovery.complete_pause(context, record)  # it is saved, and removed
        return
    saved = await images.find(context.engine, saved_image(record.id))
    if saved is not None and saved.id != seen.image_id:
        await images.remove(context.engine, saved_image(record.id))
    await launch.run(context, record, launch.released_before(record))
    if seen.state != "running" or claims.rests(context.store.agent_folder(record.id)):
        await agent.go_on(context, record, None)
    context.store.write(record.but(doing=None))


async def _reopened(context: Context, record: Record) -> tuple[Record, Released]:
    """Give a finished session a workspace again, at its branch."""
    repo = await discovery.of_session(record)
    settings = context.settings(repo.top)
    tip = await repository.branch_commit(repo, record.branch) or record.finished
    if tip is None or await repository.ref_commit(repo, f"{tip}^{{commit}}") is None:
        raise ParaError(
            "workspace.unknown-base", f"The branch {record.branch} of {record.name} is gone"
        )
    start = Start(branch=record.branch, tip=tip, anchor=tip)
    await launch.keep_base(context, repo, record, tip)
    standing = await bases.found(context, repo, record, settings, start)
    released = await launch.workspace(context, repo, standing, settings, start)
    return standing.but(finished=tip), released


async def _revived(
    context: Context, record: Record, released: Released, more: str | None
) -> Problem | None:
    """Start the container again, set it up where it is new, and let the agent go on."""
    name = container_name(record.id)
    seen = await containers.find(context.engine, name)
    if seen is not None and seen.state == "paused":
        await freezing.thaw(context.engine, name)
        if more is None:
            return None
        at_work = agent.continues(context, record) and agent.listens(context, record)
        # what it is at is not lost where the rest is only typed
        give = tell if at_work and can_be_typed(more) else agent.go_on
        await give(context, record, more)
        return None
    new = record.problem is not None  # its set-up failed
    if seen is None:
        repo = await discovery.of_session(record)
        saved = await images.find(context.engine, saved_image(record.id))
        image = saved_image(record.id) if saved else record.image
        await launch.box(context, repo, record, context.settings(repo.top), image)
        new = new or saved is None
    await launch.run(context, record, released)
    problem = await setup.run(context, record) if new else None
    if problem is None:
        await agent.go_on(context, record, more)
    return problem
