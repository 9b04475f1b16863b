"""The end of a container session keeps or reports all work, whatever step fails."""

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
from tests.git import random_faults
from tests.git.failing_files import FailingFiles
from tests.git.failing_git import FailingGit
from tests.git.random_faults import Fault, FaultyServices
from tests.git.random_workspaces import Workspace, WorkspaceContent, draw_workspace, read_content
from tests.proxy import Proxy
from tests.scratch import Repository

AT_ONCE = 5  # sessions of one test
# errors of a refused end: a fault, or a decision that the user must make first
REFUSALS = {
    "workspace.git-failed",
    "workspace.nothing-to-finish",
    "engine.refused",
    "engine.unreachable",
    "engine.timeout",
    "store.unreadable",
    "session.busy",
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
    """Return a proxy between para and the engine."""
    # the path of a socket must be short
    server = Proxy(tmp_path_factory.mktemp("p") / "s", find_address(EngineSettings(), os.environ))
    yield server
    server.close()


@dataclass(frozen=True)
class Ended:
    """An ended session: the content of its workspace, and what was reported as left out."""

    name: str
    cancelled: bool
    content: WorkspaceContent
    left: list[dict[str, str]]
    description: str


async def _all_of(*work: Awaitable[_T]) -> list[_T]:
    """Wait for all even if one fails, since they share resources."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for fault in results:
        if isinstance(fault, BaseException):
            raise fault
    return [one for one in results if not isinstance(one, BaseException)]


class SessionEnds:
    """End the sessions of a repository, and check that nothing is lost."""

    def __init__(self, para: Para, repo: Repository, api: Any, counted: Counter[str]) -> None:
        self.para, self.repo, self.api, self.counted = para, repo, api, counted
        self.mishap, self.fault = Fault("nothing"), ""

    async def run_all(
        self, workspaces: list[Workspace], chance: random.Random, services: FaultyServices
    ) -> None:
        """Start sessions, run their operations, end and recover them, with random faults."""
        mishap, later = random_faults.draw_fault(chance), random_faults.draw_fault(chance)
        contents = await asyncio.gather(*map(self._start, range(AT_ONCE), workspaces))
        names = [f"s{number}" for number in range(AT_ONCE)]
        ends = [one.end for one in workspaces]
        first = await self.para.call("para.show", name=names[0])
        with random_faults.injected_fault(mishap, services, first["id"]) as happened:
            results = await asyncio.gather(*map(self._end, names, ends))
        self.mishap, self.fault = mishap, f"{mishap}: {happened}"
        self.counted[f"failures of {mishap.of}"] += len(happened)
        checks = map(self._check_nothing_lost, names, workspaces, contents, results)
        ended = await _all_of(*checks)
        with random_faults.injected_fault(later, services, first["id"]) as happened:
            recovered = await asyncio.gather(*map(self._recover, ended))
        self.counted["failures of recover"] += len(happened)
        description = f", then recovered with {later}: {happened}"
        await _all_of(
            *(
                self._check_recovered(one, done, description)
                for one, done in zip(ended, recovered, strict=True)
            )
        )

    async def _start(self, number: int, workspace: Workspace) -> WorkspaceContent:
        session = await self.para.call("para.start", name=f"s{number}")
        container = session["container"]["name"]
        await asyncio.to_thread(engine.run, self.api, container, workspace.script(number))
        content = await asyncio.to_thread(read_content, Path(session["workspace"]))
        if workspace.paused:
            await self.para.call("para.pause", name=f"s{number}")
        return content

    async def _end(self, name: str, end: str) -> dict[str, Any] | None:
        params = {"message": "the rest"} if end == "finish" else {}
        return await self._try(end, name=name, **params)

    async def _try(self, command: str, **params: str) -> dict[str, Any] | None:
        try:
            result: dict[str, Any] = await self.para.call(f"para.{command}", **params)
        except Failed as failed:
            if failed.slug not in REFUSALS:
                raise
            return None
        return result

    async def _check_nothing_lost(
        self,
        name: str,
        workspace: Workspace,
        content: WorkspaceContent,
        result: dict[str, Any] | None,
    ) -> Ended:
        description = f"{name}: {workspace}, {self.fault}, {result}"
        self.counted["refused" if result is None else workspace.end] += 1
        if result is None:
            session = await self.para.call("para.show", name=name)
            if session["state"] == "running":
                now = await asyncio.to_thread(read_content, Path(session["workspace"]))
                assert (now.files, now.commits) == (content.files, content.commits), description
            result = await self._end(name, "cancel")
            assert result is not None, description
        description += f", then {result}"
        cancelled = result["session"]["state"] == "cancelled"
        reachable = await asyncio.to_thread(self._reachable)
        # after killed one-shot containers, the last one does not read the index
        staged = cancelled and (name, self.mishap.of) != ("s0", "helper")
        lost = content.list_lost(reachable, result["left"], staged=staged)
        assert lost == [], f"{description}: {lost}"
        return Ended(name, cancelled, content, result["left"], description)

    async def _recover(self, ended: Ended) -> dict[str, Any] | None:
        return await self._try("recover", name=ended.name) if ended.cancelled else None

    async def _check_recovered(
        self, ended: Ended, session: dict[str, Any] | None, description: str
    ) -> None:
        if not ended.cancelled:
            return
        name, content, left, description = (
            ended.name,
            ended.content,
            ended.left,
            ended.description + description,
        )
        if session is None:
            self.counted["recover refused"] += 1
            session = await self.para.call("para.recover", name=name)
        back = await asyncio.to_thread(read_content, Path(session["workspace"]))
        objects = {one for objects in back.files.values() for one in objects}
        gone = {path for path, blobs in content.files.items() if not blobs & objects}
        assert gone == set(), f"{description}: {gone} is not back"
        lost_names = {one["ref"] for one in left if one["ref"]}
        repository_refs = self.repo.refs().items()  # a session may start without these refs
        names = {
            name: at
            for name, at in content.names.items() - repository_refs
            if name not in lost_names
        }
        assert names.items() <= back.names.items(), f"{description}: {names} {back.names}"
        again = await self._end(name, "cancel")
        assert again is not None, description
        lost = back.list_lost(await asyncio.to_thread(self._reachable), again["left"])
        assert lost == [], f"{description}: {lost} of what was recovered"

    def _reachable(self) -> set[str]:
        listed = self.repo.git("rev-list", "--objects", "--all", "--no-object-names")
        return set(listed.split())


@pytest.mark.slice(20)
@pytest.mark.parametrize("batch", range(400))
async def test_ends_of_container_sessions_keep_or_report_all_work(
    servers: Servers,
    api: Any,
    tmp_path: Path,
    endings: Counter[str],
    proxy: Proxy,
    batch: int,
) -> None:
    chance = random.Random(batch)  # noqa: S311 # no secret
    repo = create_repository(tmp_path / "theirs")
    files = FailingFiles(tmp_path / "modules")
    services = FaultyServices(FailingGit(tmp_path / "bin"), files, proxy)
    workspaces = [draw_workspace(chance) for _ in range(AT_ONCE)]
    para = await servers(folders=[repo.path], extra=services.environ)
    await SessionEnds(para, repo, api, endings).run_all(workspaces, chance, services)


def create_repository(path: Path) -> Repository:
    """Create a repository with attributes that are newer than some of its files."""
    repo = scratch.make(path)
    (repo.path / "old.txt").write_bytes(b"a\r\nb\r\n")
    repo.commit("before there were rules")
    repo.commit(**{".gitattributes": "*.bat text eol=crlf\nold.txt text\n"})
    repo.commit(**{".gitignore": "*.log\nvendor/\n", "run.bat": "echo\n"})
    repo.git("tag", "-a", "-m", "a tag", "v1")
    return repo
