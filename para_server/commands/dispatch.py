"""Start sessions: `para.dispatch` and `para.start`."""

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

_MAX_TRIES: Final = 50
_SUBMODULES: Final = ".gitmodules"
_NO_SUBMODULES: Final = (
    "Submodules are empty in a new session: git submodule update --init in it fetches them, "
    "if it can reach their URLs"
)


@command("para.dispatch", "Dispatch Agent")
async def dispatch(context: Context, params: DispatchParams) -> Session:
    """Start a session and its agent with a prompt.

    The agent works in its own container on a private clone of the repository.
    """
    prompt = await task_prompt.read_prompt(context, params)
    return await _start_session(context, params, prompt)


@command("para.start", "Start Session")
async def start(context: Context, params: StartParams) -> Session:
    """Start a session without an agent, for a person to work in."""
    return await _start_session(context, params, "")


async def _start_session(context: Context, params: StartParams, prompt: str) -> Session:
    repo = await lookup.find_repo(context, params.repo)
    settings = context.settings(repo.top, _settings_of(params))
    kind = _choose_type(params, settings)
    if kind == "worktree":  # a repository must not choose what a person runs on the host
        own = context.settings(None, _settings_of(params))
        settings = settings.model_copy(update={"agent": own.agent})
    agent = find_profile(settings.agent.name, settings.agent).name if prompt else None
    base = await repository.resolve_commit(repo, params.base or "HEAD")
    await repository.require_complete_commit(repo, base)
    image = ""
    if kind == "container":
        _require_one_line_path(repo)
        # refuse files that a container cannot own before anything is created
        image, _ = await run_both(
            credentials.choose_image(context, settings, agent), file_ownership.find_owner(context)
        )
        if context.repository_chose_image(repo.top, settings, _settings_of(params)):
            await credentials.require_no_private_content(context, image)
        await credentials.require_login(context, settings, agent, image)
        await engine_trial.require_shared_files(context)
        if settings.container.network == "allowlist":
            raise _no_allowlist_error()
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
        engine=context.engine.name if kind == "container" else "",
        objects=settings.git.objects,
        prompt=prompt,
        conversation=str(uuid4()) if agent else None,
        created_at=now,
        updated_at=now,
    )
    async with AsyncExitStack() as locks, rollback_on_failure() as rollback:
        async with context.store.locked_names():
            record = await _choose_name(context, repo, params, settings, draft)
            await locks.enter_async_context(context.store.locked_session(record.id))
            rollback.push_async_callback(reconcile.roll_back_start, context, record)
            context.store.write(record)
        disk_reserve.create(context.store.home)
        context.report(f"Preparing {record.name}", 10)
        start_point = StartPoint(branch=record.branch, tip=base, anchor=base)
        problem = None
        (record, has_script), (_, warnings) = await run_both(
            run_both(
                checkout_cache.find_or_create(context, repo, record, settings, start_point),
                setup_script.can_have_script(context, repo, record),
            ),
            run_both(
                provision.keep_base_commit(context, repo, record, base, new=True),
                _find_warnings(repo, record),
            ),
        )
        if kind == "container" and not has_script:
            await agents.prepare_agent(context, record)
        container = await provision.provision_session(
            context, repo, record, settings, image, start_point
        )
        record = context.store.read_record(record.id) or record  # warnings may have been added
        if has_script:
            problem = await setup_script.run_script(context, record)
        if kind == "container" and problem is None:
            problem = await agents.start_agent(context, record)
        # built before the record is written: nothing may fail afterwards
        ready = record.updated(
            state=State.FAILED if problem else State.RUNNING,
            doing=None,
            problem=problem,
            warnings=(*record.warnings, *warnings),
            started_at=datetime.now(UTC),
        )
        # a script takes long, so the container is inspected again
        session = await present.load_session(
            context, ready, None if has_script or problem else container
        )
        context.store.write(ready)
    return session


async def _find_warnings(repo: Repo, record: Record) -> tuple[str, ...]:
    of_submodules = await _submodule_warnings(repo, record)
    if record.type == "worktree":
        return of_submodules
    of_filters, of_setup = await run_both(
        filters.list_warnings(repo, record.base), setup_script.find_warnings(repo, record)
    )
    return (*of_filters, *of_setup, *of_submodules, *repo.warnings)


async def _submodule_warnings(repo: Repo, record: Record) -> tuple[str, ...]:
    """Return a warning if submodules are empty; runs git only if the work tree has some."""
    if not os.path.lexists(repo.top / _SUBMODULES):
        return ()
    if not await repository.has_path(repo, record.base, _SUBMODULES):
        return ()
    return (_NO_SUBMODULES,)


async def _choose_name(
    context: Context, repo: Repo, params: StartParams, settings: Settings, draft: Record
) -> Record:
    """Choose name, id and branch; raises session.name-taken and workspace.branch-exists.

    For a container session, `keep_base_commit` checks whether the branch exists.
    """
    siblings = [r for r in context.store.read_all() if r.refs_at == draft.refs_at]
    active = [r for r in siblings if r.state not in ENDED_STATES]
    name = params.name or await _generate_free_name(repo, settings, {r.name for r in siblings})
    if name in {r.name for r in active}:
        raise _name_taken_error(name, draft.repo)
    branch = params.branch or f"{settings.git.branch_prefix}{name}"
    await repository.require_branch_name(repo, branch)
    exists = branch in {r.branch for r in active}
    # rolling back a worktree deletes its branch, which must therefore be a new one
    if not exists and draft.type == "worktree":
        exists = await repository.resolve_branch(repo, branch) is not None
    if exists:
        raise repository.branch_exists_error(branch)
    return draft.updated(id=generate_session_id(name), name=name, branch=branch)


async def _generate_free_name(repo: Repo, settings: Settings, taken: set[str]) -> str:
    for _ in range(_MAX_TRIES):
        name = generate_name()
        branch = f"{settings.git.branch_prefix}{name}"
        if name not in taken and await repository.resolve_branch(repo, branch) is None:
            return name
    return generate_session_id(generate_name())


def _settings_of(params: StartParams) -> dict[str, dict[str, object]]:
    return {
        "container": {"image": params.image, "network": params.network},
        "agent": {"name": params.agent},
    }


def _require_one_line_path(repo: Repo) -> None:
    """Raise workspace.git-failed if the path has a line break, which git alternates cannot have."""
    if "\n" not in str(repo.objects):
        return
    raise ParaError(
        "workspace.git-failed",
        f"The path {one_line(str(repo.top))} has a line break: a container cannot use git objects "
        "from there",
        Remedy(title="Rename the folder, or use --type worktree"),
    )


def _choose_type(params: StartParams, settings: Settings) -> SessionType:
    if params.type is not None:
        return params.type
    return "container" if settings.container.enabled else "worktree"


def _no_allowlist_error() -> ParaError:
    return ParaError(
        "settings.invalid",
        "The network allowlist is not implemented yet: use bridge, host or none",
        Remedy(title="Choose a network", setting="container.network"),
    )


def _name_taken_error(name: str, repo: str) -> ParaError:
    return ParaError(
        "session.name-taken",
        f"Session {name} already exists",
        Remedy(title="Show it", command="para.show", params={"name": name, "repo": repo}),
        Remedy(title="Leave out the name to generate one"),
        SHOW_SESSIONS,
    )
