"""The server is killed during a command: the next server completes it or rolls it back."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.client import Failed, Para
from tests.leftovers import CASES, Case, ended, lost, records, settled
from tests.scratch import Repository

KILLS, DRAWN = 100, 1  # of each command: with --soak, and in a short run
LONGEST = 1.2  # seconds that a command may take, until it is known

Servers = Callable[..., Awaitable[Para]]


class Killer:
    """Kills servers at seeded moments, given as fractions of a command's duration."""

    def __init__(self, shares: list[float], tally: Counter[str]) -> None:
        self.shares = shares
        self._tally = tally
        self._takes = LONGEST

    async def kill(self, para: Para, share: float, command: str, **params: object) -> str:
        """Send a command and kill the server during it; return when that was."""
        clock = asyncio.get_running_loop().time
        began = clock()
        sent = para.send(command, [params])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(sent), share * self._takes)
        state = "answered" if sent.done() else "at work"
        took = clock() - began
        para.kill()
        if state == "answered":  # a kill after the end shows nothing
            self._takes = took
        self._tally[f"kills of a server {state}"] += 1
        with contextlib.suppress(RuntimeError, Failed, asyncio.CancelledError):
            await sent  # the client says that the server has gone
        return f"killed after {took:.3f} s, {state}"


@pytest.fixture
def killer(request: pytest.FixtureRequest, tally: Counter[str]) -> Killer:
    """Return the seeded moments of the kills."""
    soak, seed = (request.config.getoption(name) for name in ("--soak", "--seed"))
    drawn = random.Random(f"{seed} {request.node.name}")  # noqa: S311 # no secret
    return Killer([drawn.random() for _ in range(KILLS if soak else DRAWN)], tally)


@pytest.mark.timeout(7200)
async def test_killed_dispatch_leaves_nothing_or_a_complete_session(
    servers: Servers, home: Path, whole: Callable[..., None], killer: Killer
) -> None:
    para = await servers(watching=False)
    for n, share in enumerate(killer.shares):
        name = f"s{n}"
        where = await killer.kill(para, share, "para.dispatch", prompt="echo done", name=name)
        para = await servers(watching=False)
        await settled(home)
        await para.call("para.clean")
        whole(where)
        if any(one["name"] == name for one in records(home).values()):
            await para.agent(name, "done")
            await para.call("para.cancel", name=name)
        else:
            assert where.endswith("at work")
        whole(f"cancelled, after it was {where}")


@pytest.mark.slice(6)
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_killed_command_is_completed_or_rolled_back(
    servers: Servers,
    repo: Repository,
    api: Any,
    home: Path,
    whole: Callable[..., None],
    killer: Killer,
    case: Case,
) -> None:
    para = await servers(watching=False)
    session: dict[str, Any] | None = None
    for n, share in enumerate(killer.shares):
        session = session or await case.prepare(para, api, f"s{n}")
        name = session["name"]
        before = (await para.call("para.show", name=name))["state"]
        where = await killer.kill(para, share, case.command, name=name, **case.params)
        assert lost(home, repo, session) == [], where
        para = await servers(watching=False)
        await settled(home)
        await para.call("para.clean")
        after = (await para.call("para.show", name=name))["state"]
        assert after in {before, case.leads_to}, where
        whole(where, session)
        if case.keeps_container:
            assert await case.note_kept(para, api, name), where
        if case.serves_again(before, after):
            continue
        if after not in {"finished", "cancelled"} or case.keeps_container:
            await para.call("para.cancel", name=name)
        whole(f"cancelled, after it was {where}", session)
        session = None
    if session is not None:
        await ended(para, session)
        whole("cancelled at the end", session)
