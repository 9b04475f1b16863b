"""Sessions are identified by labels: renamed containers, other spellings of a home."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from docker.errors import NotFound

from tests import engine
from tests.client import Para
from tests.leftovers import at_work, leftovers, lost
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]


@pytest.mark.parametrize("command", ["finish", "cancel", "pause"])
async def test_renamed_container_belongs_to_its_session(
    para: Para, api: Any, home: Path, repo: Repository, command: str
) -> None:
    session = await at_work(para, api, "fix")
    api.rename(session["container"]["id"], f"other-{session['id']}")
    [shown] = (await para.call("para.list"))["sessions"]
    assert (shown["state"], shown["problem"]) == ("running", None)
    params = {"message": "it"} if command == "finish" else {}
    await para.call(f"para.{command}", name="fix", **params)
    assert engine.containers(api, home) == []
    if command == "pause":
        await para.call("para.resume", name="fix")
        assert len(engine.containers(api, home)) == 1
        await para.call("para.finish", name="fix", message="it")
    assert lost(home, repo, session) == []
    assert leftovers(api, home, repo) == []


async def test_own_container_from_a_saved_image_is_kept(para: Para, api: Any) -> None:
    session = await at_work(para, api, "fix")
    await para.call("para.pause", name="fix")
    name = f"mine-{session['id']}"
    mine = api.create_container(f"para-saved:{session['id']}", ["sleep", "600"], name=name)
    try:
        await para.call("para.resume", name="fix")
        shown = await para.call("para.show", name="fix")
        assert shown["container"]["id"] != mine["Id"]
        await para.call("para.cancel", name="fix")
        await para.call("para.clean")
        assert api.inspect_container(mine["Id"])["Name"] == f"/{name}"
    finally:
        api.remove_container(mine["Id"], force=True)


async def test_all_spellings_of_a_home_are_one_home(
    servers: Servers, api: Any, home: Path, tmp_path: Path, repo: Repository
) -> None:
    home.mkdir()
    (tmp_path / "link").symlink_to(home)
    para = await servers(extra={"PARA_HOME": str(tmp_path / "link")})
    session = await at_work(para, api, "fix")
    assert session["workspace"] is None or session["workspace"].startswith(str(home))
    other = await servers(extra={"PARA_HOME": f"{tmp_path}/./link/../home"})
    await other.call("para.pause", name="fix")
    assert (await other.call("para.clean"))["removed"] == []
    await para.call("para.resume", name="fix")
    await para.call("para.finish", name="fix", message="it")
    assert leftovers(api, home, repo) == []


async def test_resources_of_another_spelling_are_found(
    para: Para, api: Any, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(home)
    labels = {"dev.para.home": str(tmp_path / "link"), "dev.para.session": "gone-aaaaaa"}
    name = f"para-session-gone-{tmp_path.name[-6:].strip('_')}"
    made = api.create_container("para-base:latest", ["true"], name=name, labels=labels)["Id"]
    try:
        await para.call("para.clean")  # where its sweep has not been faster
        assert api.containers(all=True, filters={"id": made}) == []
    finally:
        with contextlib.suppress(NotFound):
            api.remove_container(made, force=True)
