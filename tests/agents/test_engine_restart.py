"""An agent whose turn is interrupted by a crash of the engine resumes its conversation."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.agents.fake_api import LONG, FakeApi, bash, serve_api, text, wait_until_speaking
from tests.client import eventually
from tests.mortal import Mortal

NEAR, FAR = "198.18.213.1", "198.18.213.2"  # addresses reserved for tests (RFC 2544)

pytestmark = pytest.mark.root


@pytest.fixture
def mortal(network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    engine = Mortal(tmp_path_factory.mktemp("e"), ("nsenter", f"--net=/run/netns/{network}"))
    engine.live()
    yield engine
    engine.end()


@pytest.fixture
def network() -> Iterator[str]:
    """Create a network namespace that reaches only this machine."""
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
def fake_api(network: str) -> Iterator[FakeApi]:
    """Serve the fake API on that network, which the container shares with its engine."""
    assert network
    with serve_api(NEAR) as serving:
        yield serving


@pytest.fixture
def environ(environ: dict[str, str], mortal: Mortal) -> dict[str, str]:
    return environ | {"DOCKER_HOST": mortal.address, "PARA_CONTAINER_NETWORK": "host"}


async def test_resume_continues_a_turn_after_engine_crash(
    servers: Any, mortal: Mortal, fake_api: FakeApi
) -> None:
    await mortal.answers()
    await mortal.take_image()
    para = await servers()
    fake_api.script("interrupted", [text("Gone on.")])
    fake_api.script("fix", [text("First."), bash("echo 1 >one")], [LONG])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await wait_until_speaking(fake_api)
    await wait_until_speaking(fake_api)
    await asyncio.to_thread(mortal.die)
    mortal.live()
    await mortal.answers()
    await eventually(
        lambda: para.call("para.show", name="fix"), lambda session: session["state"] == "failed"
    )
    await para.call("para.resume", name="fix")
    assert (await para.agent("fix", "done"))["agent"]["detail"] == "Gone on."
    assert fake_api.received("fix it", "echo 1 >one", "You were interrupted")
    await para.call("para.cancel", name="fix")
