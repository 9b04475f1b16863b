"""What a repository's settings try: images with a login in them, and keys that fill the memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import engine, scratch
from tests.client import Para
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
BASE = "para-base:latest"
LABELS = {
    "private": {"dev.para.private": ""},
    "login": {"dev.para.login": "codex"},
    "session": {"dev.para.session": "other-3f9a1c"},
    "named": {},
}


@pytest.fixture(params=LABELS)
def keeper(
    request: pytest.FixtureRequest, api: Any, tmp_path: Path, home: Path
) -> Iterator[dict[str, str]]:
    """Make an image in which a login or a session is, by its label or its name, and an alias."""
    alias = f"para-test-{tmp_path.name.replace('_', '-').lower()}:innocent"
    name = f"para-saved:{tmp_path.name.lower()}" if request.param == "named" else alias
    box = api.create_container(BASE, ["true"])["Id"]
    changes = [f'LABEL {key}="{value}"' for key, value in LABELS[request.param].items()]
    repository, _, tag = name.rpartition(":")
    made = api.commit(box, repository=repository, tag=tag, changes=changes or None)["Id"]
    api.remove_container(box)
    api.tag(made, *alias.split(":"))
    yield {"alias": alias, "id": made, "short": made.removeprefix("sha256:")[:12]}
    engine.clear(api, home)
    api.remove_image(made, force=True)


async def test_an_image_with_a_login_is_none_that_a_repository_may_choose(
    servers: Servers, repo: Repository, keeper: dict[str, str], home: Path
) -> None:
    para = await servers(extra={"PARA_CONTAINER_ALLOWED_IMAGES": "*"})
    for called in keeper.values():
        repo.write(".para.toml", f'container.image = "{called}"')
        refused = await para.fails("settings.invalid", "para.start")
        assert refused.data["issues"][0]["path"] == "container.image"
    assert list((home / "sessions").iterdir()) == []
    repo.write(".para.toml", f'container.image = "{BASE}"')
    session = await para.call("para.start", name="base")
    assert session["container"]["image"] == BASE
    repo.write(".para.toml", f'container.image = "{keeper["alias"]}"')
    own = await para.call("para.start", name="own", image=keeper["alias"])
    assert own["container"]["image"] == keeper["alias"]


async def test_settings_that_would_fill_the_memory_hold_nobody_up(
    servers: Servers, repo: Repository, tmp_path: Path
) -> None:
    evil = scratch.make(tmp_path / "evil")
    para = await servers(extra={"PARA_CONTAINER_ENABLED": "false"})
    await para.call("para.list", repo=str(repo.path))
    for text in (
        "a." * 25_000 + "b = 1",
        "a." * 500_000 + "b = 1",
        "[" + "a." * 25_000 + "b]",
        '"a" . ' * 10_000 + "b = 1",
        "x = {" + "a." * 25_000 + "b = 1}",
        'x = {a = """q"""", ' + "a." * 25_000 + 'b = "1"}',
        "x = " + "[" * 50_000,
        "x = " + "{a = " * 12_000,
        "x = " + "9" * 60_000,
        '"""\\' * 16_000,
    ):
        evil.write(".para.toml", text)
        refused, _ = await asyncio.gather(
            para.fails("settings.invalid", "para.start", repo=str(evil.path)),
            para.call("para.list", repo=str(repo.path)),
        )
        assert ".para.toml" in refused.message or "x " in refused.message
        assert len(refused.message) < 1000
    status = Path(f"/proc/{para.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 300 << 10, peak  # kB


async def test_a_byte_order_mark_is_no_part_of_the_settings(
    servers: Servers, repo: Repository, environ: dict[str, str]
) -> None:
    para = await servers(extra={"PARA_CONTAINER_ENABLED": "false"})
    config = Path(environ["PARA_CONFIG_HOME"])
    config.mkdir()
    (config / "config.toml").write_bytes(b'\xef\xbb\xbfgit.branchPrefix = "mine/"\n')
    (repo.path / ".para.toml").write_bytes(b"\xef\xbb\xbfgit.branchPrefix = 'theirs/'\n")
    refused = await para.fails("settings.invalid", "para.start")
    assert "git.branchPrefix" in refused.message
    (repo.path / ".para.toml").unlink()
    assert (await para.call("para.start", name="one"))["branch"] == "mine/one"


async def test_the_users_own_settings_may_be_a_link(
    servers: Servers, environ: dict[str, str], tmp_path: Path
) -> None:
    config = Path(environ["PARA_CONFIG_HOME"])
    config.mkdir()
    (tmp_path / "dotfiles.toml").write_text('git.branchPrefix = "mine/"\n')
    (config / "config.toml").symlink_to(tmp_path / "dotfiles.toml")
    para = await servers(extra={"PARA_CONTAINER_ENABLED": "false"})
    assert (await para.call("para.start", name="one"))["branch"] == "mine/one"
