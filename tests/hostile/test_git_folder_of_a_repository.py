"""What stands in a repository's own .git reaches no file of the host, and runs no monitor."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.client import Para
from tests.hostile.conftest import Bait
from tests.scratch import Repository

EXCLUDE = ".git/info/exclude"


def by_setting(repo: Repository, secret: Path) -> None:
    """Name the secret as the file of patterns."""
    repo.git("config", "core.excludesFile", str(secret))


def by_included_setting(repo: Repository, secret: Path) -> None:
    """Do it in a file that the configuration includes."""
    repo.write("settings", f"[core]\n\texcludesFile = {secret}\n")
    repo.git("config", "include.path", str(repo.path / "settings"))


def by_link(repo: Repository, secret: Path) -> None:
    """Put a link in the place of the repository's own patterns."""
    (repo.path / EXCLUDE).unlink(missing_ok=True)
    (repo.path / EXCLUDE).symlink_to(secret)


def by_folder(repo: Repository, secret: Path) -> None:
    """Put a link in the place of their folder."""
    shutil.rmtree(repo.path / ".git/info", ignore_errors=True)
    elsewhere = secret.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "exclude").symlink_to(secret)
    (repo.path / ".git/info").symlink_to(elsewhere)


@pytest.mark.parametrize("way", [by_setting, by_included_setting, by_link, by_folder])
@pytest.mark.parametrize("share_from", ["0", "1000000"], ids=["shared files", "a clone"])
async def test_no_file_of_the_host_is_given_to_sessions_as_patterns(
    servers: Any, repo: Repository, api: Any, bait: Bait, way: Any, share_from: str
) -> None:
    way(repo, bait.secret)
    para = await servers(extra={"PARA_GIT_SHARE_FROM": share_from})
    session = await para.call("para.start", name="fix")
    assert any("is ignored in sessions" in one for one in session["warnings"])
    given = engine.run(
        api, session["container"]["name"], "cat .git/info/exclude || true; echo 1 >a"
    )
    assert bait.text.strip() not in given
    finished = await para.call("para.finish", name="fix", message="m")
    assert finished["files"] == 1


async def test_patterns_of_the_repository_and_of_the_user_count(
    para: Para, repo: Repository, api: Any, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("*.mine\n")
    repo.git("config", "--global", "core.excludesFile", str(mine))
    (repo.path / EXCLUDE).write_text("*.own\n")
    session = await para.call("para.start", name="fix")
    assert session["warnings"] == []
    engine.run(api, session["container"]["name"], "echo 1 >a.mine; echo 2 >b.own; echo 3 >c")
    finished = await para.call("para.finish", name="fix", message="m")
    assert finished["files"] == 1


async def test_objects_that_are_a_link_to_other_files_are_refused(
    para: Para, repo: Repository
) -> None:
    objects, top = repo.path / ".git/objects", repo.path
    for one in objects.iterdir():
        one.rename(top / one.name)
    objects.rmdir()
    objects.symlink_to(top)
    assert repo.git("rev-parse", "HEAD")
    refused = await para.fails("workspace.git-failed", "para.start", name="fix")
    assert "more than git's objects" in str(refused)


async def test_objects_that_are_a_link_to_a_store_are_lent(
    para: Para, repo: Repository, api: Any, tmp_path: Path
) -> None:
    objects, store = repo.path / ".git/objects", tmp_path / "store"
    objects.rename(store)
    objects.symlink_to(store)
    session = await para.call("para.start", name="fix")
    log = engine.run(api, session["container"]["name"], "git fsck --no-dangling; git log --oneline")
    assert "first" in log
    await para.call("para.cancel", name="fix")


async def test_a_monitor_of_the_repository_does_not_run(
    para: Para, repo: Repository, api: Any, tmp_path: Path
) -> None:
    monitor, canary = tmp_path / "monitor", tmp_path / "canary"
    monitor.write_text(f"#!/bin/sh\ntouch {canary}\n")
    monitor.chmod(0o755)
    repo.git("config", "core.fsmonitor", str(monitor))
    session = await para.call("para.start", name="fix")
    engine.run(
        api, session["container"]["name"], "echo more >>more; git add -A; git commit -qm more"
    )
    await para.call("para.diff", name="fix")
    await para.call("para.finish", name="fix", message="m")
    await para.call("para.resume", name="fix")
    await para.call("para.cancel", name="fix")
    await para.call("para.recover", name="fix")
    await para.call("para.cancel", name="fix")
    assert not canary.exists()
