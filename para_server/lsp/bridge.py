"""Run commands and background work for an editor.

This module imports everything that commands need, so import it after `initialize` is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import para_server.commands.all  # noqa: F401 # fills the registry
from para_server.context import Context, Report, parse_path
from para_server.core.errors import ParaError
from para_server.lsp.capabilities import Client, get_nested
from para_server.lsp.protocol import Json
from para_server.registry import COMMANDS, call
from para_server.sessions import autopause
from para_server.sessions.monitor import watch_sessions
from para_server.sessions.notification_scope import NotificationScope
from para_server.sessions.reconcile import reconcile_all

logger = logging.getLogger(__name__)
_MAX_RETRY_DELAY: Final = 60.0  # seconds between attempts to watch the sessions


def create_context(base: Context, client: Client) -> Context:
    """Return the context for this client's commands."""
    folders = _parse_paths(client.folders)
    return replace(
        base,
        folders=folders,
        cwd=folders[0] if len(folders) == 1 else None,
        editor=client.editor,
        folder_settings=tuple(
            (path, settings)
            for folder, settings in client.scoped.items()
            for path in _parse_paths([folder])
        ),
        trusted=folders if client.trusted is None else _parse_paths(client.trusted),
    )


def _parse_paths(locations: Iterable[str]) -> tuple[Path, ...]:
    paths: list[Path] = []
    for location in locations:
        with suppress(ValueError):  # not a valid URI
            paths.append(parse_path(location))
    return tuple(paths)


def get_title(params: object) -> str:
    """Return the title of the command in a request; raise ParaError if it names none."""
    name = get_nested(params, "command")
    if not isinstance(name, str):
        raise ParaError("command.invalid-params", "The request has no command name")
    return COMMANDS[name].title if name in COMMANDS else name


async def execute_command(context: Context, params: object, report: Report) -> Json:
    """Run the command in a request and return its result."""
    name = str(get_nested(params, "command"))
    result = await call(replace(context, report=report), name, get_nested(params, "arguments"))
    return Json(result.model_dump_json(by_alias=True))


async def reconcile_sessions(context: Context) -> None:
    """Complete or roll back what killed processes left."""
    try:
        await reconcile_all(context)
    except ParaError as error:
        logger.warning("Cannot reconcile the sessions: %s", error)


async def pause_idle_sessions(context: Context) -> None:
    """Pause the sessions that reached a time limit."""
    try:
        await autopause.pause_due_sessions(context)
    except ParaError as error:
        logger.info("Cannot pause idle sessions: %s", error)


async def send_session_changes(
    context: Context, notify: Callable[[Json], None], *, call_once: bool
) -> None:
    """Notify the client of the sessions now and on every change, until cancelled."""
    delay = 1.0
    while True:
        scope = NotificationScope(context.store.home, context.folders, once=call_once)
        try:
            async with aclosing(watch_sessions(context, scope)) as updates:
                async for update in updates:
                    notify(Json(update.model_dump_json(by_alias=True)))
                    delay = 1.0
        except ParaError as error:
            logger.warning("Cannot watch the sessions: %s", error)
        except Exception:
            logger.exception("Cannot watch the sessions: internal error")
        await asyncio.sleep(delay)
        delay = min(2 * delay, _MAX_RETRY_DELAY)
