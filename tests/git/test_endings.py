"""However a workspace is, and whatever step of its end fails: nothing of it is lost unnamed."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from para_server.core.settings import EngineSettings
from para_server.engine.endpoint import find_address
from tests import engine, scratch
from tests.client import Failed, Para
from tests.git import mishaps
from tests.git.failing_files import FailingFiles
from tests.git.fuse import Fuse
from tests.git.mishaps import Breakable, Mishap
from tests.git.workspaces import Held, Workspace, drawn, held
from tests.proxy import Proxy
from tests.scratch import Repository

AT_ONCE = 5  # sessions of one test
# why an end may be refused: what failed, or what a person has to decide first
REFUSALS = {
    "workspace.git-failed",
    "workspace.nothing-to-finish",
    "engine.refused",
    "engine.unreachable",
    "engine.timeout",
    "store.unreadable",
}

_T = TypeVar("_T")
Servers = Callable[..., Awaitable[Para]]


@pytest.fixture(scope="session")
def endings(figures: Callable[[str], None]) -> Iterator[Counter[str]]:
    """Count how the sessions ended."""
    counted: Counter[str] = Counter()
    yield counted
    figures("containers: " + ", ".join(f"{n} {what}" for what, n in sorted(counted.items())))


@pytest.fixture
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Stand between para and the engine."""
    # a socket's path has little room
    made = Proxy(tmp_path_factory.mktemp("p") / "s", find_address(EngineSettings(), os.environ))
    yield made
    made.close()


@dataclass(frozen=True)
class Ended:
    """A session that is over: what was in its workspace, and what is said to be left out."""

    name: str
    cancelled: bool
    had: Held
    left: list[dict[str, str]]
    told: str


