"""What a helper container can reach: nothing but what is mounted into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from para_server import spec
from para_server.engine import helper
from para_server.engine.client import Engine
from para_server.names import BASE_IMAGE, HELPER_PREFIX
from para_server.settings import EngineSettings
from tests import engine

LOOK = "cd /para-out; ls /sys/class/net >interfaces; tail -n +2 /proc/net/route >routes"


@pytest.fixture
def edge() -> Iterator[Engine]:
    made = Engine(EngineSettings(), os.environ)
    yield made
    made.close()


async def test_a_helper_has_no_network(edge: Engine, api: Any, home: Path, tmp_path: Path) -> None:
    session = f"net-{os.getpid()}"
    wanted = spec.helper_container(
        f"{HELPER_PREFIX}{session}",
        session,
        image=BASE_IMAGE,
        home=home,
        command=("bash", "-ec", LOOK),
        environment={},
        mounts=[spec.Mount(source=str(tmp_path), target=spec.OUT)],
        file_size=1 << 20,
    )
    assert await helper.run(edge, wanted, 60) == 0
    assert (tmp_path / "interfaces").read_text().split() == ["lo"]
    assert (tmp_path / "routes").read_text() == ""
    assert not engine.containers(api, home)
