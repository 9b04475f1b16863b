"""A folder that an agent wrote is never taken for a repository of the user's."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from para_server.host.installations import find_session_id, is_in_para_home
from para_server.store import Store
from tests import scratch
from tests.client import Para
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "PARA_CONTAINER_ENABLED": "false"}
HOOKS = ("reference-transaction", "post-checkout", "pre-commit", "post-index-change", "fsmonitor")


def plant(git_dir: Path, canary: Path) -> None:
    """Write hooks and a configuration that run a program as soon as git works there."""
    hooks = git_dir / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in HOOKS:
        hook = hooks / name
        hook.write_text(f"#!/bin/sh\ntouch '{canary}'\n")
        hook.chmod(0o755)
    with (git_dir / "config").open("a") as config:
        config.write(f"[core]\n\tfsmonitor = {hooks}/fsmonitor\n\thooksPath = {hooks}\n")


async def is_refused(para: Para, canary: Path) -> None:
    """Show that no command takes the open folder for a repository."""
    await para.fails("workspace.not-a-repository", "para.start", name="second", type="worktree")
    await para.fails("workspace.not-a-repository", "para.branches")
    assert not canary.exists()


@pytest.mark.parametrize("way", ["itself", "below", "link", "uri", "home"])
async def test_a_workspace_is_no_repository(
    para: Para, servers: Servers, tmp_path: Path, home: Path, way: str
) -> None:
    session = await para.call("para.start", name="fix")
    workspace = Path(session["workspace"] or home / "work" / session["id"])
    canary = tmp_path / "canary"
    if (workspace / ".git").is_dir():
        plant(workspace / ".git", canary)
    link = tmp_path / "my project"
    link.symlink_to(home / "work")
    folder = {
        "itself": workspace,
        "below": workspace / "src",
        "link": link / session["id"],
        "uri": workspace / "..",
        "home": home,
    }[way]
    inside = await servers(folders=[folder])
    await is_refused(inside, canary)
    elsewhere = await servers(folders=[])
    repo = folder.as_uri() if way == "uri" else str(folder)
    refused = await elsewhere.fails(
        "workspace.not-a-repository", "para.start", repo=repo, name="third", type="worktree"
    )
    if way in {"itself", "below", "link"}:
        assert "fix" in refused.message
        # the session is still told by the folder, which needs no git
        assert (await inside.call("para.show"))["id"] == session["id"]
        assert (await inside.call("para.show", name="fix"))["id"] == session["id"]
    assert not canary.exists()


@pytest.mark.parametrize("way", ["file", "link"])
async def test_a_folder_whose_git_folder_is_an_agents_is_no_repository(
    servers: Servers, tmp_path: Path, way: str
) -> None:
    other = tmp_path / "state"  # in its own, para would clear away what has no record
    Store(other).make_folders()
    theirs = scratch.make(other / "work" / "fix-123456")
    canary = tmp_path / "canary"
    plant(theirs.path / ".git", canary)
    outside = tmp_path / "outside"
    outside.mkdir()
    if way == "file":
        (outside / ".git").write_text(f"gitdir: {theirs.path}/.git\n")
    else:
        (outside / ".git").symlink_to(theirs.path / ".git")
    await is_refused(await servers(folders=[outside], extra=NO_ENGINE), canary)


async def test_the_workspace_of_another_installation_is_no_repository(
    servers: Servers, tmp_path: Path
) -> None:
    other = tmp_path / "other state"
    Store(other).make_folders()
    theirs = scratch.make(other / "work" / "fix-123456")
    canary = tmp_path / "canary"
    plant(theirs.path / ".git", canary)
    await is_refused(await servers(folders=[theirs.path], extra=NO_ENGINE), canary)


@pytest.mark.parametrize("depth", ["", "objects"])
async def test_a_bare_repository_in_a_repository_is_no_repository(
    servers: Servers, repo: Repository, tmp_path: Path, depth: str
) -> None:
    canary = tmp_path / "canary"
    evil = repo.path / "vendor"
    repo.git("init", "-q", "--bare", str(evil))
    repo.git("-C", str(evil), "config", "core.bare", "false")
    repo.git("-C", str(evil), "config", "core.worktree", str(repo.path))
    repo.git("push", "-q", str(evil), "HEAD:refs/heads/main")
    plant(evil, canary)
    await is_refused(await servers(folders=[evil / depth], extra=NO_ENGINE), canary)


async def test_variables_of_git_lead_to_no_other_repository(
    servers: Servers, repo: Repository, tmp_path: Path
) -> None:
    evil = scratch.make(tmp_path / "evil")
    canary = tmp_path / "canary"
    plant(evil.path / ".git", canary)
    for variables in (
        {"GIT_DIR": str(evil.path / ".git")},
        {"GIT_COMMON_DIR": str(evil.path / ".git")},
        {"GIT_WORK_TREE": str(evil.path), "GIT_INDEX_FILE": str(evil.path / ".git/index")},
        {"GIT_QUARANTINE_PATH": str(tmp_path), "GIT_LITERAL_PATHSPECS": "1"},
    ):
        para = await servers(extra=NO_ENGINE | variables)
        session = await para.call("para.start", name="fix")
        assert session["repo"] == str(repo.path)
        Repository(Path(session["workspace"])).write("work", "1\n")
        await para.call("para.finish", name="fix", message="work")
        assert not canary.exists()
        repo.git("branch", "-D", "para/fix")


def test_a_home_is_known_by_every_path_that_leads_there(tmp_path: Path) -> None:
    home = tmp_path / "state"
    Store(home).make_folders()
    inner = home / "work" / "fix-123456" / "a b\nc"
    inner.mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(inner)
    descriptor = os.open(inner, os.O_RDONLY)
    try:
        for folder in (inner, link, tmp_path / "x/../link", Path(f"/proc/self/fd/{descriptor}")):
            if folder == tmp_path / "x/../link":
                (tmp_path / "x").mkdir()
            assert is_in_para_home(folder)
            assert find_session_id(folder, home) == "fix-123456"
            assert find_session_id(folder, tmp_path / "other") is None
    finally:
        os.close(descriptor)
    assert is_in_para_home(home)
    assert find_session_id(home, home) is None
    assert not is_in_para_home(tmp_path)
    assert not is_in_para_home(tmp_path / "nowhere")
    (tmp_path / "half").mkdir()
    for part in ("sessions", "work", "agents"):
        (tmp_path / "half" / part).mkdir()
    assert not is_in_para_home(tmp_path / "half")
