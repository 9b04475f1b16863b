"""A file that holds a task: a repository's own leads nowhere else."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.client import Para
from tests.scratch import Repository

WITHOUT_ENGINE = {"PARA_CONTAINER_ENABLED": "false", "DOCKER_HOST": "unix:///nowhere/docker.sock"}
Servers = Callable[..., Awaitable[Para]]
TEXT = "what a host has"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Make a folder with a file that no repository may read."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text(TEXT)
    return folder


async def test_links_of_a_repository_are_not_followed(
    servers: Servers, repo: Repository, outside: Path, home: Path
) -> None:
    (repo.path / "link").symlink_to(outside / "secret")
    (repo.path / "relative").symlink_to("../outside/secret")
    (repo.path / "folder").symlink_to(outside)
    (repo.path / "src/deep").symlink_to(outside)
    (repo.path / "round").symlink_to(repo.path / "folder")
    (repo.path / "proc").symlink_to("/proc/self/environ")
    (repo.path.parent / "way").symlink_to(repo.path)
    para = await servers(extra=WITHOUT_ENGINE)
    for file in (
        "link",
        "relative",
        "folder/secret",
        "src/deep/secret",
        "src/../folder/secret",
        "round/secret",
        "proc",
        str(repo.path / "link"),
        (repo.path / "folder/secret").as_uri(),
        f"{repo.path.parent}/way/link",
    ):
        refused = await para.fails("command.invalid-params", "para.dispatch", promptFile=file)
        assert "is a link in a repository" in refused.message, file
        assert TEXT not in str(refused.data)
    assert list((home / "sessions").glob("*.json")) == []


async def test_what_is_no_file_is_refused_at_once(servers: Servers, repo: Repository) -> None:
    os.mkfifo(repo.path / "pipe")
    with (repo.path / "huge").open("wb") as huge:
        huge.truncate(1 << 40)
    para = await servers(extra=WITHOUT_ENGINE)
    for file in ("pipe", "src", "huge", "missing", "/dev/zero", "/", "src/app.py/x"):
        refused = await para.fails("command.invalid-params", "para.dispatch", promptFile=file)
        assert refused.data["issues"][0]["path"] == "promptFile"


async def test_a_persons_own_files_are_read_wherever_they_are(
    servers: Servers, repo: Repository, outside: Path
) -> None:
    repo.write("src/task.md", "from the repository")
    (outside / "task.md").symlink_to(outside / "secret")
    (outside / "way").symlink_to(repo.path)
    para = await servers(extra=WITHOUT_ENGINE)
    wanted = {
        "src/task.md": "from the repository",
        "src/../src/task.md": "from the repository",
        str(outside / "secret"): TEXT,
        str(outside / "task.md"): TEXT,
        f"{outside}/way/src/task.md": "from the repository",
        "../outside/secret": TEXT,
    }
    for number, (file, text) in enumerate(wanted.items()):
        made = await para.call("para.dispatch", promptFile=file, name=f"s{number}")
        assert made["prompt"] == text
