"""The end of a worktree session keeps or reports all work, whatever fails meanwhile."""

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
from tests.git import random_worktrees
from tests.git.failing_files import FailingFiles
from tests.git.failing_git import FailingGit
from tests.git.random_faults import DISK_ERRORS
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "PARA_CONTAINER_ENABLED": "false"}
CASES = 10  # of one test
GIT_CALLS = 60  # of one end; each can fail
FILE_CHANGES = 25  # of one end


@pytest.fixture(scope="session")
def endings(figures: Callable[[str], None]) -> Iterator[Counter[str]]:
    """Count how the sessions ended."""
    counted: Counter[str] = Counter()
    yield counted
    figures("worktrees: " + ", ".join(f"{n} {what}" for what, n in sorted(counted.items())))


async def attempt(para: Para, command: str, **params: object) -> tuple[bool, dict[str, Any]]:
    """Run a command, and return whether it succeeded, with its result or error."""
    try:
        return True, await para.call(command, **params)
    except Failed as failed:
        return False, {"slug": failed.slug, "message": failed.message}


@contextlib.contextmanager
def one_step_failing(
    chance: random.Random, fuse: FailingGit, files: FailingFiles
) -> Iterator[list[str]]:
    """Make a call of git, a change of a file, or nothing fail; the list has what failed."""
    failed: list[str] = []
    match chance.choice(["nothing", "git", "git", "file", "file"]):
        case "git":
            fuse.arm(chance.randint(1, GIT_CALLS), after=chance.random() < 0.3)
            yield failed
            failed += ["git"] if fuse.disarm() else []
        case "file":
            files.arm(chance.randint(1, FILE_CHANGES), chance.choice(DISK_ERRORS))
            yield failed
            failed += filter(None, [files.disarm()])
        case _:
            yield failed


def reported_paths(result: dict[str, Any]) -> list[str]:
    return [one["path"] for one in result.get("left", []) if one["path"]]


@pytest.mark.slice(10)
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("batch", range(200))
async def test_ends_of_worktree_sessions_keep_or_report_all_work(
    servers: Servers, tmp_path: Path, endings: Counter[str], batch: int
) -> None:
    fuse, files = FailingGit(tmp_path / "bin"), FailingFiles(tmp_path / "modules")
    extra = NO_ENGINE | {"PATH": fuse.path, "PYTHONPATH": files.path}
    para = await servers(extra=extra, folders=[], watching=False)
    library = scratch.make(tmp_path / "library")  # for a submodule
    for k in range(CASES):
        chance = random.Random(f"{batch} {k}")  # noqa: S311 # no secret
        repo = scratch.make(tmp_path / f"repo{k}")
        at = {"repo": str(repo.path), "name": "fix"}
        session = await para.call("para.start", **at)
        folder = Path(session["workspace"])
        place = random_worktrees.change_randomly(Repository(folder), library.path, chance)
        before = random_worktrees.read_content(folder)
        command = chance.choice(["para.finish", "para.cancel"])
        message = {"message": "work"} if command == "para.finish" else {}
        description = f"batch {batch}, case {k}: {command} after {place.done}"
        with one_step_failing(chance, fuse, files) as failed:
            done, result = await attempt(para, command, **at, **message)
        description += f", failed: {failed}: {result}"
        endings[f"failures of {failed[0].split()[0] if failed else 'nothing'}"] += 1
        assert done or result["slug"], description
        state = (await para.call("para.show", **at))["state"]
        assert state == (("finished" if message else "cancelled") if done else "running"), (
            description
        )
        if not done:
            assert random_worktrees.read_content(folder) == before, description
            endings["refused"] += 1
            command = "para.cancel"
            _, result = await attempt(para, command, **at)
            assert "slug" not in result, description + f" then {result}"
        endings[command.removeprefix("para.")] += 1
        missing = before.list_missing(reported_paths(result), repo, library)
        assert missing == [], f"{description} lost {missing}: {result}"
        if command == "para.cancel":
            with one_step_failing(chance, fuse, files) as failed:
                done, back = await attempt(para, "para.recover", **at)
            description += f", failed in recover: {failed}"
            if not done:
                description += f", recover failed: {back}"
                endings["recover refused"] += 1
                back = await para.call("para.recover", **at)
            lost = before.list_gone(reported_paths(result), Path(back["workspace"]), library)
            assert lost == [], f"{description} did not bring back {lost}"
            await para.call("para.cancel", **at)
            missing = before.list_missing(reported_paths(result), repo, library)
            assert missing == [], f"{description} lost, once recovered, {missing}"
