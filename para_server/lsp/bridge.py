"""The only place where editors meet the commands.

It loads everything that commands need, so it is imported after `initialize` is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import para_server.commands.all  # noqa: F401 # fills the table
from para_server.context import Context, Report, parse_path
from para_server.core.errors import ParaError
from para_server.lsp.capabilities import Client, inside
from para_server.lsp.protocol import Json
from para_server.registry import COMMANDS, call
from para_server.sessions import autopause
from para_server.sessions.monitor import watch_sessions
from para_server.sessions.notification_scope import NotificationScope
from para_server.sessions.reconcile import reconcile_all

logger = logging.getLogger(__name__)
_LONGEST_PAUSE: Final = 60.0  # seconds between two tries to watch the sessions


def context_of(base: Context, client: Client) -> Context:
    """Give what a command of this client is given."""
    folders = _paths(client.folders)
    return replace(
        base,
        folders=folders,
        cwd=folders[0] if len(folders) == 1 else None,
        editor=client.editor,
        scoped=tuple(
            (path, settings)
            for folder, settings in client.scoped.items()
            for path in _paths([folder])
        ),
        trusted=folders if client.trusted is None else _paths(client.trusted),
    )


def _paths(locations: Iterable[str]) -> tuple[Path, ...]:
    found: list[Path] = []
    for location in locations:
        with suppress(ValueError):  # it only looks like a URI
            found.append(parse_path(location))
    return tuple(found)


def title_of(params: object) -> str:
    """Name the command that a request asks for; raises ParaError where there is none."""
    name = inside(params, "command")
    if not isinstance(name, str):
        raise ParaError("command.invalid-params", "The request names no command")
    return COMMANDS[name].title if name in COMMANDS else name


async def execute(context: Context, params: object, report: Report) -> Json:
    """Run the command that a request asks for."""
    name = str(inside(params, "command"))
    result = await call(replace(context, report=report), name, inside(params, "arguments"))
    return Json(result.model_dump_json(by_alias=True))


async def clear_up(context: Context) -> None:
    """Complete or undo what processes that were killed have left."""
    try:
        await reconcile_all(context)
    except ParaError as error:
        logger.warning("What was left over could not be cleared up: %s", error)


async def rest(context: Context) -> None:
    """Pause the sessions whose time is over."""
    try:
        await autopause.pause_due_sessions(context)
    except ParaError as error:
        logger.info("No session is paused by itself: %s", error)


async def watch(context: Context, tell: Callable[[Json], None], *, once: bool) -> None:
    """Tell of the sessions now and whenever they change, until cancelled."""
    pause = 1.0
    while True:
        scope = NotificationScope(context.store.home, context.folders, once=once)
        try:
            async with aclosing(watch_sessions(context, scope)) as found:
                async for change in found:
                    tell(Json(change.model_dump_json(by_alias=True)))
                    pause = 1.0
        except ParaError as error:
            logger.warning("The sessions cannot be watched: %s", error)
        except Exception:
            logger.exception("The sessions cannot be watched: a bug")
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
