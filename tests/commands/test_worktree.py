"""Worktree sessions, which need no engine."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.client import Para
from tests.scratch import Repository

NOWHERE = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "PARA_CONTAINER_ENABLED": "false"}
Servers = Callable[..., Awaitable[Para]]


@pytest_asyncio.fixture
async def para(servers: Servers) -> Para:
    """Start a server without an engine."""
    return await servers(extra=NOWHERE)


async def started(para: Para, **params: object) -> tuple[dict[str, Any], Path]:
    """Start a session and return it with its folder."""
    session: dict[str, Any] = await para.call("para.start", name="fix", **params)
    return session, Path(session["workspace"])


def work(folder: Path) -> None:
    """Create committed, changed and untracked files."""
    tree = Repository(folder)
    tree.commit("by a person", committed="1\n")
    tree.write("README.md", "changed\n")
    tree.write("untracked", "2\n")


async def test_finish_turns_worktree_changes_into_a_branch(para: Para, repo: Repository) -> None:
    before = repo.fingerprint()
    session, folder = await started(para)
    assert (session["type"], session["state"], session["container"]) == (
        "worktree",
        "running",
        None,
    )
    work(folder)
    result = await para.call("para.finish", message="the rest", name="fix")
    assert (result["branch"], result["files"]) == ("para/fix", 3)
    assert repo.git("log", "--format=%s", "para/fix") == "the rest\nby a person\nfirst"
    assert not folder.exists()
    assert repo.git("worktree", "list", "--porcelain").count("worktree ") == 1
    assert set(repo.refs()) == {"refs/heads/main", "refs/heads/para/fix"}
    assert repo.fingerprint() == before


async def test_cancelled_worktree_is_recovered_unchanged(para: Para, repo: Repository) -> None:
    session, folder = await started(para)
    work(folder)
    before = Repository(folder).git("status", "--short")
    ended = await para.call("para.cancel", name="fix")
    assert ended["archive"] == f"refs/para/archive/{session['id']}"
    assert not folder.exists()
    assert set(repo.refs()) == {"refs/heads/main", ended["archive"]}
    back = await para.call("para.recover", name="fix")
    tree = Repository(Path(back["workspace"]))
    assert tree.git("log", "--format=%s") == "by a person\nfirst"
    assert tree.git("status", "--short") == before


async def test_finished_worktree_is_resumed(para: Para, repo: Repository) -> None:
    _, folder = await started(para)
    Repository(folder).write("one", "1\n")
    await para.call("para.finish", message="one", name="fix")
    again = await para.call("para.resume", name="fix")
    assert again["state"] == "running"
    Repository(Path(again["workspace"])).write("two", "2\n")
    await para.call("para.finish", message="two", name="fix")
    assert repo.git("log", "--format=%s", "para/fix") == "two\none\nfirst"


async def test_finish_of_a_worktree_accepts_a_branch(para: Para, repo: Repository) -> None:
    _, folder = await started(para)
    work(folder)
    await para.fails(
        "workspace.branch-exists", "para.finish", message="x", name="fix", branch="main"
    )
    result = await para.call("para.finish", message="x", name="fix", branch="topic")
    assert result["branch"] == "topic"
    assert set(repo.refs()) == {"refs/heads/main", "refs/heads/topic"}


async def test_nothing_runs_unattended_on_the_host(para: Para, home: Path) -> None:
    session = await para.call("para.dispatch", prompt="touch ran", name="fix")
    assert session["agent"] is None
    opened = await para.call("para.open", name="fix")
    folder = Path(session["workspace"])
    assert opened["uri"] == folder.as_uri()
    assert opened["folder"] == str(folder) == str(home / "work" / session["id"])
    assert not (folder / "ran").exists()
    terminal = opened["terminal"]
    process = await asyncio.create_subprocess_exec(
        terminal["command"], *terminal["args"], cwd=folder
    )
    assert await process.wait() == 0
    assert (folder / "ran").exists()


async def test_pause_refuses_a_worktree(para: Para) -> None:
    await started(para)
    refused = await para.fails("session.wrong-type", "para.pause", name="fix")
    assert refused.message == "Pause only works with container sessions"


async def test_diff_has_uncommitted_changes_and_keeps_the_index(para: Para) -> None:
    _, folder = await started(para)
    work(folder)
    tree = Repository(folder)
    tree.git("add", "README.md")
    before = tree.git("status", "--short")
    shown = await para.call("para.diff", name="fix")
    assert {one["path"]: one["status"] for one in shown["files"]} == {
        "README.md": "M",
        "committed": "A",
        "untracked": "A",
    }
    assert "+changed" in shown["patch"]
    assert tree.git("status", "--short") == before


async def test_cancel_of_an_unchanged_worktree_leaves_no_ref(para: Para, repo: Repository) -> None:
    await started(para)
    await para.fails("workspace.nothing-to-finish", "para.finish", message="x", name="fix")
    assert (await para.call("para.cancel", name="fix"))["archive"] is None
    assert set(repo.refs()) == {"refs/heads/main"}


async def test_open_folder_selects_the_session(
    para: Para, servers: Servers, tmp_path: Path
) -> None:
    session, folder = await started(para)
    await para.call("para.start", name="other")
    inside = await servers(extra=NOWHERE, folders=[folder])
    assert (await inside.call("para.show"))["id"] == session["id"]
    assert (await inside.call("para.logs"))["text"] == ""
    nowhere = await servers(extra=NOWHERE, folders=[tmp_path])
    assert (await nowhere.call("para.show", name="other"))["name"] == "other"
    await nowhere.fails("workspace.not-a-repository", "para.show")


async def test_requested_worktree_needs_no_engine(servers: Servers) -> None:
    para = await servers(extra={"DOCKER_HOST": NOWHERE["DOCKER_HOST"]})
    _, folder = await started(para, type="worktree")
    work(folder)
    assert (await para.call("para.show", name="fix"))["state"] == "running"
    assert len((await para.call("para.diff", name="fix"))["files"]) == 3
    await para.call("para.finish", message="x", name="fix")


async def test_cancel_without_the_folder_keeps_commits(para: Para, repo: Repository) -> None:
    _, folder = await started(para)
    work(folder)
    shutil.rmtree(folder)
    await para.fails("workspace.git-failed", "para.finish", message="x", name="fix")
    ended = await para.call("para.cancel", name="fix")
    assert repo.show(f"{ended['archive']}:committed") == "1"
    assert repo.git("worktree", "list", "--porcelain").count("worktree ") == 1
    assert set(repo.refs()) == {"refs/heads/main", ended["archive"]}
    back = await para.call("para.recover", name="fix")
    assert (Path(back["workspace"]) / "committed").exists()


async def test_invalid_names_are_refused(para: Para) -> None:
    for name in ("a b", "-a", "", "x" * 51, "a/b", "a.b", "a\n"):
        refused = await para.fails("command.invalid-params", "para.start", name=name)
        assert refused.data["issues"][0]["path"] == "name"
        assert "name: a name is 1 to 50 of a-z" in refused.message
