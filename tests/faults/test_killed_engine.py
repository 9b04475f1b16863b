"""The engine is killed during commands: sessions continue, no work is lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.client import Failed, Para
from tests.leftovers import CASES, Case, settled
from tests.mortal import Mortal

DEATHS, DRAWN = 20, 2  # with --soak, and in a short run
LONGEST = 1.2  # seconds that a command takes: the engine dies somewhere within


@pytest.fixture
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    engine = Mortal(tmp_path_factory.mktemp("e"))
    engine.live()
    yield engine
    engine.end()


@pytest.fixture
def environ(environ: dict[str, str], mortal: Mortal) -> dict[str, str]:
    return environ | {"DOCKER_HOST": mortal.address, "PARA_CONTAINER_NETWORK": "none"}


pytestmark = pytest.mark.root


@pytest_asyncio.fixture
async def api(mortal: Mortal) -> Any:
    """Connect to the engine that is killed; the connection survives it."""
    return await mortal.answers()


@pytest.mark.timeout(3600)
async def test_sessions_survive_a_killed_engine(
    servers: Callable[..., Awaitable[Para]],
    api: Any,
    home: Path,
    mortal: Mortal,
    whole: Callable[..., None],
    tally: Counter[str],
    request: pytest.FixtureRequest,
) -> None:
    await mortal.take_image()
    para = await servers()
    chance = random.Random(request.config.getoption("--seed"))  # noqa: S311 # seeded on purpose
    soak = request.config.getoption("--soak")
    cases = chance.sample(list(CASES.items()), len(CASES))
    for death in range(DEATHS if soak else DRAWN):
        label, case = cases[death % len(cases)]
        name = f"s{death}"
        session = await case.prepare(para, api, name)
        outcome = await killed_within(para, mortal, case, name, chance.uniform(0, LONGEST))
        mortal.live()
        await mortal.answers()
        await para.call("para.clean")
        await settled(home)
        told = f"death {death}, {label}: {outcome}"
        whole(told, session)
        shown = await para.call("para.show", name=name)
        if shown["state"] not in {"finished", "cancelled"}:
            await para.call("para.cancel", name=name)
        whole(f"cancelled after {told}", session)
        tally["deaths of the engine"] += 1


async def killed_within(
    para: Para, mortal: Mortal, case: Case, name: str, seconds: float
) -> object:
    """Run a command and kill the engine during it."""
    sent = asyncio.create_task(para.call(case.command, name=name, **case.params))
    await asyncio.sleep(seconds)
    await asyncio.to_thread(mortal.die)
    try:
        return await sent
    except Failed as failed:
        if not failed.slug:
            raise
        return failed
