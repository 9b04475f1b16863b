"""Two processes with one session: the second waits, unless the first was killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from para_server.core.errors import ParaError
from para_server.core.settings import EngineSettings
from para_server.engine import freezer
from para_server.engine.client import Engine
from tests import engine
from tests.client import Failed, Para, eventually
from tests.leftovers import leftovers, records
from tests.scratch import Repository

HEAVY = "head -c 60M /dev/urandom >heavy"  # takes a second or more to take out
PATIENCE = 60  # seconds that a command waits for the one before it

Servers = Callable[..., Awaitable[Para]]


async def finishing(para: Para, api: Any, home: Path) -> Any:
    """Start a session and its finish; return the pending response."""
    session = await para.call("para.start", name="fix")
    engine.run(api, session["container"]["name"], HEAVY)
    sent = para.send("para.finish", [{"name": "fix", "message": "heavy"}])

    async def doing() -> Any:
        return records(home)[session["id"]]["doing"]

    await eventually(doing, lambda seen: seen == "finish")
    return sent


async def test_second_command_waits_for_the_first(
    servers: Servers, repo: Repository, api: Any, home: Path
) -> None:
    first, second = await servers(), await servers()
    sent = await finishing(first, api, home)
    failed = await second.fails("session.illegal-transition", "para.pause", name="fix")
    assert "finished" in failed.message
    assert sent.done() or (await first.answer(sent))["branch"] == "para/fix"
    assert "heavy" in repo.git("ls-tree", "--name-only", "para/fix").split()


async def test_read_only_commands_do_not_wait(servers: Servers, api: Any, home: Path) -> None:
    first, second = await servers(), await servers()
    sent = await finishing(first, api, home)
    shown = await second.call("para.show", name="fix")
    listed = await second.call("para.list")
    assert not sent.done()
    assert [one["state"] for one in (shown, *listed["sessions"])] == ["running", "running"]
    await first.answer(sent)


async def test_lock_of_a_killed_process_is_free(
    servers: Servers, repo: Repository, api: Any, home: Path
) -> None:
    first, second = await servers(), await servers()
    sent = await finishing(first, api, home)
    first.kill()
    began = time.monotonic()
    result = await second.call("para.cancel", name="fix")
    assert time.monotonic() - began < PATIENCE
    assert "heavy" in repo.git("ls-tree", "--name-only", result["archive"]).split()
    with contextlib.suppress(RuntimeError, Failed, asyncio.CancelledError):
        await sent
    await second.call("para.clean")
    assert leftovers(api, home, repo) == []


async def test_what_the_dead_have_asked_the_engine_for_may_be_done_already(
    para: Para, api: Any
) -> None:
    session = await para.call("para.start", name="fix")
    container, reached = session["container"]["name"], Engine(EngineSettings(), os.environ)
    for ask in (freezer.freeze, freezer.freeze, freezer.thaw, freezer.thaw):
        await ask(reached, container)
    assert engine.run(api, container, "echo on") == "on\n"
    api.stop(container, timeout=0)
    for ask in (freezer.freeze, freezer.thaw):
        with pytest.raises(ParaError):
            await ask(reached, container)
    reached.close()
