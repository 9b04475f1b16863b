"""However a workspace is, and whatever step of its end fails: nothing of it is lost unnamed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import engine, scratch
from tests.client import Failed, Para
from tests.git.fuse import Fuse
from tests.git.workspaces import Held, Workspace, drawn, held
from tests.scratch import Repository

AT_ONCE = 5  # sessions of one test
LONGEST = 60  # calls of git that their ends may make: each may be the one that fails

Servers = Callable[..., Awaitable[Para]]


@pytest.fixture(scope="session")
def endings(figures: Callable[[str], None]) -> Iterator[Counter[str]]:
    """Count how the sessions ended."""
    counted: Counter[str] = Counter()
    yield counted
    figures("containers: " + ", ".join(f"{n} {what}" for what, n in sorted(counted.items())))


class Ends:
    """Ends the sessions of a repository, and looks whether anything is lost."""

    def __init__(self, para: Para, repo: Repository, api: Any, counted: Counter[str]) -> None:
        self.para, self.repo, self.api, self.counted = para, repo, api, counted

    async def all(self, workspaces: list[Workspace], fuse: Fuse, fails: int) -> None:
        """Start sessions, do what is to be done in them, and end them at once.

        The `fails`-th call of git fails then, or none where it is 0.
        """
        had = await asyncio.gather(*map(self._begun, range(AT_ONCE), workspaces))
        fuse.burn(fails)
        names = [f"s{number}" for number in range(AT_ONCE)]
        ends = [one.end for one in workspaces]
        results = await asyncio.gather(*map(self._end, names, ends))
        self.counted["failures of git"] += fuse.out() and fails > 0
        looks = map(self._nothing_lost, names, workspaces, had, results)
        for fault in await asyncio.gather(*looks, return_exceptions=True):
            if fault is not None:
                raise fault

    async def _begun(self, number: int, workspace: Workspace) -> Held:
        session = await self.para.call("para.start", name=f"s{number}")
        container = session["container"]["name"]
        await asyncio.to_thread(engine.run, self.api, container, workspace.script(number))
        return await asyncio.to_thread(held, Path(session["workspace"]))

    async def _end(self, name: str, end: str) -> dict[str, Any] | None:
        params = {"message": "the rest"} if end == "finish" else {}
        try:
            result: dict[str, Any] = await self.para.call(f"para.{end}", name=name, **params)
        except Failed as failed:
            if failed.slug not in {"workspace.git-failed", "workspace.nothing-to-finish"}:
                raise
            return None
        return result

    async def _nothing_lost(
        self, name: str, workspace: Workspace, had: Held, result: dict[str, Any] | None
    ) -> None:
        told = f"{name}: {workspace}, {result}"
        self.counted["refused" if result is None else workspace.end] += 1
        if result is None:
            session = await self.para.call("para.show", name=name)
            if session["state"] == "running":
                now = await asyncio.to_thread(held, Path(session["workspace"]))
                assert (now.files, now.commits) == (had.files, had.commits), told
            result = await self._end(name, "cancel")
            assert result is not None, told
        lost = had.lost(await asyncio.to_thread(self._reachable), result["left"])
        assert lost == [], f"{told}: {lost}"
        if result["session"]["state"] == "cancelled":
            await self._recovered(name, had, told)

    async def _recovered(self, name: str, had: Held, told: str) -> None:
        session = await self.para.call("para.recover", name=name)
        back = await asyncio.to_thread(held, Path(session["workspace"]))
        objects = {one for objects in back.files.values() for one in objects}
        gone = {path for path, made in had.files.items() if not made & objects}
        assert gone == set(), told
        assert had.names.items() <= back.names.items(), told
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
    servers: Servers, api: Any, tmp_path: Path, endings: Counter[str], batch: int
) -> None:
    chance = random.Random(batch)  # noqa: S311 # no secret
    repo = prepared(tmp_path / "theirs")
    fuse = Fuse(tmp_path / "bin")
    para = await servers(folders=[repo.path], extra={"PATH": fuse.path})
    fails = chance.choice([0, chance.randint(1, LONGEST), chance.randint(1, LONGEST)])
    workspaces = [drawn(chance) for _ in range(AT_ONCE)]
    await Ends(para, repo, api, endings).all(workspaces, fuse, fails)


def prepared(path: Path) -> Repository:
    """Make a repository with rules, and with files that git would write in another way today."""
    repo = scratch.make(path)
    (repo.path / "old.txt").write_bytes(b"a\r\nb\r\n")
    repo.commit("before there were rules")
    repo.commit(**{".gitattributes": "*.bat text eol=crlf\nold.txt text\n"})
    repo.commit(**{".gitignore": "*.log\nvendor/\n", "run.bat": "echo\n"})
    repo.git("tag", "-a", "-m", "a tag", "v1")
    return repo
