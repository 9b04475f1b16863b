"""What a session costs that is there: rest and going on, git in it, its end, the disk."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from tests import engine
from tests.bench.dispatching import FEW, MANY
from tests.bench.measure import Figure, compared, repeated, timed
from tests.bench.place import Place, run
from tests.bench.rivals import Floor
from tests.client import Para

_TEN = "for n in 1 2 3 4 5 6 7 8 9 10; do echo changed >>src/part$n/file$((n * 50)).txt; done"
_GRACE = 3  # seconds that a container has to stop by itself, as para gives it


async def figures(place: Place, pairs: int) -> list[Figure]:
    """Measure what is done with sessions that are there."""
    async with place.server() as para:
        return [
            *await _rest(place, para, pairs),
            await _status(place, para, pairs),
            await _finish(place, para, pairs),
            *await _disk(place, para),
        ]


async def _rest(place: Place, para: Para, pairs: int) -> list[Figure]:
    repo = str(place.repo(FEW).path)
    session = await para.call("para.start", name="rests", repo=repo)
    floor = Floor(place, session)
    bare = place.name()
    await floor.up(bare)
    found = []
    for mode, most in (("save", 1.3), ("freeze", 2.0)):
        engine_calls = _saved if mode == "save" else _frozen

        async def ours(mode: str = mode) -> float:
            async with timed() as watch:
                await para.call("para.pause", name="rests", repo=repo, mode=mode)
                await para.call("para.resume", name="rests", repo=repo)
            return watch.taken

        async def theirs(calls: Any = engine_calls) -> float:
            async with timed() as watch:
                await asyncio.to_thread(calls, place.api, floor, bare)
            return watch.taken

        title = f"pause ({mode}) and resume"
        found.append(
            await compared(Figure(title, "the engine's calls alone", most), pairs, ours, theirs)
        )
    await floor.down(bare)
    place.api.remove_image(f"{bare}:saved", force=True)
    await para.call("para.cancel", name="rests", repo=repo)
    return found


def _saved(api: Any, floor: Floor, name: str) -> None:
    api.stop(name, timeout=_GRACE)
    api.commit(name, name, "saved")
    api.remove_container(name, v=True)
    api.create_container_from_config(floor.config | {"Image": f"{name}:saved"}, name)
    api.start(name)


def _frozen(api: Any, _floor: Floor, name: str) -> None:
    api.pause(name)
    api.unpause(name)


async def _status(place: Place, para: Para, pairs: int) -> Figure:
    """Measure the first `git status` in a new session, and the same in the repository."""
    repo = place.repo(MANY)

    async def ours() -> float:
        name = place.name()
        session = await para.call("para.start", name=name, repo=str(repo.path))
        # timed inside: how long it takes to get in is another matter
        script = "s=$(date +%s%N); git status --porcelain >/dev/null; echo $(($(date +%s%N) - s))"
        told = await asyncio.to_thread(engine.run, place.api, session["container"]["name"], script)
        await para.call("para.cancel", name=name, repo=str(repo.path))
        return int(told) / 1e6

    async def theirs() -> float:
        async with timed() as watch:
            await run("git", "status", "--porcelain", cwd=repo.path)
        return watch.taken

    figure = Figure(f"first git status, {MANY:,} files", "the same on the host", 1.5)
    return await compared(figure, pairs, ours, theirs)


async def _finish(place: Place, para: Para, pairs: int) -> Figure:
    """Measure the finish of ten changed files, and stopping and removing such a container."""
    repo = place.repo(MANY)

    async def changed() -> dict[str, Any]:
        name = place.name()
        session: dict[str, Any] = await para.call("para.start", name=name, repo=str(repo.path))
        await asyncio.to_thread(engine.run, place.api, session["container"]["name"], _TEN)
        return session

    async def ours() -> float:
        name = (await changed())["name"]
        async with timed() as watch:
            done = await para.call("para.finish", message="ten", name=name, repo=str(repo.path))
        assert done["files"] == 10, done
        return watch.taken

    async def theirs() -> float:
        session = await changed()
        container = session["container"]["name"]
        async with timed() as watch:
            await asyncio.to_thread(place.api.stop, container, timeout=_GRACE)
            await asyncio.to_thread(place.api.remove_container, container, v=True)
        await para.call("para.cancel", name=session["name"], repo=str(repo.path))
        return watch.taken

    title = f"finish of 10 files of {MANY:,}"
    figure = Figure(title, "docker stop, docker rm", most=600, extra=True)
    return await compared(figure, pairs, ours, theirs)


async def _disk(place: Place, para: Para) -> list[Figure]:
    """Measure the disk that sessions take, and what is left when they are gone."""
    repo = str(place.repo(MANY).path)
    first = await para.call("para.start", name="disk-0", repo=repo)
    before = _used(place.home)

    async def one_more(number: Any = iter(range(1, 100))) -> float:  # noqa: B008 # counts on
        used = _used(place.home)
        await para.call("para.start", name=f"disk-{next(number)}", repo=repo)
        return (_used(place.home) - used) / 1e6

    each = Figure(f"disk of a session, {MANY:,} files", unit="MB", most=2)
    await repeated(each, 19, one_more)
    shared = Figure("disk of 20 sessions and their base", "the base alone", most=1.2)
    shared.ours, shared.theirs = [_used(place.home) / 1e6], [before / 1e6]
    for number in range(21):
        await para.call("para.cancel", name=f"disk-{number}", repo=repo)
    await para.call("para.clean")
    left = Figure("disk that para.clean leaves", unit="MB", most=1)
    left.ours = [_used(place.home) / 1e6]
    assert first["base"]
    return [each, shared, left]


def _used(folder: Path) -> int:
    """Tell how many bytes of the disk a folder takes, each file once."""
    total = 0
    for root, _, files in os.walk(folder):
        total += sum(os.lstat(Path(root) / file).st_blocks * 512 for file in [".", *files])
    return total
