"""Present sessions as they are now: the record, the container and what the agent reports."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

from para_server.agents import reported
from para_server.context import CacheEntry, Context
from para_server.core import lifecycle, time_limits
from para_server.core.errors import ParaError, Problem, Remedy
from para_server.core.models import Agent, Container, Session, State
from para_server.core.names import container_name, overlay_volume_name
from para_server.core.records import Record
from para_server.core.results import ListResult
from para_server.engine import container_cache, containers
from para_server.engine.containers import ContainerInfo
from para_server.host import clock
from para_server.sessions import lookup

MAX_LISTED_PROMPT: Final = 2000  # characters of a prompt in a list
_RUNNING_STATES: Final = frozenset({"running", "restarting"})  # the engine's own words


async def load_session(
    context: Context, record: Record, seen: ContainerInfo | None = None
) -> Session:
    """Show one session as it is now; the engine is asked unless its container was just seen."""
    return build_session(context, record, seen or await find_container(context, record))


async def find_container(context: Context, record: Record) -> ContainerInfo | None:
    """Find the container of a session, where it should have one."""
    if record.type != "container" or record.state in lifecycle.ENDED_STATES:
        return None
    engine, name = context.engine, container_name(record.id)
    seen = await containers.find(engine, name)
    # where there should be one: saved sessions have none, and those that begin not yet
    missing = seen is None and record.state in {State.RUNNING, State.FAILED}
    if missing and await containers.restore_name(engine, record.id, context.store.owns):
        return await containers.find(engine, name)
    return seen


async def list_sessions(context: Context, repo: str | None, *, every: bool) -> ListResult:
    """Show sessions, and count the containers on the engine."""
    records = context.store.read_all()
    if repo is not None:
        found = await lookup.find_repo(context, repo)
        place = lookup.RepositoryKey(str(found.top), str(found.common))
        records = [r for r in records if place.has(r)]
    if not every:
        records = [r for r in records if r.state not in lifecycle.ENDED_STATES]
    settings = context.settings(None)
    seen = await _list_containers(context, records, enabled=settings.container.enabled)
    by_name = {one.name: one for one in seen}
    if any(_lacks_container(r, by_name) for r in records):
        for one in await containers.list_renamed(context.engine):
            if one.session is not None and context.store.owns(one.home):
                by_name.setdefault(container_name(one.session), one)
    return ListResult(
        sessions=tuple(
            _shorten_prompt(build_session(context, r, by_name.get(container_name(r.id))))
            for r in records
        ),
        running=len(seen),
        limit=settings.container.max_running,
    )


def _lacks_container(record: Record, found: Mapping[str, ContainerInfo]) -> bool:
    """Tell whether a session has no container by its name, though it should have one."""
    if record.type != "container" or record.state is not State.RUNNING or record.doing:
        return False
    return container_name(record.id) not in found


def _shorten_prompt(session: Session) -> Session:
    """Cut a long prompt: a list of sessions is sent on every change of one."""
    if len(session.prompt) <= MAX_LISTED_PROMPT:
        return session
    return session.model_copy(update={"prompt": f"{session.prompt[: MAX_LISTED_PROMPT - 1]}…"})


def build_session(context: Context, record: Record, seen: ContainerInfo | None) -> Session:
    """Put together what the record, the engine and the agent say, unless it is known already."""
    claim = None
    if record.agent is not None and _can_report(record, seen):
        folder = f"{context.store.home}/agents/{record.id}"
        claim = reported.state_stamp(folder), reported.is_supervised(folder)
    now = (record, seen, claim, clock.observed_jumps())
    known = context.shown.get(record.id)
    if known is not None and known.of == now:
        return known.session
    session = _build(context, record, seen)
    context.shown[record.id] = CacheEntry(now, session)
    return session


def _can_report(record: Record, seen: ContainerInfo | None) -> bool:
    """Tell whether the agent may say something new: of the hundreds that rest none is asked."""
    if record.state is State.PAUSED:
        return seen is not None and seen.state in _RUNNING_STATES
    return record.state not in lifecycle.ENDED_STATES


def _build(context: Context, record: Record, seen: ContainerInfo | None) -> Session:
    state, problem = _current_state(record, seen)
    container = None
    if seen is not None and record.type == "container":
        container = Container(id=seen.id, name=seen.name, image=record.image)
    return Session(
        id=record.id,
        name=record.name,
        type=record.type,
        state=state,
        repo=record.repo,
        base=record.base,
        branch=record.branch,
        workspace=_workspace_path(context, record, seen),
        container=container,
        agent=_build_agent(context, record, state),
        prompt=record.prompt,
        created_at=record.created_at,
        updated_at=record.updated_at,
        problem=problem,
        warnings=(*record.warnings, *_start_hints(record, state)),
    )


def _start_hints(record: Record, state: State) -> tuple[str, ...]:
    """Say who has to start the agent of a worktree session: para runs nothing there."""
    if record.type != "worktree" or not record.prompt or state is not State.RUNNING:
        return ()
    start = f"para open {record.name}"
    return (f"Nothing runs by itself in a worktree: start the agent there, as {start} shows",)


def _workspace_path(context: Context, record: Record, seen: ContainerInfo | None) -> str | None:
    """Name the folder that a session works in, where this user can see it."""
    if record.state in lifecycle.ENDED_STATES:
        return None
    if not record.bases:
        return str(context.store.workspace(record.id))
    mounted = seen.volumes.get(overlay_volume_name(record.id)) if seen is not None else None
    # the engine's own folder, which is there for root while the container runs
    return mounted if mounted and os.path.ismount(mounted) else None


def _current_state(record: Record, seen: ContainerInfo | None) -> tuple[State, Problem | None]:
    if record.state not in {State.RUNNING, State.PAUSED} or record.type == "worktree":
        return record.state, record.problem
    if record.doing is not None:
        return record.state, None  # a command has its hands on the container
    if seen is not None and seen.state in _RUNNING_STATES:
        return State.RUNNING, None
    if record.state is State.PAUSED or (seen is not None and seen.state == "paused"):
        return State.PAUSED, None
    became = "has stopped" if seen is not None else "is gone"
    return State.FAILED, _stopped_problem(record, f"The container of {record.name} {became}")


def _stopped_problem(record: Record, message: str) -> Problem:
    params = {"name": record.name, "repo": record.repo}
    return Problem(
        slug="engine.refused",
        message=message,
        remedies=(
            Remedy(title="Resume it", command="para.resume", params=params),
            Remedy(title="Keep its work and end it", command="para.cancel", params=params),
        ),
    )


def _build_agent(context: Context, record: Record, state: State) -> Agent | None:
    if record.type == "worktree" or record.agent is None or not record.prompt:
        return None
    alive = state in {State.RUNNING, State.PREPARING, State.PAUSED}
    folder = context.store.agent_folder(record.id)
    # while a command has its hands on it, its processes come and go
    works = state is State.RUNNING and record.doing is None
    supervised = not works or reported.is_supervised(folder)
    begun = not record.unbegun
    said = reported.read_state(
        folder, record.agent, alive=alive, supervised=supervised, started=begun
    )
    if state is not State.RUNNING:
        return said
    until = time_limits.pause_time(
        record, said, context.settings(None).agent, clock.observed_jumps()
    )
    return said if until is None else time_limits.with_pause_notice(said, until)


async def _list_containers(
    context: Context, records: Sequence[Record], *, enabled: bool
) -> tuple[ContainerInfo, ...]:
    needed = any(r.type == "container" and r.state not in lifecycle.ENDED_STATES for r in records)
    if not needed and not enabled:
        return ()
    try:
        return await container_cache.list_session_containers(
            context.engine, context.store.newest_written_at
        )
    except ParaError as error:
        if needed or not records or error.slug != "engine.unreachable":
            raise
        return ()  # worktrees, which need no engine
