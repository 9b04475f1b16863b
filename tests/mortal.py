"""An engine of a test's own, which may be killed and started again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from para_server.core.names import BASE_IMAGE
from tests.client import eventually


class Mortal:
    """It listens on `address`, in a network of its own: in the machine's, it would take the bridge
    of the machine's engine away. `apart` is the command that leads into that network.
    """

    def __init__(self, folder: Path, apart: tuple[str, ...] = ("unshare", "--net")) -> None:
        self._folder = folder
        self._apart = apart
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
                    *(*self._apart, "dockerd", "--host", self.address),
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
        # each engine that was killed has left its folder mounted on itself, and its network
        for mounted in ("data", "exec/netns/default"):
            unmount = ["umount", "--lazy", str(self._folder / mounted)]
            while subprocess.run(unmount, check=False, capture_output=True).returncode == 0:
                pass

    async def take_image(self) -> None:
        """Bring the base image from the machine's engine into this one."""
        await asyncio.to_thread(_copy_image, self.address)


def _copy_image(address: str) -> None:
    with subprocess.Popen(["docker", "save", BASE_IMAGE], stdout=subprocess.PIPE) as saving:
        subprocess.run(
            ["docker", "--host", address, "load", "-q"],
            stdin=saving.stdout,
            check=True,
            capture_output=True,
        )
