"""Checks of the setup: `para.doctor`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from para_server.core.settings import EngineSettings
from para_server.engine.endpoint import find_address
from tests import installed
from tests.client import Para
from tests.front import WITHOUT_TLS, Front
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
_UNSEEN = 'invalid mount config for type "bind": bind source path does not exist: {}'


async def checks_of(para: Para) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in (await para.call("para.doctor"))["checks"]}


async def test_working_setup_passes_every_check(para: Para) -> None:
    checks = await checks_of(para)
    host = ["git", "home", "records", "settings"]
    on_engine = ["engine", "owner", "limits", "image", "files", "user", "sessions"]
    assert list(checks) == host + on_engine
    assert {check["level"] for check in checks.values()} == {"ok"}
    assert [name for name, check in checks.items() if not check["ok"]] == []
    assert all(check["detail"] and check["problem"] is None for check in checks.values())
    assert checks["git"]["detail"].startswith("git version ")
    assert "para-base:latest" in checks["image"]["detail"]


async def test_image_of_a_changed_recipe_is_stale(servers: Servers, tmp_path: Path) -> None:
    changed = installed.with_recipe(tmp_path / "changed", "# another line\n")
    para = await servers(extra=changed, watching=False)
    image = (await checks_of(para))["image"]
    assert not image["ok"]
    assert "stale" in image["detail"]
    assert image["problem"]["remedies"][0]["command"] == "para.image.build"


async def test_unreachable_engine_is_reported_with_a_remedy(
    servers: Servers, tmp_path: Path
) -> None:
    para = await servers(extra={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}, watching=False)
    checks = await checks_of(para)
    assert checks["engine"]["problem"]["slug"] == "engine.unreachable"
    assert checks["engine"]["problem"]["remedies"]
    assert checks["git"]["ok"]
    assert "image" not in checks


async def test_unreadable_record_is_named(servers: Servers, home: Path) -> None:
    para = await servers(watching=False)
    await para.call("para.start", type="worktree", name="fix")
    (record,) = (home / "sessions").glob("*.json")
    record.write_text("{")
    check = (await checks_of(para))["records"]
    assert check["problem"]["slug"] == "store.unreadable"
    assert str(record) in check["detail"]


@pytest.mark.root
async def test_engine_with_other_files_is_detected(servers: Servers, home: Path) -> None:
    # a mount that only the server sees hides its home from the engine
    home.mkdir()
    script = f'mount -t tmpfs none "{home}" && exec "$@"'
    para = await servers(prefix=("unshare", "-m", "sh", "-c", script, "sh"), watching=False)
    refused = await para.fails("engine.refused", "para.start", name="fix")
    assert "does not see the files of this machine" in refused.message
    assert (await para.call("para.list"))["sessions"] == []
    check = (await checks_of(para))["files"]
    assert (check["ok"], check["level"]) == (False, "error")
    assert "does not see the files of this machine" in check["detail"]


async def test_remote_engine_is_tried_before_a_session_starts(
    servers: Servers, api: Any, home: Path
) -> None:
    before = Front(find_address(EngineSettings(), os.environ))
    before.answers = {
        "POST .*/containers/create": (400, json.dumps({"message": _UNSEEN.format(home)}))
    }
    address = f"tcp://127.0.0.1:{before.on_port()}"
    para = await servers(extra=WITHOUT_TLS | {"DOCKER_HOST": address}, watching=False)
    refused = await para.fails("engine.refused", "para.start", name="fix")
    assert f"The engine at {address} does not see" in refused.message
    assert len(before.requests("/containers/create")) == 1
    assert api.containers(all=True, filters={"label": f"dev.para.home={home}"}) == []


def test_exit_code_reports_a_failed_required_check(
    environ: dict[str, str], api: Any, tmp_path: Path
) -> None:
    assert api.ping()
    command = [str(Path(sys.executable).with_name("para")), "doctor"]
    good = subprocess.run(
        command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert good.returncode == 0, good.stdout
    nowhere = environ | {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    bad = subprocess.run(
        command, env=nowhere, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert bad.returncode == 1
    assert "✗ engine" in bad.stdout


async def test_old_git_is_reported_by_the_first_command(servers: Servers, tmp_path: Path) -> None:
    old = tmp_path / "old" / "git"
    old.parent.mkdir()
    old.write_text(
        '#!/bin/sh\n[ "$1" = version ] && echo git version 2.25.1 && exit\n'
        "for word; do echo $word; done\nexit 129\n"
    )
    old.chmod(0o755)
    path = f"{old.parent}:{os.environ['PATH']}"
    para = await servers(extra={"PATH": path}, watching=False)
    refused = await para.fails("workspace.git-failed", "para.start", type="worktree")
    assert "git version 2.25.1 is too old: para needs git 2.31 or newer" in refused.message
    check = (await checks_of(para))["git"]
    assert (check["ok"], check["level"]) == (False, "error")


async def test_unreadable_settings_are_not_an_engine_error(
    servers: Servers, environ: dict[str, str]
) -> None:
    folder = Path(environ["PARA_CONFIG_HOME"])
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text("[container")
    checks = await checks_of(await servers(watching=False))
    assert checks["settings"]["level"] == "error"
    assert checks["engine"]["level"] == "warning"
    assert "not checked" in checks["engine"]["detail"]
    assert list(checks)[-1] == "engine"


async def test_settings_of_the_open_repository_are_checked(
    servers: Servers, repo: Repository
) -> None:
    repo.write(".para.toml", "container.mounts = ['/:/host']\n")
    checks = await checks_of(await servers(watching=False))
    assert checks["settings"]["level"] == "error"
    assert ".para.toml may not set container.mounts" in checks["settings"]["detail"]
    assert checks["engine"]["ok"]
