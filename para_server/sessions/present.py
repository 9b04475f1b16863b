"""Build the session that clients see from its record, its container and its agent's report."""

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
from para_server.core.untrusted import one_line
from para_server.engine import container_cache, containers
from para_server.engine.containers import ContainerInfo
from para_server.host import clock
from para_server.sessions import lookup

_MAX_TITLE: Final = 80  # characters
_MAX_TITLE_SEARCH: Final = 10_000  # characters of a prompt that may be empty lines
MAX_LISTED_PROMPT: Final = 2000  # characters of a prompt in a list of sessions
_RUNNING_STATES: Final = frozenset({"running", "restarting"})  # of the engine


async def load_session(
    context: Context, record: Record, info: ContainerInfo | None = None
) -> Session:
    """Return the current session; inspects its container unless it is given."""
    return build_session(context, record, info or await find_container(context, record))


async def find_container(context: Context, record: Record) -> ContainerInfo | None:
    """Return the container of a session, or None if it has none."""
    if record.type != "container" or record.state in lifecycle.ENDED_STATES:
        return None
    engine, name = context.engine, container_name(record.id)
    info = await containers.find(engine, name)
    # paused sessions have none, and starting ones not yet
    missing = info is None and record.state in {State.RUNNING, State.FAILED}
    if missing and await containers.restore_name(engine, record.id, context.store.owns):
        return await containers.find(engine, name)
    return info


async def list_sessions(context: Context, repo: str | None, *, every: bool) -> ListResult:
    """Return sessions, with the number of session containers on the engine."""
    records = context.store.read_all()
    if repo is not None:
        found = await lookup.find_repo(context, repo)
        key = lookup.RepositoryKey(str(found.top), str(found.common))
        records = [r for r in records if key.has(r)]
    if not every:
        records = [r for r in records if r.state not in lifecycle.ENDED_STATES]
    settings = context.settings(None)
    containers_seen = await _list_containers(context, records, enabled=settings.container.enabled)
    by_name = {one.name: one for one in containers_seen}
    if any(_lacks_container(r, by_name) for r in records):
        for one in await containers.list_renamed(context.engine):
            if one.session is not None and context.store.owns(one.home):
                by_name.setdefault(container_name(one.session), one)
    return ListResult(
        sessions=tuple(
            _shorten_prompt(build_session(context, r, by_name.get(container_name(r.id))))
            for r in records
        ),
        running=len(containers_seen),
        limit=settings.container.max_running,
    )


def _lacks_container(record: Record, found: Mapping[str, ContainerInfo]) -> bool:
    """Return whether a running session has no container with its name."""
    if record.type != "container" or record.state is not State.RUNNING or record.doing:
        return False
    return container_name(record.id) not in found


def _shorten_prompt(session: Session) -> Session:
    """Shorten a long prompt, because every change sends the whole list."""
    if len(session.prompt) <= MAX_LISTED_PROMPT:
        return session
    return session.model_copy(update={"prompt": f"{session.prompt[: MAX_LISTED_PROMPT - 1]}…"})


def build_session(context: Context, record: Record, info: ContainerInfo | None) -> Session:
    """Return the session for a record and its container, cached until one of them changes."""
    report = None
    if record.agent is not None and _can_report(record, info):
        folder = f"{context.store.home}/agents/{record.id}"
        report = reported.state_stamp(folder), reported.is_supervised(folder)
    inputs = (record, info, report, clock.observed_jumps())
    cached = context.session_cache.get(record.id)
    if cached is not None and cached.inputs == inputs:
        return cached.session
    session = _build(context, record, info)
    context.session_cache[record.id] = CacheEntry(inputs, session)
    return session


def _can_report(record: Record, info: ContainerInfo | None) -> bool:
    """Return whether the agent may have a new report; hundreds of paused ones are not read."""
    if record.state is State.PAUSED:
        return info is not None and info.state in _RUNNING_STATES
    return record.state not in lifecycle.ENDED_STATES


def _build(context: Context, record: Record, info: ContainerInfo | None) -> Session:
    state, problem = _current_state(record, info)
    container = None
    if info is not None and record.type == "container":
        container = Container(id=info.id, name=info.name, image=record.image)
    return Session(
        id=record.id,
        name=record.name,
        type=record.type,
        state=state,
        repo=record.repo,
        base=record.base,
        branch=record.branch,
        workspace=_workspace_path(context, record, info),
        container=container,
        engine=record.engine or None,
        title=_title(record),
        agent=_build_agent(context, record, state),
        prompt=record.prompt,
        created_at=record.created_at,
        updated_at=record.updated_at,
        problem=problem,
        warnings=(*record.warnings, *_start_hints(record, state)),
    )


def _start_hints(record: Record, state: State) -> tuple[str, ...]:
    """Return a warning that a person must start the agent of a worktree session."""
    if record.type != "worktree" or not record.prompt or state is not State.RUNNING:
        return ()
    start = f"para open {record.name}"
    return (f"Nothing runs automatically in a worktree: start the agent as {start} shows",)


def _title(record: Record) -> str:
    lines = map(str.strip, record.prompt[:_MAX_TITLE_SEARCH].splitlines())
    return one_line(next(filter(None, lines), record.name), _MAX_TITLE)


def _workspace_path(context: Context, record: Record, info: ContainerInfo | None) -> str | None:
    """Return the path of a workspace on the host, or None if this user cannot see it."""
    if record.state in lifecycle.ENDED_STATES:
        return None
    if not record.bases:
        return str(context.store.workspace(record.id))
    mounted = info.volumes.get(overlay_volume_name(record.id)) if info is not None else None
    # a mount point of the engine, which only root can see, while the container runs
    return mounted if mounted and os.path.ismount(mounted) else None


def _current_state(record: Record, info: ContainerInfo | None) -> tuple[State, Problem | None]:
    if record.state not in {State.RUNNING, State.PAUSED} or record.type == "worktree":
        return record.state, record.problem
    if record.doing is not None:
        return record.state, None  # a command is changing the container
    if info is not None and info.state in _RUNNING_STATES:
        return State.RUNNING, None
    if record.state is State.PAUSED or (info is not None and info.state == "paused"):
        return State.PAUSED, None
    condition = "has stopped" if info is not None else "is gone"
    return State.FAILED, _stopped_problem(record, f"The container of {record.name} {condition}")


def _stopped_problem(record: Record, message: str) -> Problem:
    params = {"name": record.name, "repo": record.repo}
    return Problem(
        slug="session.stopped",
        message=message,
        remedies=(
            Remedy(title="Resume it", command="para.resume", params=params),
            Remedy(title="Cancel it and archive its work", command="para.cancel", params=params),
        ),
    )


def _build_agent(context: Context, record: Record, state: State) -> Agent | None:
    if record.type == "worktree" or record.agent is None or not record.prompt:
        return None
    alive = state in {State.RUNNING, State.PREPARING, State.PAUSED}
    folder = context.store.agent_folder(record.id)
    # while a command is changing it, processes start and end
    works = state is State.RUNNING and record.doing is None
    supervised = not works or reported.is_supervised(folder)
    started = not record.unbegun
    agent = reported.read_state(
        folder, record.agent, alive=alive, supervised=supervised, started=started
    )
    if state is not State.RUNNING:
        return agent
    until = time_limits.pause_time(
        record, agent, context.settings(None).agent, clock.observed_jumps()
    )
    return agent if until is None else time_limits.with_pause_notice(agent, until)


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
        return ()  # worktree sessions need no engine
