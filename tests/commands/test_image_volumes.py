"""Volumes that an image declares: kept by a save, removed with the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.client import Para
from tests.leftovers import leftovers
from tests.scratch import Repository

PLACES = ("/home/para/db", "/home/para/a cache")


@pytest.fixture
def image(api: Any, tmp_path: Path) -> Iterator[str]:
    """Build an image that declares volumes, one of them with a file."""
    tag = tmp_path.name[-8:].strip("_").lower() or "x"
    script = f"mkdir '{PLACES[0]}' '{PLACES[1]}' && echo given >{PLACES[0]}/given"
    made = api.create_container("para-base:latest", ["sh", "-c", script], user="para")["Id"]
    api.start(made)
    assert api.wait(made)["StatusCode"] == 0
    changes = [f'VOLUME ["{place}"]' for place in PLACES]
    api.commit(made, "with-volumes", tag, changes=changes)
    api.remove_container(made)
    yield f"with-volumes:{tag}"
    api.remove_image(f"with-volumes:{tag}", force=True)


async def test_save_keeps_files_in_declared_volumes(
    para: Para, api: Any, home: Path, repo: Repository, image: str
) -> None:
    session = await para.call("para.start", name="fix", image=image)
    container = session["container"]["name"]
    assert engine.run(api, container, f"cat {PLACES[0]}/given").strip() == "given"
    for place in PLACES:
        engine.run(api, container, f"echo made >'{place}/made'")
    for _ in range(2):
        await para.call("para.pause", name="fix")
        removed = (await para.call("para.clean"))["removed"]
        assert [one for one in removed if one.startswith("volume")] == []
        await para.call("para.resume", name="fix")
        for place in PLACES:
            assert engine.run(api, container, f"cat '{place}/made'").strip() == "made"
    engine.run(api, container, "echo work >work")
    await para.call("para.finish", name="fix", message="it")
    assert engine.volumes(api, home) == []
    assert leftovers(api, home, repo) == []


async def test_cancel_removes_declared_volumes(
    para: Para, api: Any, home: Path, repo: Repository, image: str
) -> None:
    await para.call("para.start", name="fix", image=image)
    await para.call("para.pause", name="fix")
    assert len(engine.volumes(api, home)) == len(PLACES)
    await para.call("para.cancel", name="fix")
    assert engine.volumes(api, home) == []
    assert leftovers(api, home, repo) == []
