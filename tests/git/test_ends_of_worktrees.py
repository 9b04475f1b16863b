"""However a worktree is left, and whatever fails while its session ends, nothing of it is lost."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import scratch
from tests.client import Failed, Para
from tests.git import unruly
from tests.git.failing_files import FailingFiles
from tests.git.fuse import Fuse
from tests.git.mishaps import DISK_ERRORS
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "PARA_CONTAINER_ENABLED": "false"}
CASES = 10  # of one test
LONGEST = 60  # calls of git that an end may make: each may be the one that fails
CHANGES = 25  # of files, that an end may make


@pytest.fixture(scope="session")
def endings(figures: Callable[[str], None]) -> Iterator[Counter[str]]:
    """Count how the sessions ended."""
    counted: Counter[str] = Counter()
    yield counted
    figures("worktrees: " + ", ".join(f"{n} {what}" for what, n in sorted(counted.items())))


async def attempt(para: Para, command: str, **params: object) -> tuple[bool, dict[str, Any]]:
    """Run a command that may be refused; gives whether it was done, and what it said."""
    try:
        return True, await para.call(command, **params)
    except Failed as failed:
        return False, {"slug": failed.slug, "message": failed.message}


@contextlib.contextmanager
def one_step_failing(chance: random.Random, fuse: Fuse, files: FailingFiles) -> Iterator[list[str]]:
    """Let a call of git or a change of a file fail meanwhile, or nothing; gives what did."""
    failed: list[str] = []
    match chance.choice(["nothing", "git", "git", "file", "file"]):
        case "git":
            fuse.burn(chance.randint(1, LONGEST), after=chance.random() < 0.3)
            yield failed
            failed += ["git"] if fuse.out() else []
        case "file":
            files.burn(chance.randint(1, CHANGES), chance.choice(DISK_ERRORS))
            yield failed
            failed += filter(None, [files.out()])
        case _:
            yield failed


def named(result: dict[str, Any]) -> list[str]:
    return [one["path"] for one in result.get("left", []) if one["path"]]


@pytest.mark.slice(10)
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("batch", range(200))
async def test_nothing_of_a_worktree_is_lost_however_its_session_ends(
    servers: Servers, tmp_path: Path, endings: Counter[str], batch: int
) -> None:
    fuse, files = Fuse(tmp_path / "bin"), FailingFiles(tmp_path / "modules")
    extra = NO_ENGINE | {"PATH": fuse.path, "PYTHONPATH": files.path}
    para = await servers(extra=extra, folders=[], watching=False)
    library = scratch.make(tmp_path / "library")  # to be a submodule
    for k in range(CASES):
        chance = random.Random(f"{batch} {k}")  # noqa: S311 # no secret
        repo = scratch.make(tmp_path / f"repo{k}")
        at = {"repo": str(repo.path), "name": "fix"}
        session = await para.call("para.start", **at)
        folder = Path(session["workspace"])
        place = unruly.disorder(Repository(folder), library.path, chance)
        before = unruly.belongings(folder)
        command = chance.choice(["para.finish", "para.cancel"])
        message = {"message": "work"} if command == "para.finish" else {}
        told = f"batch {batch}, case {k}: {command} after {place.done}"
        with one_step_failing(chance, fuse, files) as failed:
            done, result = await attempt(para, command, **at, **message)
        told += f", failed: {failed}: {result}"
        endings[f"failures of {failed[0].split()[0] if failed else 'nothing'}"] += 1
        assert done or result["slug"], told
        state = (await para.call("para.show", **at))["state"]
        assert state == (("finished" if message else "cancelled") if done else "running"), told
        if not done:
            assert unruly.belongings(folder) == before, told
            endings["refused"] += 1
            command = "para.cancel"
            _, result = await attempt(para, command, **at)
            assert "slug" not in result, told + f" then {result}"
        endings[command.removeprefix("para.")] += 1
        missing = before.missing(named(result), repo, library)
        assert missing == [], f"{told} lost {missing}: {result}"
        if command == "para.cancel":
            with one_step_failing(chance, fuse, files) as failed:
                done, back = await attempt(para, "para.recover", **at)
            told += f", failed in recover: {failed}"
            if not done:
                told += f", recover failed: {back}"
                endings["recover refused"] += 1
                back = await para.call("para.recover", **at)
            lost = before.gone(named(result), Path(back["workspace"]), library)
            assert lost == [], f"{told} did not bring back {lost}"
            await para.call("para.cancel", **at)
            missing = before.missing(named(result), repo, library)
            assert missing == [], f"{told} lost, once recovered, {missing}"
