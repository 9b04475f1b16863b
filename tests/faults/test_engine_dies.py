"""The engine is killed in the midst of commands: sessions come back, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import pytest_asyncio
from docker.errors import DockerException
from requests.exceptions import RequestException

from para_server.names import BASE_IMAGE
from tests.client import Failed, Para, eventually
from tests.leftovers import CASES, Case, settled

DEATHS, DRAWN = 20, 2  # with --soak, and in a short run
LONGEST = 1.2  # seconds that a command takes: the engine dies somewhere within


class Mortal:
    """An engine of the test's own, in a network of its own: it may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = f"unix://{folder}/s"
        self._process: subprocess.Popen[bytes] | None = None

    def live(self) -> None:
        """Start it, and wait until it answers."""
        # a number in a file of the dead may be another process by now
        for file in (self._folder / "pid", self._folder / "exec/containerd/containerd.pid"):
            file.unlink(missing_ok=True)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("unshare", "--net", "dockerd", "--host", self.address),
                    *("--data-root", str(self._folder / "data")),
                    *("--exec-root", str(self._folder / "exec")),
                    *("--pidfile", str(self._folder / "pid")),
                    *("--bridge=none", "--iptables=false", "--ip6tables=false"),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def die(self) -> None:
        """Kill it, with what keeps its containers: as when the machine loses power."""
        assert self._process is not None
        subprocess.run(
            ["pkill", "-KILL", "-f", str(self._folder / "exec")], check=False, capture_output=True
        )
        self._process.kill()
        self._process.wait()

    async def answers(self) -> Any:
        """Wait until it answers, and connect."""

        async def asked() -> Any:
            try:
                api = docker.APIClient(base_url=self.address, version="1.41")
                return api if api.ping() else None
            except (DockerException, RequestException):
                return None

        return await eventually(asked, lambda api: api is not None)

    def end(self) -> None:
        """Stop it for good."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.die()
        # each engine that was killed has left its folder mounted on itself
        unmount = ["umount", "--lazy", str(self._folder / "data")]
        while subprocess.run(unmount, check=False, capture_output=True).returncode == 0:
            pass


@pytest.fixture
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    engine = Mortal(tmp_path_factory.mktemp("e"))
    engine.live()
    yield engine
    engine.end()


@pytest.fixture
def environ(environ: dict[str, str], mortal: Mortal) -> dict[str, str]:
    return environ | {"DOCKER_HOST": mortal.address, "PARA_CONTAINER_NETWORK": "none"}


pytestmark = pytest.mark.root


@pytest_asyncio.fixture
async def api(mortal: Mortal) -> Any:
    """Connect to the engine that dies: a connection outlives it."""
    return await mortal.answers()


@pytest.mark.timeout(3600)
async def test_sessions_survive_the_death_of_their_engine(
    servers: Callable[..., Awaitable[Para]],
    api: Any,
    home: Path,
    mortal: Mortal,
    whole: Callable[..., None],
    tally: Counter[str],
    request: pytest.FixtureRequest,
) -> None:
    await asyncio.to_thread(copy_image, mortal)
    para = await servers()
    chance = random.Random(request.config.getoption("--seed"))  # noqa: S311 # seeded on purpose
    soak = request.config.getoption("--soak")
    cases = chance.sample(list(CASES.items()), len(CASES))
    for death in range(DEATHS if soak else DRAWN):
        label, case = cases[death % len(cases)]
        name = f"s{death}"
        session = await case.prepare(para, api, name)
        outcome = await killed_within(para, mortal, case, name, chance.uniform(0, LONGEST))
        mortal.live()
        await mortal.answers()
        await para.call("para.clean")
        await settled(home)
        told = f"death {death}, {label}: {outcome}"
        whole(told, session)
        shown = await para.call("para.show", name=name)
        if shown["state"] not in {"finished", "cancelled"}:
            await para.call("para.cancel", name=name)
        whole(f"cancelled after {told}", session)
        tally["deaths of the engine"] += 1


async def killed_within(
    para: Para, mortal: Mortal, case: Case, name: str, seconds: float
) -> object:
    """Run a command, and kill the engine while it is under way."""
    sent = asyncio.create_task(para.call(case.command, name=name, **case.params))
    await asyncio.sleep(seconds)
    await asyncio.to_thread(mortal.die)
    try:
        return await sent
    except Failed as failed:
        if not failed.slug:
            raise
        return failed


def copy_image(mortal: Mortal) -> None:
    """Bring the base image from the machine's engine into this one."""
    with subprocess.Popen(["docker", "save", BASE_IMAGE], stdout=subprocess.PIPE) as saving:
        subprocess.run(
            ["docker", "--host", mortal.address, "load", "-q"],
            stdin=saving.stdout,
            check=True,
            capture_output=True,
        )