async def _all_of(*work: Awaitable[_T]) -> list[_T]:
    """Wait for all, also where one fails, since they use the same things."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for fault in results:
        if isinstance(fault, BaseException):
            raise fault
    return [one for one in results if not isinstance(one, BaseException)]


class Ends:
    """Ends the sessions of a repository, and looks whether anything is lost."""

    def __init__(self, para: Para, repo: Repository, api: Any, counted: Counter[str]) -> None:
        self.para, self.repo, self.api, self.counted = para, repo, api, counted
        self.mishap, self.fault = Mishap("nothing"), ""

    async def all(
        self, workspaces: list[Workspace], chance: random.Random, breakable: Breakable
    ) -> None:
        """Start sessions, do what is to be done in them, end and recover them, with mishaps."""
        mishap, later = mishaps.drawn(chance), mishaps.drawn(chance)
        had = await asyncio.gather(*map(self._begun, range(AT_ONCE), workspaces))
        names = [f"s{number}" for number in range(AT_ONCE)]
        ends = [one.end for one in workspaces]
        first = await self.para.call("para.show", name=names[0])
        with mishaps.befalling(mishap, breakable, first["id"]) as happened:
            results = await asyncio.gather(*map(self._end, names, ends))
        self.mishap, self.fault = mishap, f"{mishap}: {happened}"
        self.counted[f"failures of {mishap.of}"] += len(happened)
        looks = map(self._nothing_lost, names, workspaces, had, results)
        ended = await _all_of(*looks)
        with mishaps.befalling(later, breakable, first["id"]) as happened:
            recovered = await asyncio.gather(*map(self._recovered, ended))
        self.counted["failures of recover"] += len(happened)
        told = f", then recovered with {later}: {happened}"
        await _all_of(
            *(self._is_back(one, done, told) for one, done in zip(ended, recovered, strict=True))
        )

    async def _begun(self, number: int, workspace: Workspace) -> Held:
        session = await self.para.call("para.start", name=f"s{number}")
        container = session["container"]["name"]
        await asyncio.to_thread(engine.run, self.api, container, workspace.script(number))
        had = await asyncio.to_thread(held, Path(session["workspace"]))
        if workspace.paused:
            await self.para.call("para.pause", name=f"s{number}")
        return had

    async def _end(self, name: str, end: str) -> dict[str, Any] | None:
        params = {"message": "the rest"} if end == "finish" else {}
        return await self._tried(end, name=name, **params)

    async def _tried(self, command: str, **params: str) -> dict[str, Any] | None:
        try:
            result: dict[str, Any] = await self.para.call(f"para.{command}", **params)
        except Failed as failed:
            if failed.slug not in REFUSALS:
                raise
            return None
        return result

    async def _nothing_lost(
        self, name: str, workspace: Workspace, had: Held, result: dict[str, Any] | None
    ) -> Ended:
        told = f"{name}: {workspace}, {self.fault}, {result}"
        self.counted["refused" if result is None else workspace.end] += 1
        if result is None:
            session = await self.para.call("para.show", name=name)
            if session["state"] == "running":
                now = await asyncio.to_thread(held, Path(session["workspace"]))
                assert (now.files, now.commits) == (had.files, had.commits), told
            result = await self._end(name, "cancel")
            assert result is not None, told
        told += f", then {result}"
        cancelled = result["session"]["state"] == "cancelled"
        reachable = await asyncio.to_thread(self._reachable)
        # whoever kills all helpers but the last leaves no index to be read
        staged = cancelled and (name, self.mishap.of) != ("s0", "helper")
        lost = had.lost(reachable, result["left"], staged=staged)
        assert lost == [], f"{told}: {lost}"
        return Ended(name, cancelled, had, result["left"], told)

    async def _recovered(self, ended: Ended) -> dict[str, Any] | None:
        return await self._tried("recover", name=ended.name) if ended.cancelled else None

    async def _is_back(self, ended: Ended, session: dict[str, Any] | None, told: str) -> None:
        if not ended.cancelled:
            return
        name, had, left, told = ended.name, ended.had, ended.left, ended.told + told
        if session is None:
            self.counted["recover refused"] += 1
            session = await self.para.call("para.recover", name=name)
        back = await asyncio.to_thread(held, Path(session["workspace"]))
        objects = {one for objects in back.files.values() for one in objects}
        gone = {path for path, made in had.files.items() if not made & objects}
        assert gone == set(), f"{told}: {gone} is not back"
        lost_names = {one["ref"] for one in left if one["ref"]}
        theirs = self.repo.refs().items()  # a session may be begun without the names of these
        names = {name: at for name, at in had.names.items() - theirs if name not in lost_names}
        assert names.items() <= back.names.items(), f"{told}: {names} {back.names}"
        again = await self._end(name, "cancel")
        assert again is not None, told
        lost = back.lost(await asyncio.to_thread(self._reachable), again["left"])
        assert lost == [], f"{told}: {lost} of what was recovered"

    def _reachable(self) -> set[str]:
        listed = self.repo.git("rev-list", "--objects", "--all", "--no-object-names")
        return set(listed.split())


@pytest.mark.slice(20)
@pytest.mark.parametrize("batch", range(400))
async def test_nothing_is_lost_unnamed_at_the_end_of_sessions_of_the_kind_container(
    servers: Servers,
    api: Any,
    tmp_path: Path,
    endings: Counter[str],
    proxy: Proxy,
    batch: int,
) -> None:
    chance = random.Random(batch)  # noqa: S311 # no secret
    repo = prepared(tmp_path / "theirs")
    files = FailingFiles(tmp_path / "modules")
    breakable = Breakable(Fuse(tmp_path / "bin"), files, proxy)
    workspaces = [drawn(chance) for _ in range(AT_ONCE)]
    para = await servers(folders=[repo.path], extra=breakable.environ)
    await Ends(para, repo, api, endings).all(workspaces, chance, breakable)


def prepared(path: Path) -> Repository:
    """Make a repository with rules, and with files that git would write in another way today."""
    repo = scratch.make(path)
    (repo.path / "old.txt").write_bytes(b"a\r\nb\r\n")
    repo.commit("before there were rules")
    repo.commit(**{".gitattributes": "*.bat text eol=crlf\nold.txt text\n"})
    repo.commit(**{".gitignore": "*.log\nvendor/\n", "run.bat": "echo\n"})
    repo.git("tag", "-a", "-m", "a tag", "v1")
    return repo
