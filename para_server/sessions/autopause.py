"""Pause sessions whose time limit in the user's settings is reached."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from para_server.agents import reported
from para_server.concurrency.cancellation import run_to_end
from para_server.context import Context
from para_server.core import time_limits
from para_server.core.models import State
from para_server.core.records import Record
from para_server.core.settings import AgentSettings
from para_server.host import clock
from para_server.sessions import locking
from para_server.sessions.suspend import save_session

_log = logging.getLogger(__name__)


async def pause_due_sessions(context: Context) -> None:
    """Pause the sessions whose time limit is reached; only one of several processes does it.

    The limit is computed from records and agents' reports, without a request to the engine.
    """
    settings = context.settings(None).agent
    clock.observed_jumps()  # note a jump as soon as possible
    if not (settings.max_minutes or settings.idle_minutes):
        return
    for record in context.store.read_all():
        if not _is_due(context, record, settings):
            continue
        try:
            async with locking.locked_session(context, "pause", record.name, record.repo) as (
                locked,
                *_,
            ):
                if _is_due(context, locked, settings):  # no other process has paused it
                    _log.info("time limit reached, pausing", extra={"session": locked.name})
                    await _pause(context, locked)
        except Exception as error:  # noqa: BLE001 # one failure must not keep the others from pausing
            reason = str(error) or type(error).__name__
            _log.info("not paused: %s", reason, extra={"session": record.name})


async def _pause(context: Context, record: Record) -> None:
    """Pause a session; a cancellation is passed on to the pause and raised after it."""
    saving = asyncio.ensure_future(save_session(context, record))
    await run_to_end(saving, saving.cancel)


def _is_due(context: Context, record: Record, settings: AgentSettings) -> bool:
    is_running = record.state is State.RUNNING and record.doing is None
    if record.agent is None or not record.prompt or record.type == "worktree" or not is_running:
        return False
    folder = context.store.agent_folder(record.id)
    supervised = reported.is_supervised(folder)
    started = not record.unbegun
    agent = reported.read_state(
        folder, record.agent, alive=True, supervised=supervised, started=started
    )
    until = time_limits.pause_time(record, agent, settings, clock.observed_jumps())
    return until is not None and until <= datetime.now(UTC)
