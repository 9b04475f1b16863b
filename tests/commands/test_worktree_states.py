"""Worktree sessions end from any state of the worktree, and report work off the branch."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests import scratch
from tests.client import Para
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "PARA_CONTAINER_ENABLED": "false"}


async def begun(servers: Servers) -> tuple[Para, Repository]:
    para = await servers(extra=NO_ENGINE, watching=False)
    session = await para.call("para.start", name="fix")
    return para, Repository(Path(session["workspace"]))


@pytest.mark.parametrize("way", ["detached", "other", "renamed"])
async def test_commits_off_the_branch_are_on_the_finished_branch(
    servers: Servers, repo: Repository, way: str
) -> None:
    para, tree = await begun(servers)
    moves = {
        "detached": ("checkout", "-q", "--detach"),
        "other": ("switch", "-q", "-c", "elsewhere"),
        "renamed": ("branch", "-m", "feature"),
    }
    tree.git(*moves[way])
    commit = tree.commit("work", one="1\n")
    tree.write("two", "2\n")
    result = await para.call("para.finish", name="fix", message="the rest")
    assert result["branch"] == ("feature" if way == "renamed" else "para/fix")
    assert result["left"] == []
    assert repo.git("log", "--format=%s", result["branch"]) == "the rest\nwork\nfirst"
    assert repo.git("rev-parse", f"{result['branch']}~1") == commit
    if way == "other":  # a branch created by a person is not moved
        assert repo.git("rev-parse", "elsewhere") == commit


async def test_other_branch_stays_and_is_reported(servers: Servers, repo: Repository) -> None:
    para, tree = await begun(servers)
    tree.git("switch", "-q", "-c", "elsewhere")
    other = tree.commit("aside", aside="1\n")
    tree.git("switch", "-q", "para/fix")
    work = tree.commit("work", work="1\n")
    tree.git("switch", "-q", "elsewhere")
    tree.write("dirty", "1\n")
    failed = await para.fails("workspace.git-failed", "para.finish", name="fix", message="x")
    assert "elsewhere" in failed.message
    (tree.path / "dirty").unlink()
    result = await para.call("para.finish", name="fix", message="x")
    assert [(one["what"], one["ref"]) for one in result["left"]] == [
        ("branch", "refs/heads/elsewhere")
    ]
    assert (repo.git("rev-parse", "para/fix"), repo.git("rev-parse", "elsewhere")) == (work, other)


async def test_commits_on_no_branch_are_archived(servers: Servers, repo: Repository) -> None:
    para, tree = await begun(servers)
    tree.git("checkout", "-q", "--detach")
    alone = tree.commit("alone", alone="1\n")
    tree.git("switch", "-q", "para/fix")
    tree.commit("work", work="1\n")
    result = await para.call("para.finish", name="fix", message="x")
    assert result["archive"] in repo.refs()
    assert [(one["what"], one["ref"]) for one in result["left"]] == [("branch", result["archive"])]
    repo.git("merge-base", "--is-ancestor", alone, result["archive"])


OPERATIONS = {
    "merge": ("merge", "-q", "side"),
    "rebase": ("rebase", "-q", "side"),
    "cherry-pick": ("cherry-pick", "side"),
    "revert": ("revert", "--no-edit", "HEAD~1"),
    "bisection": ("bisect", "start", "HEAD", "HEAD~2"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_stopped_operation_is_named_by_finish_and_kept_by_cancel(
    servers: Servers, repo: Repository, operation: str
) -> None:
    para, tree = await begun(servers)
    tree.git("branch", "side")
    tree.commit("one", **{"README.md": "one\n"})
    tree.commit("two", **{"README.md": "two\n"})
    ours = tree.git("rev-parse", "HEAD")
    tree.git("switch", "-q", "side")
    tree.commit("theirs", **{"README.md": "theirs\n"})
    tree.git("switch", "-q", "para/fix")
    tree.git(*OPERATIONS[operation], check=False)
    before = tree.git("status", "--porcelain=v2", "--branch")
    failed = await para.fails("workspace.git-failed", "para.finish", name="fix", message="x")
    assert operation in failed.message
    assert tree.git("status", "--porcelain=v2", "--branch") == before
    text = (tree.path / "README.md").read_text()
    ended = await para.call("para.cancel", name="fix")
    assert ("merge" in {one["what"] for one in ended["left"]}) == (operation != "none")
    repo.git("merge-base", "--is-ancestor", ours, ended["archive"])
    back = await para.call("para.recover", name="fix")
    assert (Path(back["workspace"]) / "README.md").read_text() == text


@pytest.mark.parametrize("how", ["checked out", "rebased", "bisected"])
async def test_branch_checked_out_elsewhere_is_not_moved(
    servers: Servers, repo: Repository, how: str, tmp_path: Path
) -> None:
    para, tree = await begun(servers)
    tree.commit("one", one="1\n")
    tree.commit("two", two="2\n")
    tip = tree.git("rev-parse", "HEAD")
    tree.git("checkout", "-q", "--detach")
    tree.commit("three", three="3\n")
    elsewhere = Repository(tmp_path / "elsewhere")
    repo.git("worktree", "add", "-q", str(elsewhere.path), "para/fix")
    if how == "rebased":
        elsewhere.git("-c", "sequence.editor=sed -i 1s/pick/edit/", "rebase", "-q", "-i", "HEAD~2")
    elif how == "bisected":
        elsewhere.git("bisect", "start", "HEAD", "HEAD~2")
    await para.fails("workspace.branch-exists", "para.finish", name="fix", message="x")
    assert repo.git("rev-parse", "para/fix") == tip
    await para.call("para.cancel", name="fix")  # which leaves a branch in use where it is
    assert repo.git("rev-parse", "para/fix") == tip


@pytest.mark.parametrize("made", ["with a commit", "empty"])
async def test_nested_repository_keeps_files_and_history(
    servers: Servers, repo: Repository, made: str
) -> None:
    para, tree = await begun(servers)
    inner = scratch.make(tree.path / "inner")
    tip = inner.git("rev-parse", "HEAD")
    if made == "empty":
        inner.git("update-ref", "-d", "HEAD")
        inner.git("rm", "-q", "-r", "--cached", ".")
    inner.write("own", "1\n")
    inner.write(".gitignore", "skipped\n")
    inner.write("skipped", "1\n")
    result = await para.call("para.finish", name="fix", message="x")
    listed = repo.git("ls-tree", "-r", "--name-only", "para/fix").splitlines()
    assert "inner/own" in listed
    assert "inner/skipped" not in listed
    if made == "with a commit":
        assert [one["path"] for one in result["left"]] == ["inner"]
        repo.git("merge-base", "--is-ancestor", tip, result["archive"])


@pytest.mark.parametrize(
    ("its_git", "end"), [("removed", "finish"), ("removed", "cancel"), ("broken", "cancel")]
)
async def test_files_in_an_uninitialized_submodule_are_archived(
    servers: Servers, repo: Repository, its_git: str, end: str
) -> None:
    para, tree = await begun(servers)
    inner = scratch.make(tree.path / "sub")
    tree.git("add", "sub")
    tree.git("commit", "-qm", "a link")
    shutil.rmtree(inner.path / ".git")
    if its_git == "broken":
        tree.write("sub/.git", "gitdir: /nowhere/at/all\n")
    tree.write("sub/deep/t", "mine alone\n")
    message = {"message": "x"} if end == "finish" else {}
    result = await para.call(f"para.{end}", name="fix", **message)
    # recover puts them back, so that nothing is left of a session that was cancelled
    assert [one["path"] for one in result["left"]] == (["sub"] if message else [])
    assert repo.show(f"{result['archive']}:sub/deep/t") == "mine alone"


@pytest.mark.parametrize("its_git", ["there", "removed"])
async def test_submodule_in_an_ignored_folder_does_not_prevent_cancel(
    servers: Servers, repo: Repository, its_git: str
) -> None:
    para, tree = await begun(servers)
    inner = scratch.make(tree.path / "build/sub")
    tree.git("add", "build/sub")
    tree.git("commit", "-qm", "a link")
    tree.write(".gitignore", "build/\n")
    inner.write("README.md", "changed\n")
    if its_git == "removed":
        shutil.rmtree(inner.path / ".git")
    tree.write("work", "1\n")
    result = await para.call("para.cancel", name="fix")
    assert repo.show(f"{result['archive']}:work") == "1"
    assert result["left"] == []


async def test_repository_in_a_tracked_repository_is_archived(
    servers: Servers, repo: Repository
) -> None:
    para, tree = await begun(servers)
    inner = scratch.make(tree.path / "inner")
    tree.git("add", "inner")
    tree.git("commit", "-qm", "a link")
    scratch.make(inner.path / "deeper").write("own", "mine alone\n")
    result = await para.call("para.cancel", name="fix")
    assert repo.show(f"{result['archive']}:inner/deeper/own") == "mine alone"


async def test_files_hidden_from_git_are_archived(servers: Servers, repo: Repository) -> None:
    para, tree = await begun(servers)
    tree.git("update-index", "--skip-worktree", "README.md")
    tree.write("README.md", "mine alone\n")
    tree.write("work", "1\n")
    result = await para.call("para.finish", name="fix", message="x")
    assert repo.show("para/fix:README.md") == "# A repository"
    assert repo.show(f"{result['archive']}:README.md") == "mine alone"
    assert "README.md" in result["left"][0]["detail"]
