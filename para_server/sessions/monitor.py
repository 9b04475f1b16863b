"""Watch records, agents' reports and the engine, and yield the changed list of sessions."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

from para_server.concurrency import throttle
from para_server.context import Context
from para_server.core import call_limits, status_bar
from para_server.core.errors import ParaError
from para_server.core.models import Session, State
from para_server.core.results import Attention, ListResult, SessionsChanged
from para_server.engine import events
from para_server.host import file_watcher
from para_server.sessions import orphans, present, reconcile
from para_server.sessions.notification_scope import NotificationScope

_log = logging.getLogger(__name__)
_RETRY_DELAY: Final = 1.0  # seconds until the first retry after the engine's events end
_MAX_RETRY_DELAY: Final = 15.0  # seconds
_BATCH_SECONDS: Final = 0.02  # seconds in which changes are sent as one


async def watch_sessions(
    context: Context, scope: NotificationScope
) -> AsyncGenerator[SessionsChanged]:
    """Yield the notification for a client: once at the start, then after every change."""
    changed = asyncio.Event()
    changed.set()
    context.store.make_folders()
    watchers = [
        asyncio.create_task(_watch_files(context, changed)),
        asyncio.create_task(_watch_engine(context, changed)),
    ]
    previous: SessionsChanged | None = None
    previous_sessions: tuple[Session, ...] | None = None
    clock = asyncio.get_running_loop().time
    pace = throttle.RefreshPace()
    calls = call_limits.CallHistory()
    try:
        while True:
            with suppress(TimeoutError):  # a summary of limited notifications is due
                async with asyncio.timeout_at(call_limits.next_due(calls)):
                    await changed.wait()
            # one refresh covers all changes during the delay
            await asyncio.sleep(throttle.refresh_delay(pace, clock()))
            changed.clear()
            started_at = clock()
            current = await _current_state(context)
            starting = sum(one.state is State.PREPARING for one in current.sessions)
            pace = throttle.record_refresh(pace, started_at, clock(), starting)
            events: tuple[Attention, ...] = ()
            if current.status_bar.severity != "error":  # then it has no sessions
                new_events = status_bar.new_attention(
                    current.sessions if previous_sessions is None else previous_sessions,
                    current.sessions,
                )
                events = tuple([e for e in new_events if await scope.includes(e.repo)])
                previous_sessions = current.sessions
                ids = {session.id for session in current.sessions}
                calls, events = call_limits.admit(calls, events, ids, clock())
            if current != previous or events:
                yield current.model_copy(update={"attention": events})
            previous = current
            await asyncio.sleep(_BATCH_SECONDS)
    finally:
        for watcher in watchers:
            watcher.cancel()
        scope.close()
        await asyncio.wait(watchers)


async def _current_state(context: Context) -> SessionsChanged:
    try:
        listed = await present.list_sessions(context, None, every=False)
    except ParaError as error:
        empty = ListResult(sessions=(), running=0, limit=container_limit(context))
        return SessionsChanged(**dict(empty), status_bar=status_bar.engine_unreachable(str(error)))
    bar = status_bar.create_status_bar(listed.sessions, listed.running, listed.limit)
    return SessionsChanged(**dict(listed), status_bar=bar)


def container_limit(context: Context) -> int:
    """Return the limit of containers, or 0 if the settings are invalid."""
    try:
        return context.settings(None).container.max_running
    except ParaError:
        return 0


async def _watch_engine(context: Context, changed: asyncio.Event) -> None:
    """Follow the engine's events; reconnect with increasing delays when they end."""
    pause = _RETRY_DELAY
    while True:
        try:
            async for name in events.watch_session_containers(context.engine):
                pause = _RETRY_DELAY
                if not name:  # connected: events may have been missed before
                    await _clean_up(context)
                changed.set()
        except ParaError as error:
            _log.info("no events from the engine: %s", error)
            changed.set()
        await asyncio.sleep(pause)
        pause = min(pause * 2, _MAX_RETRY_DELAY)


async def _clean_up(context: Context) -> None:
    try:
        await reconcile.reconcile_all(context)
        await orphans.remove_orphans(context)
    except ParaError as error:
        _log.info("reconciling failed: %s", error)


async def _watch_files(context: Context, changed: asyncio.Event) -> None:
    """Follow changes of records and of agents' reports.

    Each agent's folder is watched without its subfolders, which belong to the agent.
    """
    async for _ in file_watcher.watch(
        context.store.records_folder, lambda: _agent_folders(context)
    ):
        context.store.invalidate_cache()
        changed.set()


def _agent_folders(context: Context) -> list[str]:
    # scandir and no Path: this runs often while many sessions start
    try:
        with os.scandir(f"{context.store.home}/agents") as entries:
            return [f"{entry.path}/out" for entry in entries]
    except FileNotFoundError:
        return []
