"""However a workspace is, and whatever step of its end fails: nothing of it is lost unnamed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests import engine, scratch
from tests.client import Failed, Para
from tests.git.workspaces import Held, Workspace, held, workspaces
from tests.scratch import Repository

AT_ONCE = 4  # sessions of one batch
BATCHES = 25
BATCHES_OF_A_LONG_RUN = 500
STEPS = 40  # calls of git that the ends of a batch make, at least
# fails once for each line of $FAILING that has come down to nothing
SHIM = """#!/bin/bash
exec 9>>"$FAILING.lock"; flock 9
if read -r k <"$FAILING" && [ -n "$k" ]; then
    if [ "$k" = 1 ]; then : >"$FAILING"; echo 'a fault that a test made' >&2; exit 1; fi
    echo $((k - 1)) >"$FAILING"
fi 2>/dev/null
exec 9>&-
exec {git} "$@"
"""

Servers = Callable[..., Awaitable[Para]]


@dataclass(frozen=True)
class Batch:
    """Sessions that end at once; the `fails`-th call of git fails then, or none where it is 0."""

    workspaces: tuple[Workspace, ...]
    fails: int


batches = st.builds(
    Batch,
    st.lists(workspaces, min_size=AT_ONCE, max_size=AT_ONCE).map(tuple),
    st.just(0) | st.integers(1, STEPS),
)


class Ends:
    """Ends the sessions of a repository, and looks whether anything is lost."""

    def __init__(self, para: Para, repo: Repository, api: Any, failing: Path) -> None:
        self.para, self.repo, self.api, self.failing = para, repo, api, failing
        self.count = 0

    async def batch(self, batch: Batch) -> None:
        """Start the sessions of a batch, do what is to be done in them, and end them."""
        first, self.count = self.count, self.count + AT_ONCE
        begun = [self._begun(first + n, one) for n, one in enumerate(batch.workspaces)]
        had = await asyncio.gather(*begun)
        self.failing.write_text(f"{batch.fails}\n" if batch.fails else "")
        names = [f"s{first + n}" for n in range(AT_ONCE)]
        ended = [
            self._end(name, one.end) for name, one in zip(names, batch.workspaces, strict=True)
        ]
        results = await asyncio.gather(*ended)
        self.failing.write_text("")
        for name, one, held_then, result in zip(names, batch.workspaces, had, results, strict=True):
            await self._nothing_lost(name, one, held_then, result)

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
        if result is None:
            session = await self.para.call("para.show", name=name)
            if session["state"] == "running":
                now = await asyncio.to_thread(held, Path(session["workspace"]))
                assert (now.files, now.commits) == (had.files, had.commits), told
            result = await self._end(name, "cancel")
            assert result is not None, told
        lost = had.lost(self._reachable(), result["left"])
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
        assert await self._end(name, "cancel"), told

    def _reachable(self) -> set[str]:
        listed = self.repo.git("rev-list", "--objects", "--all", "--no-object-names")
        return set(listed.split())


@pytest.mark.timeout(7200)
async def test_nothing_is_lost_unnamed_at_the_end_of_sessions_of_the_kind_container(
    servers: Servers, api: Any, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    repo = prepared(tmp_path / "theirs")
    failing = tmp_path / "failing"
    failing.write_text("")
    shim = tmp_path / "bin/git"
    shim.parent.mkdir()
    shim.write_text(SHIM.replace("{git}", str(shutil.which("git"))))
    shim.chmod(0o755)
    extra = {"PATH": f"{shim.parent}:/usr/local/bin:/usr/bin:/bin", "FAILING": str(failing)}
    ends = Ends(await servers(folders=[repo.path], extra=extra), repo, api, failing)
    loop = asyncio.get_running_loop()
    long = pytestconfig.getoption("--soak")

    @seed(pytestconfig.getoption("--seed"))
    @settings(
        max_examples=BATCHES_OF_A_LONG_RUN if long else BATCHES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(batches)
    def each(batch: Batch) -> None:
        asyncio.run_coroutine_threadsafe(ends.batch(batch), loop).result()

    await asyncio.to_thread(each)


def prepared(path: Path) -> Repository:
    """Make a repository with rules, and with files that git would write in another way today."""
    repo = scratch.make(path)
    (repo.path / "old.txt").write_bytes(b"a\r\nb\r\n")
    repo.commit("before there were rules")
    repo.commit(**{".gitattributes": "*.bat text eol=crlf\nold.txt text\n"})
    repo.commit(**{".gitignore": "*.log\nvendor/\n", "run.bat": "echo\n"})
    repo.git("tag", "-a", "-m", "a tag", "v1")
    return repo
