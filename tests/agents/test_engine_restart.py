"""The engine goes and comes back: an agent whose turn was cut goes on with its conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.agents import messages
from tests.agents.messages import LONG, Api, bash, speaking, text
from tests.client import eventually
from tests.mortal import Mortal

pytestmark = pytest.mark.root


@pytest.fixture
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    engine = Mortal(tmp_path_factory.mktemp("e"), reach=True)
    engine.live()
    yield engine
    engine.end()


@pytest.fixture
def standin() -> Iterator[Api]:
    """Serve the stand-in on loopback: the container shares the host's network."""
    with messages.serving("127.0.0.1") as serving:
        yield serving


@pytest.fixture
def environ(environ: dict[str, str], mortal: Mortal) -> dict[str, str]:
    return environ | {"DOCKER_HOST": mortal.address, "PARA_CONTAINER_NETWORK": "host"}


async def test_a_turn_that_the_death_of_the_engine_cut_is_continued(
    servers: Any, mortal: Mortal, standin: Api
) -> None:
    await mortal.answers()
    await mortal.take_image()
    para = await servers()
    standin.script("interrupted", [text("Gone on.")])
    standin.script("fix", [text("First."), bash("echo 1 >one")], [LONG])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await speaking(standin)
    await speaking(standin)
    await asyncio.to_thread(mortal.die)
    mortal.live()
    await mortal.answers()
    await eventually(
        lambda: para.call("para.show", name="fix"), lambda session: session["state"] == "failed"
    )
    await para.call("para.resume", name="fix")
    assert (await para.agent("fix", "done"))["agent"]["detail"] == "Gone on."
    assert standin.seen("fix it", "echo 1 >one", "You were interrupted")
    await para.call("para.cancel", name="fix")
