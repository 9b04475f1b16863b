"""An engine with less resources than the settings require: sessions start and finish."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from para_server.core import container_spec
from para_server.core.names import BASE_IMAGE, HELPER_PREFIX
from para_server.core.settings import EngineSettings
from para_server.engine import capacity, containers
from para_server.engine.client import Engine
from tests import engine
from tests.client import Para
from tests.mortal import Mortal
from tests.scratch import Repository


@pytest.fixture
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    """Start an engine on one CPU."""
    made = Mortal(tmp_path_factory.mktemp("e"), ("unshare", "--net", "taskset", "-c", "0"))
    made.live()
    yield made
    made.end()


@pytest.mark.root
async def test_session_starts_and_finishes_on_one_cpu(
    small: Mortal, servers: Callable[..., Awaitable[Para]], repo: Repository
) -> None:
    api = await small.answers()
    await small.take_image()
    assert api.info()["NCPU"] == 1
    far_more = {"PARA_CONTAINER_MEMORY": "1024g", "PARA_CONTAINER_NETWORK": "none"}
    para = await servers(extra={"DOCKER_HOST": small.address, **far_more})
    session = await para.call("para.start", name="fix")
    host = api.inspect_container(session["container"]["id"])["HostConfig"]
    assert host["NanoCpus"] == 1e9
    assert host["Memory"] == host["MemorySwap"] == api.info()["MemTotal"]
    engine.run(api, session["container"]["id"], "echo work >work.txt")
    assert (await para.call("para.diff", name="fix"))["files"]
    await para.call("para.finish", name="fix", message="work")
    assert repo.show("para/fix:work.txt") == "work"
    api.close()


async def test_changed_cpu_count_of_the_engine_is_queried_again(api: Any, home: Path) -> None:
    edge = Engine(EngineSettings(), os.environ)
    cpus = api.info()["NCPU"]
    try:
        await edge.call(lambda asked: capacity.get_capacity(edge, asked))
        capacity.set_capacity(edge, capacity.Capacity(cpus=cpus + 8.0, memory=2**60))
        wanted = container_spec.helper_container(
            f"{HELPER_PREFIX}small-{os.getpid()}",
            "small",
            image=BASE_IMAGE,
            home=home,
            command=("true",),
            environment={},
            mounts=[],
            file_size=1 << 20,
        ).model_copy(update={"cpus": cpus + 4.0})
        made = await containers.create(edge, wanted)
        assert api.inspect_container(made)["HostConfig"]["NanoCpus"] == cpus * 1e9
    finally:
        edge.close()
