"""Leftovers of ended sessions: `para.clean`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests import engine
from tests.client import Para, eventually

LEFT = "para-session-left-"


def leave(api: Any, home: Path, name: str) -> str:
    """Create a container of an unknown session, and an image of it."""
    labels = {"dev.para.home": str(home), "dev.para.session": name}
    made: str = api.create_container(
        "para-base:latest", ["true"], name=f"para-session-{name}", labels=labels
    )["Id"]
    changes = [f'LABEL {key}="{value}"' for key, value in labels.items()]
    api.commit(made, "para-saved", name, changes=changes)
    return made


async def test_clean_removes_leftovers_and_keeps_the_rest(
    para: Para, api: Any, home: Path, tmp_path: Path
) -> None:
    mark = tmp_path.name[-8:].strip("_").lower() or "x"
    theirs = tmp_path / "theirs"
    live = await para.call("para.start", name="live")
    saved = await para.call("para.start", name="saved")
    await para.call("para.pause", name="saved")
    left, foreign = f"left-{mark}-aaaaaa", f"foreign-{mark}-bbbbbb"
    try:
        leave(api, home, left)
        leave(api, theirs, foreign)
        leftover = home / "work" / f"stray-{mark}-cccccc"
        (leftover / "src").mkdir(parents=True)
        would = await para.call("para.clean", dryRun=True)
        assert {f"container para-session-{left}", f"image para-saved:{left}"} <= set(
            would["removed"]
        )
        assert leftover.exists()
        assert len(engine.containers(api, home)) == 2
        done = await para.call("para.clean")
        assert f"container para-session-{left}" in done["removed"]
        assert f"image para-saved:{left}" in done["removed"]
        kept = set(done["kept"])
        assert {f"container {live['container']['name']}", f"image para-saved:{saved['id']}"} <= kept
        assert {f"container para-session-{foreign}", f"image para-saved:{foreign}"} <= kept
        assert leftover.exists()  # its session may still be active
        assert f"session {leftover.name}" in kept
        assert [one["Names"] for one in engine.containers(api, home)] == [
            [f"/{live['container']['name']}"]
        ]
        assert engine.images(api, home) == [f"para-saved:{saved['id']}"]
        assert (await para.call("para.resume", name="saved"))["state"] == "running"
    finally:
        engine.clear(api, theirs)


async def test_clean_without_leftovers_removes_nothing(para: Para) -> None:
    await para.call("para.start", name="fix")
    assert (await para.call("para.clean"))["removed"] == []
    assert (await para.call("para.show", name="fix"))["state"] == "running"


async def test_server_removes_orphans(
    servers: Callable[..., Awaitable[Para]], api: Any, home: Path, tmp_path: Path
) -> None:
    mark = tmp_path.name[-8:].strip("_").lower() or "x"
    theirs = tmp_path / "theirs"
    try:
        leave(api, home, f"late-{mark}-aaaaaa")
        leave(api, theirs, f"foreign-{mark}-bbbbbb")
        await servers()

        async def left() -> int:
            return len(engine.containers(api, home))

        await eventually(left, lambda count: count == 0)
        assert len(engine.containers(api, theirs)) == 1
    finally:
        engine.clear(api, theirs)
