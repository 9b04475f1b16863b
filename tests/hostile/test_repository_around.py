"""A repository around PARA_HOME is none of a workspace's: para's git never goes up to it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.client import Para
from tests.scratch import Repository

PRIVATE = "the person's alone\n"


@pytest.fixture
def around(tmp_path: Path, home: Path) -> Repository:
    """Make a repository of the folder that PARA_HOME is in, as people do with their home."""
    assert home.parent == tmp_path
    outer = Repository(tmp_path)
    outer.git("init", "-q", "-b", "main")
    outer.git("config", "user.name", "Ada")
    outer.git("config", "user.email", "ada@example.org")
    outer.write("tracked", "tracked\n")
    outer.git("add", "tracked")
    outer.git("commit", "-q", "-m", "first")
    outer.write("private", PRIVATE)
    return outer


def state_of(outer: Repository) -> Any:
    """Tell what git and the disk have of a repository."""
    git = outer.path / ".git"
    return (
        outer.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads"),
        (git / "HEAD").read_text(),
        (git / "index").read_bytes(),
        outer.git("cat-file", "--batch-all-objects", "--batch-check"),
        (outer.path / "private").read_text(),
    )


def spoil(workspace: Path, how: str) -> None:
    """Take what makes a folder a worktree of its repository away."""
    file = workspace / ".git"
    (workspace / "work").write_text("work\n")
    file.unlink()
    if how != "gone":
        file.mkdir()
    if how == "no git folder":
        (file / "HEAD").write_text("x\n")


def carry_out(advice: str, folder: Path) -> None:
    """Run the command line that a remedy ends with."""
    subprocess.run(["sh", "-c", advice.partition(": ")[2]], cwd=folder, check=True)


@pytest.mark.parametrize("how", ["gone", "empty", "no git folder"])
@pytest.mark.parametrize("command", ["diff", "finish", "cancel"])
async def test_a_worktree_without_its_git_file_is_no_part_of_another_repository(
    servers: Any, repo: Repository, around: Repository, tmp_path: Path, how: str, command: str
) -> None:
    para: Para = await servers(extra={"PARA_CONTAINER_ENABLED": "false"})
    session = await para.call("para.start", name="fix")
    spoil(Path(session["workspace"]), how)
    before = state_of(around)
    message = {"message": "m"} if command == "finish" else {}
    failed = await para.fails("workspace.git-failed", f"para.{command}", name="fix", **message)
    assert state_of(around) == before
    assert (Path(session["workspace"]) / "work").read_text() == "work\n"
    assert "no longer a worktree" in failed.message
    if how == "gone":
        carry_out(failed.remedies[0]["title"], tmp_path)
        await para.call(f"para.{command}", name="fix", **message)
        assert repo.holds("work", "work\n")


@pytest.mark.parametrize("command", ["diff", "finish", "cancel"])
async def test_a_worktree_without_its_git_file_is_not_the_repository_that_it_is_of(
    servers: Any, repo: Repository, command: str
) -> None:
    repo.commit(**{".gitignore": "/.para\n"})
    home = repo.path / ".para"
    para: Para = await servers(extra={"PARA_CONTAINER_ENABLED": "false", "PARA_HOME": str(home)})
    session = await para.call("para.start", name="fix")
    repo.write("private", PRIVATE)
    spoil(Path(session["workspace"]), "gone")
    before = state_of(repo)
    message = {"message": "m"} if command == "finish" else {}
    await para.fails("workspace.git-failed", f"para.{command}", name="fix", **message)
    assert state_of(repo) == before
