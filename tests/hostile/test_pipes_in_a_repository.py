"""Pipes among git's own files, at which every git waits for ever."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.client import Para
from tests.scratch import Repository


@pytest.mark.parametrize("kind", ["worktree", "container"])
@pytest.mark.parametrize("name", ["info/attributes", "packed-refs", "index", "config", "HEAD"])
async def test_a_pipe_among_the_files_of_git_is_named_or_given_up_on(
    para: Para, repo: Repository, name: str, kind: str
) -> None:
    good = repo.path.parent / "good"
    shutil.copytree(repo.path, good)
    file = repo.path / ".git" / name
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    failed = await para.fails("workspace.git-failed", "para.start", name="fix", type=kind)
    assert name in failed.message or "longer than" in failed.message
    assert not (await para.call("para.list", all=True))["sessions"]
    session = await para.call("para.start", name="fix", type="worktree", repo=str(good))
    assert session["state"] == "running"
