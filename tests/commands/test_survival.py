"""Sessions keep their work when containers and images are removed on the engine."""

from __future__ import annotations

from typing import Any

import pytest

from tests import engine
from tests.client import Para
from tests.leftovers import COMMITTED, LOOSE, NOTE, at_work, lost
from tests.scratch import Repository

MODES = ["save", "freeze"]


def prune_containers(api: Any, home: object) -> None:
    """Remove what `docker container prune -f` would, of this test only."""
    api.prune_containers(filters={"label": f"dev.para.home={home}"})


def prune_system(api: Any, home: object) -> None:
    """Remove what `docker system prune -f` would, of this test only."""
    prune_containers(api, home)
    api.prune_images(filters={"dangling": True, "label": f"dev.para.home={home}"})
    api.prune_networks(filters={"label": f"dev.para.home={home}"})


def remove_container(api: Any, home: object) -> None:
    """Remove the container with the engine's API."""
    for one in engine.containers(api, home):
        api.remove_container(one["Id"], force=True)


def remove_all(api: Any, home: object) -> None:
    """Remove what `docker system prune -a` would: the saved image, too."""
    remove_container(api, home)
    for image in engine.images(api, home):
        api.remove_image(image, force=True)


@pytest.mark.parametrize("prune", [prune_containers, prune_system])
@pytest.mark.parametrize("mode", MODES)
async def test_paused_session_survives(
    para: Para, api: Any, home: object, prune: Any, mode: str
) -> None:
    await at_work(para, api, "fix")
    await para.call("para.pause", name="fix", mode=mode)
    prune(api, home)
    assert (await para.call("para.show", name="fix"))["state"] == "paused"
    session = await para.call("para.resume", name="fix")
    container = session["container"]["name"]
    assert engine.run(api, container, f"cat {NOTE}") == "fix\n"
    assert engine.run(api, container, f"cat {LOOSE}") == f"{LOOSE} of fix\n"


@pytest.mark.parametrize("end", ["finish", "cancel", "resume", "diff"])
@pytest.mark.parametrize("first", [None, "save", "freeze"])
@pytest.mark.parametrize("take", [remove_container, remove_all])
@pytest.mark.slice(8)
async def test_session_without_container_and_image_keeps_its_work(
    para: Para,
    repo: Repository,
    api: Any,
    home: Any,
    take: Any,
    first: str | None,
    end: str,
) -> None:
    session = await at_work(para, api, "fix")
    if first is not None:
        await para.call("para.pause", name="fix", mode=first)
    take(api, home)
    if end == "finish":
        await para.call("para.finish", name="fix", message="it")
        assert repo.show(f"para/fix:{COMMITTED}") == f"{COMMITTED} of fix"
    elif end == "resume":
        again = await para.call("para.resume", name="fix")
        assert engine.run(api, again["container"]["name"], f"cat {LOOSE}") == f"{LOOSE} of fix\n"
    elif end == "diff":
        shown = await para.call("para.diff", name="fix")
        assert {file["path"] for file in shown["files"]} == {COMMITTED, LOOSE}
    else:
        await para.call("para.cancel", name="fix")
    assert lost(home, repo, session) == []
    if end in {"finish", "cancel"}:
        assert engine.containers(api, home) == []
        assert engine.images(api, home) == []
