"""Repositories are found, and obstacles are reported by name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests import scratch
from tests.client import Para
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "PARA_CONTAINER_ENABLED": "false"}
OWNER = 12345


def break_user_config(repo: Repository) -> None:
    Path(os.environ["GIT_CONFIG_GLOBAL"]).write_text("[user\n")
    assert repo.path.is_dir()


def break_config(repo: Repository) -> None:
    with (repo.path / ".git/config").open("a") as config:
        config.write("[core\n")


def require_unknown_extension(repo: Repository) -> None:
    repo.git("config", "core.repositoryFormatVersion", "1")
    repo.git("config", "extensions.madeUpLater", "true")


def empty_head(repo: Repository) -> None:
    (repo.path / ".git/HEAD").write_text("")


def lose_the_main_worktree(repo: Repository) -> None:
    shutil.rmtree(repo.path / ".git")
    (repo.path / ".git").write_text(f"gitdir: {repo.path}/gone/.git/worktrees/x\n")


@pytest.mark.parametrize(
    ("trouble", "named"),
    [
        (break_user_config, ".gitconfig"),
        (break_config, "config"),
        (require_unknown_extension, "madeuplater"),
        (empty_head, ".git"),
        (lose_the_main_worktree, "gone/.git/worktrees/x"),
    ],
)
async def test_error_names_the_broken_file_of_git(
    servers: Servers, repo: Repository, trouble: Callable[[Repository], None], named: str
) -> None:
    trouble(repo)
    para = await servers(extra=NO_ENGINE)
    for command in ("para.start", "para.branches"):
        failed = await para.fails("workspace.git-failed", command)
        assert named in failed.message, failed.message
        assert "git init" not in str(failed.remedies)


async def test_missing_git_is_reported(servers: Servers, tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    para = await servers(extra=NO_ENGINE | {"PATH": str(empty)})
    failed = await para.fails("workspace.git-failed", "para.start")
    assert "git is not installed" in failed.message
    assert "Install git" in failed.remedies[0]["title"]


async def test_folder_without_a_repository_is_reported(servers: Servers, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    para = await servers(extra=NO_ENGINE, folders=[folder])
    failed = await para.fails("workspace.not-a-repository", "para.start")
    assert "git init" in failed.remedies[0]["title"]


async def test_bare_repository_is_reported(
    servers: Servers, repo: Repository, tmp_path: Path
) -> None:
    repo.git("clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    para = await servers(extra=NO_ENGINE, folders=[tmp_path / "bare"])
    failed = await para.fails("workspace.not-a-repository", "para.start")
    assert "work tree" in failed.message
    assert "git init" not in str(failed.remedies)


@pytest.mark.root
async def test_repository_of_another_user_requires_safe_directory(
    servers: Servers, repo: Repository
) -> None:
    for root, folders, files in os.walk(repo.path):
        for name in (".", *folders, *files):
            os.lchown(Path(root) / name, OWNER, OWNER)
    para = await servers(extra=NO_ENGINE)
    failed = await para.fails("workspace.git-failed", "para.start")
    assert "another user" in failed.message
    assert f"--add safe.directory {repo.path}" in failed.remedies[0]["title"]
    variables = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": str(repo.path),
    }
    trusting = await servers(extra=NO_ENGINE | variables)
    assert (await trusting.call("para.start", name="fix"))["state"] == "running"


@pytest.mark.parametrize("fate", ["removed", "moved", "replaced"])
@pytest.mark.parametrize("kind", ["container", "worktree"])
async def test_session_of_a_lost_linked_worktree_ends_in_the_repository(
    api: object, servers: Servers, repo: Repository, tmp_path: Path, kind: str, fate: str
) -> None:
    assert api
    linked = tmp_path / "linked"
    repo.git("worktree", "add", "-q", "--detach", str(linked))
    para = await servers(folders=[linked])
    session = await para.call("para.start", name="fix", type=kind)
    (Path(session["workspace"]) / "work").write_text("1\n")
    if fate == "moved":
        repo.git("worktree", "move", str(linked), str(tmp_path / "moved"))
    else:
        repo.git("worktree", "remove", str(linked))
    if fate == "replaced":
        scratch.make(linked)
    main = await servers(folders=[repo.path])
    listed = await main.call("para.list", repo=str(repo.path))
    assert [one["id"] for one in listed["sessions"]] == [session["id"]]
    await main.call("para.diff", name="fix")
    await main.call("para.finish", name="fix", message="work")
    assert repo.show("para/fix:work") == "1"
    assert not [ref for ref in repo.refs() if ref.startswith("refs/para/")]


async def test_session_of_a_bare_repository_ends_in_the_bare_repository(
    servers: Servers, repo: Repository, tmp_path: Path
) -> None:
    bare = Repository(tmp_path / "bare")
    repo.git("clone", "-q", "--bare", ".", str(bare.path))
    linked = tmp_path / "linked"
    bare.git("config", "user.name", "Ada")
    bare.git("config", "user.email", "ada@example.org")
    bare.git("worktree", "add", "-q", "--detach", str(linked))
    para = await servers(folders=[linked], extra=NO_ENGINE)
    session = await para.call("para.start", name="fix")
    (Path(session["workspace"]) / "work").write_text("1\n")
    bare.git("worktree", "remove", str(linked))
    elsewhere = await servers(folders=[], extra=NO_ENGINE)
    await elsewhere.call("para.finish", name="fix", message="work", repo=str(linked))
    assert bare.show("para/fix:work") == "1"


async def test_default_session_is_the_one_of_the_current_worktree(
    servers: Servers, repo: Repository, tmp_path: Path
) -> None:
    linked = tmp_path / "linked"
    repo.git("worktree", "add", "-q", "--detach", str(linked))
    linked_server = await servers(folders=[linked], extra=NO_ENGINE)
    main_server = await servers(folders=[repo.path], extra=NO_ENGINE)
    one = await linked_server.call("para.start", name="one")
    assert (await main_server.call("para.show"))["id"] == one["id"]
    two = await main_server.call("para.start", name="two")
    assert (await main_server.call("para.show"))["id"] == two["id"]
    assert (await linked_server.call("para.show"))["id"] == one["id"]
    assert (await main_server.call("para.show", name="one"))["id"] == one["id"]


async def test_path_may_contain_a_newline(servers: Servers, tmp_path: Path) -> None:
    repo = scratch.make(tmp_path / "a\nb c")
    para = await servers(folders=[repo.path], extra=NO_ENGINE)
    session = await para.call("para.start", name="fix")
    assert session["repo"] == str(repo.path)
