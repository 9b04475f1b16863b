"""The server is killed at any moment of a command: the next one completes or undoes it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client import Failed, Para
from tests.leftovers import CASES, Case, leftovers, lost, records, settled
from tests.scratch import Repository

KILLS, DRAWN = 100, 1  # of each command: with --soak, and in a short run
LONGEST = 1.2  # seconds: most commands are over then, and a kill after the end shows nothing

Servers = Callable[..., Awaitable[Para]]


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    """Leave room for the containers of those who test beside us."""
    return environ | {"PARA_CONTAINER_MAX_RUNNING": "50"}


@pytest.fixture
def moments(request: pytest.FixtureRequest) -> Iterator[float]:
    """Draw the moments at which a server is killed, in seconds after the command was sent."""
    soak, seed = (request.config.getoption(name) for name in ("--soak", "--seed"))
    drawn = random.Random(f"{seed} {request.node.name}")  # noqa: S311 # no secret
    return iter([drawn.uniform(0, LONGEST) for _ in range(KILLS if soak else DRAWN)])


async def killed(para: Para, seconds: float, command: str, **params: object) -> str:
    """Send a command, and end the server while it is at work; tells how far it came."""
    sent = para.send(command, [params])
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(sent), seconds)
    told = "answered" if sent.done() else "at work"
    para.kill()
    with contextlib.suppress(RuntimeError, Failed, asyncio.CancelledError):
        await sent  # the client says that the server has gone
    return told


@pytest.mark.timeout(3600)
async def test_a_dispatch_that_was_killed_leaves_nothing_or_a_whole_session(
    servers: Servers, repo: Repository, api: Any, home: Path, moments: Iterator[float]
) -> None:
    para = await servers(watching=False)
    for n, moment in enumerate(moments):
        params = {"prompt": "echo done", "name": f"s{n}"}
        told = await killed(para, moment, "para.dispatch", **params)
        para = await servers(watching=False)
        await settled(home)
        await para.call("para.clean")
        where = f"killed after {moment:.3f} s, {told}"
        assert leftovers(api, home, repo) == [], where
        if any(one["name"] == f"s{n}" for one in records(home).values()):
            await para.agent(f"s{n}", "done")
            await para.call("para.cancel", name=f"s{n}")
        else:
            assert told == "at work", where
        assert leftovers(api, home, repo) == [], f"cancelled, after it was {where}"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_command_that_was_killed_is_completed_or_undone(
    servers: Servers,
    repo: Repository,
    api: Any,
    home: Path,
    moments: Iterator[float],
    case: Case,
) -> None:
    para = await servers(watching=False)
    for n, moment in enumerate(moments):
        name = f"s{n}"
        session = await case.prepare(para, api, name)
        before = (await para.call("para.show", name=name))["state"]
        told = await killed(para, moment, case.command, name=name, **case.params)
        where = f"killed after {moment:.3f} s, {told}"
        assert lost(home, repo, session) == [], where
        para = await servers(watching=False)
        await settled(home)
        await para.call("para.clean")
        after = (await para.call("para.show", name=name))["state"]
        assert after in {before, case.leads_to}, where
        assert leftovers(api, home, repo) == [], where
        assert lost(home, repo, session) == [], where
        if case.keeps_container:
            assert await case.note_kept(para, api, name), where
        if after not in {"finished", "cancelled"} or case.keeps_container:
            await para.call("para.cancel", name=name)
        assert leftovers(api, home, repo) == [], f"cancelled, after it was {where}"
        assert lost(home, repo, session) == [], f"cancelled, after it was {where}"
        assert not [one for one in records(home).values() if one["doing"]], where
