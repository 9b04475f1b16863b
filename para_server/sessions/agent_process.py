"""Start, suspend and resume the agent of a session, and send text to it."""

from __future__ import annotations

import asyncio
import logging
import unicodedata
from pathlib import Path
from typing import Final, NamedTuple

from para_server.agents import reported, supervisor
from para_server.agents.profile import CONTINUE_PROMPT, Profile, fill_command_line
from para_server.agents.profiles import find_profile
from para_server.context import Context
from para_server.core.container_spec import AGENT_FOLDER
from para_server.core.errors import CHECK_SETUP, ParaError, Problem, Remedy
from para_server.core.models import AgentState
from para_server.core.names import container_name
from para_server.core.records import Record
from para_server.core.settings import AgentSettings
from para_server.engine import containers, exec_command
from para_server.sessions import credentials, file_ownership

_log = logging.getLogger(__name__)
_POLL_INTERVAL: Final = 0.002  # seconds
_VERIFY_AFTER: Final = 5.0  # seconds without a start until the container is checked
_PROBE_COMMAND: Final = ("sh", "-c", f"id -u; [ -w {AGENT_FOLDER}/out ]")
_ALIVE: Final = frozenset({"running", "restarting", "paused"})  # the engine's own words
_INTERRUPTED: frozenset[AgentState] = frozenset({AgentState.WORKING, AgentState.WAITING})


class _NotStartedError(ParaError):
    """The container exists, but the agent in it cannot start: waiting longer would not help."""


class _AgentStart(NamedTuple):
    """Inputs of an agent's start: `template` and `prompt` make its command line."""

    settings: AgentSettings
    profile: Profile
    template: tuple[str, ...]
    prompt: str


async def prepare_agent(context: Context, record: Record) -> None:
    """Prepare the agent to start together with its container, unless it needs secrets.

    Secrets are passed to an exec only, because a container's environment can be inspected.
    """
    if record.agent is None or not record.prompt:
        return
    settings, profile = _resolve_profile(context, record, record.agent)
    if not credentials.read_secrets(context, settings):
        folder = context.store.agent_folder(record.id)
        await _write_instructions(
            context, record, _AgentStart(settings, profile, profile.start, record.prompt)
        )
        supervisor.enable_autostart(folder)


async def start_agent(context: Context, record: Record) -> Problem | None:
    """Start the agent on its task and return None, or the problem if it cannot start.

    A session without a task has no agent to start. The container is kept for inspection.
    """
    try:
        await _start_agent(context, record)
    except _NotStartedError as error:
        params: dict[str, object] = {"name": record.name, "repo": record.repo}
        end = Remedy(title="Cancel it and archive its work", command="para.cancel", params=params)
        remedies = (*error.problem.remedies, end)
        return error.problem.model_copy(update={"remedies": remedies})
    return None


async def _start_agent(context: Context, record: Record) -> None:
    if record.agent is None or not record.prompt:
        return
    folder = context.store.agent_folder(record.id)
    if not supervisor.is_autostart_enabled(folder):
        settings, profile = _resolve_profile(context, record, record.agent)
        await _run_supervised(
            context, record, _AgentStart(settings, profile, profile.start, record.prompt)
        )
        return
    outcome = await _wait_for_start(context, record)
    supervisor.disable_autostart(folder)
    _verify_started(record, *outcome)


async def resume_agent(context: Context, record: Record, more: str | None) -> None:
    """Resume the agent's conversation; `more` is the text to send to it.

    Without `more`, an agent that was interrupted is told to continue, and one that had completed
    its turn is only reopened.
    """
    if record.agent is None or not record.prompt:
        return
    settings, profile = _resolve_profile(context, record, record.agent)
    folder = context.store.agent_folder(record.id)
    state = reported.read_state(folder, record.agent, alive=True, started=not record.unbegun).state
    is_interrupted = state in _INTERRUPTED or (state is AgentState.FAILED and bool(profile.resume))
    if more is None and state is AgentState.STARTING:
        more = record.prompt
    if not supervisor.has_conversation(folder, profile, record.conversation or ""):
        # it never started, or cannot continue a conversation
        if more is not None or is_interrupted:
            prompt = _combine_prompts(record, more) if profile.resume else more or record.prompt
            await _restart_agent(
                context, record, _AgentStart(settings, profile, profile.start, prompt)
            )
    elif more is not None or is_interrupted:
        await _restart_agent(
            context, record, _AgentStart(settings, profile, profile.resume, more or CONTINUE_PROMPT)
        )
    elif profile.reopen:
        await _restart_agent(context, record, _AgentStart(settings, profile, profile.reopen, ""))


async def suspend_agent(context: Context, record: Record) -> None:
    """End the agent gently by its own signal, and wait for a limited time."""
    if record.agent is None or not record.prompt:
        return
    _, profile = _resolve_profile(context, record, record.agent)
    command = supervisor.end_command(profile)
    try:
        await exec_command.execute(context.engine, container_name(record.id), command)
    except ParaError as error:
        if error.slug != "engine.timeout":
            raise
        # a session that replaced programs of its container must not prevent its stop
        _log.warning("the agent did not end in time: %s", error, extra={"session": record.name})


def can_continue_conversation(context: Context, record: Record) -> bool:
    """Return whether the agent can continue its conversation after it was ended."""
    if record.agent is None or not record.prompt:
        return False
    return bool(_resolve_profile(context, record, record.agent)[1].resume)


