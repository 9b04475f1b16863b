"""A full disk: failed commands roll back, no work is lost."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import scratch
from tests.client import Failed, Para
from tests.leftovers import at_work, leftovers, lost, records
from tests.scratch import Repository

SIZE = "24m"
Servers = Callable[..., Awaitable[Para]]
pytestmark = pytest.mark.root


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a small disk."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "small", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Create PARA_HOME on a small disk."""
    with small_disk(tmp_path / "small") as folder:
        yield folder / "home"


@contextlib.contextmanager
def full(folder: Path, name: str = "fill") -> Iterator[None]:
    """Fill the disk of a folder to its last byte."""
    file = folder / name
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 65536)
    with contextlib.suppress(OSError), file.open("ab", buffering=0) as stream:
        while stream.write(b"x"):
            pass
    yield
    file.unlink()


async def test_dispatch_without_disk_space_leaves_nothing(
    para: Para, repo: Repository, api: Any, home: Path
) -> None:
    repo.commit("large", **{f"large{n}": str(n) * (4 << 20) for n in range(8)})
    for command, params in (("dispatch", {"prompt": "true"}), ("start", {})):
        failed = await refused(para, f"para.{command}", name="fix", **params)
        assert "the disk is full" in failed.message
        assert leftovers(api, home, repo) == []


async def refused(para: Para, command: str, **params: object) -> Failed:
    """Run a command that needs more disk space than is free."""
    with pytest.raises(Failed) as caught:
        await para.call(command, **params)
    assert caught.value.slug in {"store.unreadable", "engine.disk-full", "workspace.git-failed"}
    return caught.value


async def test_full_home_allows_ends_and_refuses_starts(
    servers: Servers, repo: Repository, api: Any, home: Path
) -> None:
    para = await servers()
    names = ("finished", "cancelled", "paused", "later")
    sessions = [await at_work(para, api, name) for name in names]
    await para.call("para.clean")
    assert (home / "reserve").stat().st_size > 1 << 20
    with full(home):
        await refused(para, "para.start", name="other")
        await para.call("para.finish", name="finished", message="it")
        with full(home, "more"):
            # another process took what was kept: the record is what it was
            before = records(home)
            await refused(para, "para.finish", name="later", message="it")
            assert records(home) == before
        await para.call("para.cancel", name="cancelled")
        await para.call("para.pause", name="paused")
        for session in sessions:
            assert lost(home, repo, session) == []
    for name in ("paused", "later"):
        await para.call("para.finish", name=name, message="it")
    for session in sessions:
        assert lost(home, repo, session) == []
    await para.call("para.clean")
    assert leftovers(api, home, repo) == []
    assert not (home / "reserve").exists(), "no session is left to end"


@pytest.mark.parametrize("command", ["finish", "cancel"])
async def test_finish_succeeds_after_the_repository_has_space_again(
    servers: Servers, api: Any, home: Path, tmp_path: Path, command: str
) -> None:
    params = {"message": "it"} if command == "finish" else {}
    with small_disk(tmp_path / "theirs") as disk:
        repo = scratch.make(disk / "repo")
        para = await servers(folders=[repo.path])
        session = await at_work(para, api, "fix")
        with full(disk):
            await refused(para, f"para.{command}", name="fix", **params)
            assert lost(home, repo, session) == []
            assert (await para.call("para.show", name="fix"))["state"] == "running"
        await para.call(f"para.{command}", name="fix", **params)
        assert lost(home, repo, session) == []
        assert leftovers(api, home, repo) == []
