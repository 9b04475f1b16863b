"""The only place that starts sessions: `para.dispatch` and `para.start`."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from para_server.agents.profiles import find_profile
from para_server.concurrency.cancellation import rollback_on_failure, run_both
from para_server.context import Context
from para_server.core.errors import SHOW_SESSIONS, ParaError, Remedy
from para_server.core.lifecycle import ENDED_STATES
from para_server.core.models import Session, SessionType, State
from para_server.core.names import generate_name, generate_session_id
from para_server.core.params import DispatchParams, StartParams
from para_server.core.records import Record
from para_server.core.settings import Settings
from para_server.core.untrusted import one_line
from para_server.diagnostics import engine_trial
from para_server.git import filters, repository
from para_server.git.clone import StartPoint
from para_server.git.repository import Repo
from para_server.host import disk_reserve
from para_server.registry import command
from para_server.sessions import agent_process as agents
from para_server.sessions import (
    credentials,
    file_ownership,
    lookup,
    present,
    provision,
    reconcile,
    setup_script,
    task_prompt,
)
from para_server.sessions.workspace import checkout_cache

_TRIES: Final = 50
_SUBMODULES: Final = ".gitmodules"
_NO_SUBMODULES: Final = (
    "A new session has no files of submodules: git submodule update --init in it fetches them, "
    "where it can reach their addresses"
)


@command("para.dispatch", "Dispatch Agent")
async def dispatch(context: Context, params: DispatchParams) -> Session:
    """Start a session with a task for an agent.

    The agent works in a container of its own, on a private clone of the repository.
    """
    prompt = await task_prompt.read_prompt(context, params)
    return await _started(context, params, prompt)


@command("para.start", "Start Session")
async def start(context: Context, params: StartParams) -> Session:
    """Start a session for a person: a container and a clone, without an agent."""
    return await _started(context, params, "")


async def _started(context: Context, params: StartParams, prompt: str) -> Session:
    repo = await lookup.find_repo(context, params.repo)
    settings = context.settings(repo.top, _own(params))
    kind = _type_of(params, settings)
    if kind == "worktree":  # what its person is to run there, no repository chooses
        own = context.settings(None, _own(params))
        settings = settings.model_copy(update={"agent": own.agent})
    agent = find_profile(settings.agent.name, settings.agent).name if prompt else None
    base = await repository.resolve_commit(repo, params.base or "HEAD")
    await repository.require_complete_commit(repo, base)
    image = ""
    if kind == "container":
        _demand_one_line(repo)
        # what no container could write to is not even begun
        image, _ = await run_both(
            credentials.choose_image(context, settings, agent), file_ownership.find_owner(context)
        )
        if context.chose_image(repo.top, settings, _own(params)):
            await credentials.demand_without_login(context, image)
        await credentials.demand_login(context, settings, agent, image)
        await engine_trial.demand_same_files(context)
        if settings.container.network == "allowlist":
            raise _no_allowlist()
    now = datetime.now(UTC)
    draft = Record(
        id="",
        name="",
        type=kind,
        state=State.PREPARING,
        doing="start",
        repo=str(repo.top),
        common=str(repo.common),
        base=base,
        branch="",
        agent=agent,
        image=image,
        network=settings.container.network,
        objects=settings.git.objects,
        prompt=prompt,
        conversation=str(uuid4()) if agent else None,
        created_at=now,
        updated_at=now,
    )
    async with AsyncExitStack() as holds, rollback_on_failure() as rollback:
        async with context.store.locked_names():
            record = await _named(context, repo, params, settings, draft)
            await holds.enter_async_context(context.store.locked_session(record.id))
            rollback.push_async_callback(reconcile.roll_back_start, context, record)
            context.store.write(record)
        disk_reserve.create(context.store.home)
        context.report(f"Preparing {record.name}", 10)
        beginning = StartPoint(branch=record.branch, tip=base, anchor=base)
        problem = None
        (record, scripted), (_, warnings) = await run_both(
            run_both(
                checkout_cache.find_or_create(context, repo, record, settings, beginning),
                setup_script.can_have_script(context, repo, record),
            ),
            run_both(
                provision.keep_base_commit(context, repo, record, base, new=True),
                _warnings(repo, record),
            ),
        )
        if kind == "container" and not scripted:
            await agents.prepare_agent(context, record)
        seen = await provision.provision_session(context, repo, record, settings, image, beginning)
        record = context.store.read_record(record.id) or record  # there may be warnings
        if scripted:
            problem = await setup_script.run_script(context, record)
        if kind == "container" and problem is None:
            problem = await agents.start_agent(context, record)
        # shown before it is written: afterwards nothing may fail
        ready = record.but(
            state=State.FAILED if problem else State.RUNNING,
            doing=None,
            problem=problem,
            warnings=(*record.warnings, *warnings),
            started_at=datetime.now(UTC),
        )
        # a script takes its time, in which anything may happen
        session = await present.load_session(context, ready, None if scripted or problem else seen)
        context.store.write(ready)
    return session


async def _warnings(repo: Repo, record: Record) -> tuple[str, ...]:
    of_submodules = await _of_submodules(repo, record)
    if record.type == "worktree":
        return of_submodules
    of_filters, of_setup = await run_both(
        filters.list_warnings(repo, record.base), setup_script.find_warnings(repo, record)
    )
    return (*of_filters, *of_setup, *of_submodules, *repo.warnings)


async def _of_submodules(repo: Repo, record: Record) -> tuple[str, ...]:
    """Say so where submodules are empty; git is asked only where there may be some."""
    if not os.path.lexists(repo.top / _SUBMODULES):
        return ()
    if not await repository.has_path(repo, record.base, _SUBMODULES):
        return ()
    return (_NO_SUBMODULES,)


async def _named(
    context: Context, repo: Repo, params: StartParams, settings: Settings, draft: Record
) -> Record:
    """Choose name, id and branch; raises session.name-taken and workspace.branch-exists.

    For a container, git says while the base is kept whether it has the branch already.
    """
    mine = [r for r in context.store.read_all() if r.refs_at == draft.refs_at]
    live = [r for r in mine if r.state not in ENDED_STATES]
    name = params.name or await _free_name(repo, settings, {r.name for r in mine})
    if name in {r.name for r in live}:
        raise _name_taken(name, draft.repo)
    branch = params.branch or f"{settings.git.branch_prefix}{name}"
    await repository.require_branch_name(repo, branch)
    exists = branch in {r.branch for r in live}
    # a worktree that is undone takes its branch with it, which must then be its own
    if not exists and draft.type == "worktree":
        exists = await repository.resolve_branch(repo, branch) is not None
    if exists:
        raise repository.branch_exists_error(branch)
    return draft.but(id=generate_session_id(name), name=name, branch=branch)


async def _free_name(repo: Repo, settings: Settings, taken: set[str]) -> str:
    for _ in range(_TRIES):
        name = generate_name()
        branch = f"{settings.git.branch_prefix}{name}"
        if name not in taken and await repository.resolve_branch(repo, branch) is None:
            return name
    return generate_session_id(generate_name())


def _own(params: StartParams) -> dict[str, dict[str, object]]:
    return {
        "container": {"image": params.image, "network": params.network},
        "agent": {"name": params.agent},
    }


def _demand_one_line(repo: Repo) -> None:
    """Refuse a repository that a clone cannot borrow from: git names one to a line."""
    if "\n" not in str(repo.objects):
        return
    raise ParaError(
        "workspace.git-failed",
        f"{one_line(str(repo.top))} has a line break in its path: git lends a container no objects "
        "from there",
        Remedy(title="Move it, or use --type worktree"),
    )


def _type_of(params: StartParams, settings: Settings) -> SessionType:
    if params.type is not None:
        return params.type
    return "container" if settings.container.enabled else "worktree"


def _no_allowlist() -> ParaError:
    return ParaError(
        "settings.invalid",
        "The network allowlist is not there yet: choose bridge, host or none",
        Remedy(title="Choose a network", setting="container.network"),
    )


def _name_taken(name: str, repo: str) -> ParaError:
    return ParaError(
        "session.name-taken",
        f"There is a session {name} already",
        Remedy(title="Show it", command="para.show", params={"name": name, "repo": repo}),
        Remedy(title="Leave the name out, and one is made up"),
        SHOW_SESSIONS,
    )