async def _restart_agent(context: Context, record: Record, agent_start: _AgentStart) -> None:
    """Start the agent again; one that is running is ended first."""
    await suspend_agent(context, record)
    await _run_supervised(context, record, agent_start)


def can_accept_text(context: Context, record: Record) -> bool:
    """Return whether the agent accepts text while it is working."""
    if record.agent is None:
        return False
    _, profile = _resolve_profile(context, record, record.agent)
    return profile.manner == "terminal" or not profile.resume


async def _run_supervised(context: Context, record: Record, agent_start: _AgentStart) -> None:
    """Start the agent under its supervisor; none may be running."""
    secrets = await _write_instructions(context, record, agent_start)
    command, environment = supervisor.start_command(secrets)
    name = container_name(record.id)
    outcome = await exec_command.execute(context.engine, name, command, environment=environment)
    _verify_started(record, *outcome)


async def _write_instructions(
    context: Context, record: Record, agent_start: _AgentStart
) -> dict[str, str]:
    """Write the agent's instructions, and return its secrets, which are never written."""
    settings, profile, template, prompt = agent_start
    folder = context.store.agent_folder(record.id)
    permission_args = profile.skip if settings.permissions == "skip" else profile.ask
    argv = fill_command_line(
        template, prompt, record.conversation or "", (*permission_args, *settings.args)
    )
    secrets = credentials.read_secrets(context, settings)
    secrets = {profile.renames.get(name, name): value for name, value in secrets.items()}
    supervisor.prepare_folder(folder, (await file_ownership.find_owner(context)).host)
    environment = context.settings(None).container.env | secrets
    supervisor.write_instructions(folder, profile, argv, prompt, environment)
    if prompt:
        reported.remove_state(folder)
    return secrets


async def _wait_for_start(context: Context, record: Record) -> tuple[int, str]:
    """Wait for an agent that starts with its container; return its exit code and output."""
    folder = context.store.agent_folder(record.id)
    clock = asyncio.get_running_loop().time
    verify_at = clock() + _VERIFY_AFTER
    try:
        async with asyncio.timeout(context.engine.settings.timeout):
            while (outcome := reported.read_start(folder)) is None:
                # polled: an engine in a virtual machine sends no file events
                await asyncio.sleep(_POLL_INTERVAL)
                if clock() >= verify_at:
                    await _verify_can_start(context, record)
                    verify_at = clock() + _VERIFY_AFTER
    except TimeoutError:
        message = f"The agent of {record.name} did not start in time"
        raise ParaError(
            "agent.not-started",
            message,
            Remedy(title="Increase the timeout", setting="engine.timeout"),
        ) from None
    return outcome


async def _verify_can_start(context: Context, record: Record) -> None:
    """Raise agent.not-started if the agent can never start in this container."""
    name = container_name(record.id)
    container = await containers.find(context.engine, name)
    if container is None or container.state not in _ALIVE:
        condition = "is gone" if container is None else f"has stopped ({container.status})"
        raise _not_started_error(record, f"its container {condition}")
    code, output = await exec_command.execute(context.engine, name, _PROBE_COMMAND, workdir="/")
    if code != 0:
        uid = output.strip() or "another"
        raise _not_started_error(
            record, f"user {uid} of its image cannot write to {AGENT_FOLDER}/out"
        )


def _not_started_error(record: Record, why: str) -> ParaError:
    return _NotStartedError(
        "agent.not-started",
        f"The agent of {record.name} could not be started: {why}",
        Remedy(title="Choose another image", setting="container.image"),
        CHECK_SETUP,
    )


def _verify_started(record: Record, code: int, output: str) -> None:
    if code == 0:
        return
    raise _NotStartedError(
        "agent.not-started",
        f"The agent could not be started in {record.image}, which needs bash and tmux: "
        f"{output.strip()}",
        Remedy(title="Choose another image", setting="container.image"),
    )


def _combine_prompts(record: Record, more: str | None) -> str:
    """Join a task and its addition, for an agent that has seen neither."""
    return record.prompt if more in {None, record.prompt} else f"{record.prompt}\n\n{more}"


def _resolve_profile(context: Context, record: Record, name: str) -> tuple[AgentSettings, Profile]:
    settings = context.settings(Path(record.repo)).agent
    return settings, find_profile(name, settings)


def can_be_typed(text: str) -> bool:
    """Return whether a text can be typed at a terminal: a control character would be a key."""
    return not any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in text)


async def send_text(context: Context, record: Record, text: str) -> None:
    """Type a text for the agent, or start it again on the text; the session is locked."""
    command = supervisor.send_command(context.store.agent_folder(record.id), text)
    code, output = await exec_command.execute(context.engine, container_name(record.id), command)
    if code == supervisor.EXIT_NO_AGENT:
        await resume_agent(context, record, text)
    elif code == supervisor.EXIT_DIALOG:
        raise ParaError(
            "engine.refused",
            f"The agent of {record.name} asked a question during the send: open it first",
            Remedy(
                title="Open it",
                command="para.open",
                params={"name": record.name, "repo": record.repo},
            ),
        )
    elif code != 0:
        raise ParaError(
            "engine.refused", f"Sending to {record.name} failed: {output.strip() or code}"
        )
