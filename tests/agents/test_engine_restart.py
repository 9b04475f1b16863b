"""The engine goes and comes back: an agent whose turn was cut goes on with its conversation."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.agents import messages
from tests.agents.messages import LONG, Api, bash, speaking, text
from tests.client import eventually
from tests.mortal import Mortal

NEAR, FAR = "198.18.213.1", "198.18.213.2"  # addresses that are kept for tests like this

pytestmark = pytest.mark.root


@pytest.fixture
def mortal(network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    engine = Mortal(tmp_path_factory.mktemp("e"), ("nsenter", f"--net=/run/netns/{network}"))
    engine.live()
    yield engine
    engine.end()


@pytest.fixture
def network() -> Iterator[str]:
    """Make a network that reaches no further than this machine."""
    name = f"para-{os.getpid()}"
    near, far = f"para-n{os.getpid() % 10**6}", f"para-f{os.getpid() % 10**6}"
    ip("netns", "add", name)
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        ip("address", "add", f"{NEAR}/30", "dev", near)
        ip("link", "set", near, "up")
        for link in ("lo", far):
            ip("-n", name, "link", "set", link, "up")
        ip("-n", name, "address", "add", f"{FAR}/30", "dev", far)
        yield name
    finally:
        ip("link", "delete", near)
        ip("netns", "delete", name)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.fixture
def standin(network: str) -> Iterator[Api]:
    """Serve the stand-in to that network, which the container shares with its engine."""
    assert network
    with messages.serving(NEAR) as serving:
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
