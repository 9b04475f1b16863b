"""The user's hooks and signing programs run, can refuse, and never block para."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.client import DEADLINE, Failed, Para, eventually
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "PARA_CONTAINER_ENABLED": "false"}
CANCELLED = -32800


def write_hook(repo: Repository, name: str, script: str) -> None:
    file = repo.path / ".git/hooks" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def read_state(tree: Repository) -> tuple[str, str, str, str]:
    """Return the state that a refused finish must not change."""
    return (
        tree.git("rev-parse", "HEAD"),
        tree.git("symbolic-ref", "-q", "HEAD", check=False),
        tree.git("status", "--porcelain=v2", "--branch"),
        tree.git("ls-files", "-s"),
    )


async def start_with_changes(para: Para) -> Repository:
    """Start a session with a staged, a changed and an untracked file."""
    session = await para.call("para.start", name="fix")
    tree = Repository(Path(session["workspace"]))
    tree.write("README.md", "staged\n")
    tree.git("add", "README.md")
    tree.write("README.md", "changed\n")
    tree.write("untracked", "1\n")
    return tree


@pytest.mark.parametrize("name", ["pre-commit", "commit-msg", "prepare-commit-msg"])
async def test_refusing_hook_leaves_the_worktree_unchanged(
    servers: Servers, repo: Repository, name: str
) -> None:
    para = await servers(extra=NO_ENGINE)
    tree = await start_with_changes(para)
    before = read_state(tree)
    write_hook(repo, name, "echo 'not like this' >&2; exit 1")
    failed = await para.fails("workspace.git-failed", "para.finish", name="fix", message="work")
    assert "not like this" in failed.message
    assert read_state(tree) == before
    assert (await para.call("para.show", name="fix"))["state"] == "running"
    write_hook(repo, name, "exit 0")
    await para.call("para.finish", name="fix", message="work")
    assert repo.show("para/fix:README.md") == "changed"
    assert repo.show("para/fix:untracked") == "1"


async def test_hook_can_change_the_commit(servers: Servers, repo: Repository) -> None:
    para = await servers(extra=NO_ENGINE)
    await start_with_changes(para)
    write_hook(repo, "pre-commit", "echo formatted >README.md; git add README.md")
    write_hook(repo, "commit-msg", 'echo "Reviewed-by: me" >>"$1"')
    await para.call("para.finish", name="fix", message="work")
    assert repo.show("para/fix:README.md") == "formatted"
    assert "Reviewed-by: me" in repo.git("log", "-1", "--format=%B", "para/fix")


@pytest.mark.parametrize(
    "waits",
    ["sleep 1000", "trap '' TERM; sleep 1000 & while :; do wait; done", "setsid sleep 1000"],
)
@pytest.mark.parametrize("where", ["pre-commit", "post-commit", "signature"])
async def test_cancelled_finish_stops_hooks_and_commits_nothing(
    servers: Servers, repo: Repository, tmp_path: Path, where: str, waits: str
) -> None:
    para = await servers(extra=NO_ENGINE)
    tree = await start_with_changes(para)
    before = read_state(tree)
    started = tmp_path / "started"
    if where == "signature":
        signer = tmp_path / "signer"
        signer.write_text(f"#!/bin/sh\necho $$ >'{started}'\n{waits}\n")
        signer.chmod(0o755)
        repo.git("config", "gpg.program", str(signer))
        repo.git("config", "commit.gpgSign", "true")
    else:
        write_hook(repo, where, f"echo $$ >'{started}'\n{waits}")
    sent = para.send("para.finish", [{"name": "fix", "message": "work"}], msg_id="finish")

    async def there() -> bool:
        return started.exists() and started.read_text().endswith("\n")

    await eventually(there, bool)
    para.cancel("finish")
    with pytest.raises(Failed) as failed:
        await para.answer(sent, DEADLINE)
    assert failed.value.code == CANCELLED
    assert read_state(tree) == before
    shown = await para.call("para.show", name="fix")
    assert shown["state"] == "running"
    assert not list(Path(tree.git("rev-parse", "--absolute-git-dir")).glob("index.para-*"))

    async def runs_on() -> bool:
        return Path("/proc", started.read_text().strip()).exists()

    await eventually(runs_on, lambda seen: not seen)


async def test_finish_does_not_wait_for_background_processes_of_hooks(
    servers: Servers, repo: Repository, tmp_path: Path
) -> None:
    para = await servers(extra=NO_ENGINE)
    await start_with_changes(para)
    pid = tmp_path / "pid"
    write_hook(repo, "post-commit", f"sleep 1000 & echo $! >'{pid}'")
    async with asyncio.timeout(DEADLINE):
        await para.call("para.finish", name="fix", message="work")
    os.kill(int(pid.read_text()), 9)  # it still runs
    assert repo.show("para/fix:untracked") == "1"


async def test_failing_post_checkout_hook_is_a_warning(servers: Servers, repo: Repository) -> None:
    write_hook(repo, "post-checkout", "echo 'no such tool' >&2; exit 1")
    para = await servers(extra=NO_ENGINE)
    session = await para.call("para.start", name="fix")
    assert session["state"] == "running"
    assert any("post-checkout" in one and "no such tool" in one for one in session["warnings"])
    tree = Repository(Path(session["workspace"]))
    assert tree.git("status", "--porcelain") == ""
    tree.write("work", "1\n")
    await para.call("para.cancel", name="fix")
    back = await para.call("para.recover", name="fix")
    assert (Path(back["workspace"]) / "work").read_text() == "1\n"


async def test_incomplete_worktree_is_removed(servers: Servers, repo: Repository) -> None:
    repo.commit("filtered", **{".gitattributes": "*.bin filter=broken\n", "a.bin": "1\n"})
    repo.git("config", "filter.broken.smudge", "false")
    repo.git("config", "filter.broken.required", "true")
    write_hook(repo, "post-checkout", "exit 0")
    para = await servers(extra=NO_ENGINE)
    await para.fails("workspace.git-failed", "para.start", name="fix")
    assert set(repo.refs()) == {"refs/heads/main"}
    assert repo.git("worktree", "list", "--porcelain").count("worktree ") == 1


async def test_missing_identity_is_reported_with_remedies(
    servers: Servers, repo: Repository
) -> None:
    para = await servers(extra=NO_ENGINE)
    tree = await start_with_changes(para)
    repo.git("config", "--unset-all", "user.name")
    repo.git("config", "user.useConfigOnly", "true")  # no machine has a name that would do
    before = read_state(tree)
    failed = await para.fails("workspace.git-failed", "para.finish", name="fix", message="work")
    assert failed.message == "git commit failed: git does not know your name and e-mail address"
    assert [remedy["title"].partition(":")[0] for remedy in failed.remedies] == [
        "Set your name",
        "Set your address",
    ]
    assert read_state(tree) == before
