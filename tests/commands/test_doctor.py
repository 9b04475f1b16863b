"""What para needs: `para.doctor`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests import installed
from tests.client import Para

Servers = Callable[..., Awaitable[Para]]


async def checks_of(para: Para) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in (await para.call("para.doctor"))["checks"]}


async def test_a_healthy_setup_passes_every_check(para: Para) -> None:
    checks = await checks_of(para)
    assert list(checks) == ["git", "home", "settings", "engine", "image", "sessions"]
    assert [name for name, check in checks.items() if not check["ok"]] == []
    assert all(check["detail"] and check["problem"] is None for check in checks.values())
    assert checks["git"]["detail"].startswith("git version ")
    assert "para-base:latest" in checks["image"]["detail"]


async def test_an_image_whose_recipe_has_changed_is_stale(servers: Servers, tmp_path: Path) -> None:
    changed = installed.with_recipe(tmp_path / "changed", "# another line\n")
    para = await servers(extra=changed, watching=False)
    image = (await checks_of(para))["image"]
    assert not image["ok"]
    assert "stale" in image["detail"]
    assert image["problem"]["remedies"][0]["command"] == "para.image.build"


async def test_an_engine_that_does_not_answer_is_told_with_what_to_do(
    servers: Servers, tmp_path: Path
) -> None:
    para = await servers(extra={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}, watching=False)
    checks = await checks_of(para)
    assert checks["engine"]["problem"]["slug"] == "engine.unreachable"
    assert checks["engine"]["problem"]["remedies"]
    assert checks["git"]["ok"]
    assert "image" not in checks


async def test_a_record_that_cannot_be_read_is_named(servers: Servers, home: Path) -> None:
    para = await servers(watching=False)
    await para.call("para.start", type="worktree", name="fix")
    (record,) = (home / "sessions").glob("*.json")
    record.write_text("{")
    check = (await checks_of(para))["home"]
    assert check["problem"]["slug"] == "store.unreadable"
    assert str(record) in check["detail"]
