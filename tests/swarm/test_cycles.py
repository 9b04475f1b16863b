"""Many pauses and resumes: no resource may grow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import engine
from tests.client import Para

SLACK_MB = 16  # what an allocator keeps at hand


class Weight(NamedTuple):
    """Resources of a server and its engine."""

    memory: int  # MB
    descriptors: int
    threads: int
    images: int
    volumes: int


async def test_a_few_cycles_leave_nothing_behind(
    servers: Callable[..., Awaitable[Para]], api: Any, home: Path, figures: Callable[[str], None]
) -> None:
    await cycle(servers, api, home, figures, sessions=2, freezes=8, saves=2)


@pytest.mark.soak
@pytest.mark.timeout(7200)
async def test_a_thousand_cycles_leave_nothing_behind(
    servers: Callable[..., Awaitable[Para]], api: Any, home: Path, figures: Callable[[str], None]
) -> None:
    await cycle(servers, api, home, figures, sessions=20, freezes=1000, saves=50)


async def cycle(
    servers: Callable[..., Awaitable[Para]],
    api: Any,
    home: Path,
    figures: Callable[[str], None],
    *,
    sessions: int,
    freezes: int,
    saves: int,
) -> None:
    para = await servers(extra={"PARA_CONTAINER_MAX_RUNNING": "50"})
    names = [f"s{n}" for n in range(sessions)]
    for name in names:
        await para.call("para.start", name=name)
    await each(para, names, "freeze")
    await each(para, names, "save")
    before = weigh(para, api, home)
    for _ in range(freezes):
        await each(para, names, "freeze")
    between = weigh(para, api, home)
    for _ in range(saves):
        await each(para, names, "save")
    after = weigh(para, api, home)
    what = f"cycles: {sessions} sessions, {freezes} freezes, {saves} saves"
    figures(f"{what}; {before}, {between}, {after}")
    for later in (between, after):
        assert later.memory <= before.memory + SLACK_MB
        assert later.descriptors <= before.descriptors + 4  # one to the engine for each thread
        assert later.threads <= before.threads + 8  # the pool fills up to its size, and no further
        assert (later.images, later.volumes) == (before.images, before.volumes)


async def each(para: Para, names: list[str], mode: str) -> None:
    async def turn(name: str) -> None:
        await para.call("para.pause", name=name, mode=mode)
        await para.call("para.resume", name=name)

    await asyncio.gather(*(turn(name) for name in names))


def weigh(para: Para, api: Any, home: Path) -> Weight:
    process = Path("/proc") / str(para.pid)
    status = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
    )
    return Weight(
        memory=int(status["VmRSS"].split()[0]) >> 10,
        descriptors=len(list((process / "fd").iterdir())),
        threads=int(status["Threads"]),
        images=len(engine.images(api, home)),
        volumes=len(api.volumes()["Volumes"] or []),
    )
