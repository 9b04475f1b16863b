"""`para.clean` takes nothing away from a session that another process brings back meanwhile."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.client import Failed, Para

Servers = Callable[..., Awaitable[Para]]
TURNS = 4


def leave(api: Any, home: Path, session: str) -> None:
    """Leave a container, an image and a volume of a session."""
    labels = {"dev.para.home": str(home), "dev.para.session": session}
    made = api.create_container(
        "para-base:latest", ["true"], name=f"para-session-{session}", labels=labels
    )["Id"]
    changes = [f'LABEL {key}="{value}"' for key, value in labels.items()]
    api.commit(made, "para-saved", session, changes=changes)
    api.create_volume(f"para-work-{session}", labels=labels)


async def test_what_a_session_has_stays_while_a_command_holds_it(
    para: Para, api: Any, home: Path
) -> None:
    session = (await para.call("para.start", name="fix"))["id"]
    await para.call("para.cancel", name="fix")
    with (home / "locks" / f"session-{session}.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a recover does before it writes anything
        leave(api, home, session)
        done = await para.call("para.clean")
        assert done["removed"] == []
        assert len(engine.containers(api, home)) == 1
        assert engine.images(api, home) == [f"para-saved:{session}"]
        assert engine.volumes(api, home) == [f"para-work-{session}"]
    done = await para.call("para.clean")
    kinds = {one.partition(" ")[0] for one in done["removed"]}
    assert kinds == {"container", "image", "volume"}
    assert engine.volumes(api, home) == []


@pytest.mark.parametrize("share_from", ["0", "1000000"], ids=["shared files", "a clone"])
async def test_a_session_that_is_recovered_beside_clean_is_whole(
    servers: Servers, api: Any, home: Path, share_from: str
) -> None:
    extra = {"PARA_GIT_SHARE_FROM": share_from}
    one, other = [await servers(extra=extra) for _ in range(2)]
    session = await one.call("para.start", name="fix")
    engine.run(api, session["container"]["name"], "echo work >work")
    for _ in range(TURNS):
        await one.call("para.cancel", name="fix")
        back, _ = await asyncio.gather(
            one.call("para.recover", name="fix"), other.call("para.clean")
        )
        assert engine.run(api, back["container"]["name"], "cat work") == "work\n"
    assert len(engine.containers(api, home)) == 1


async def test_of_two_ends_at_once_one_is_the_end(
    servers: Servers, api: Any, repo: Any, home: Path
) -> None:
    one, other = [await servers() for _ in range(2)]
    for turn in range(TURNS):
        name = f"fix{turn}"
        session = await one.call("para.start", name=name)
        engine.run(api, session["container"]["name"], f"echo {name} >{name}")
        results = await asyncio.gather(
            one.call("para.finish", name=name, message="m"),
            other.call("para.cancel", name=name),
            other.call("para.pause", name=name),
            return_exceptions=True,
        )
        refused = [result for result in results if isinstance(result, Failed)]
        assert {one.slug for one in refused} <= {"session.illegal-transition", "session.busy"}
        assert not [r for r in results if isinstance(r, BaseException) and r not in refused]
        shown = await one.call("para.show", name=name)
        assert shown["state"] in {"finished", "cancelled"}
        assert repo.holds(name, f"{name}\n")
    assert engine.containers(api, home) == []
    assert engine.images(api, home) == []
    assert list((home / "work").iterdir()) == []
