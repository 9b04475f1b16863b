"""What para is measured against: a person's commands, the dev container's, the engine alone."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

from tests.bench.measure import timed
from tests.bench.place import IMAGE, NETWORK, Place, run
from tests.scratch import Repository

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "devcontainers"

# A session without para: a worktree, a container around it, and a first word with it. It asks what
# whoever starts several has to ask: does the engine answer, how many run, is the image there?
_UP = """
set -e
repo=$1 name=$2 image=$3 network=$4 dir=$5
docker version >/dev/null
[ "$(docker ps --filter name=recipe-session- --format '{{.Names}}' | wc -l)" -lt 1000 ]
docker image inspect "$image" >/dev/null
git -C "$repo" worktree add -q -b "recipe/$name" "$dir/$name"
docker run -dt --name "recipe-session-$name" \\
  --mount "type=bind,source=$dir/$name,target=/para-session" \\
  --network "$network" "$image" sleep infinity >/dev/null
docker exec "recipe-session-$name" true
"""
_DOWN = """
repo=$1 name=$2 dir=$3
docker rm -f "recipe-session-$name" >/dev/null
git -C "$repo" worktree remove --force "$dir/$name"
git -C "$repo" branch -D -q "recipe/$name"
"""


async def recipe(place: Place, repo: Repository) -> float:
    """Time the commands that a person would type."""
    name, folder = place.name(), str(place.folder)
    try:
        async with timed() as watch:
            await run("sh", "-c", _UP, "recipe", str(repo.path), name, IMAGE, NETWORK, folder)
        return watch.taken
    finally:
        await run("sh", "-c", _DOWN, "recipe", str(repo.path), name, folder, quiet=False)


async def install_devcontainer() -> Path:
    """Install the dev containers' command line where the benchmark keeps it; once."""
    program = CACHE / "node_modules/.bin/devcontainer"
    if not program.exists():
        if shutil.which("npm") is None:
            raise SystemExit("The benchmark compares with `devcontainer up`: install npm")
        CACHE.mkdir(parents=True, exist_ok=True)
        await run("npm", "install", "--prefix", str(CACHE), "--no-audit", "@devcontainers/cli")
    return program


async def devcontainer(place: Place, repo: Repository) -> float:
    """Time `devcontainer up` on a work tree that is there already."""
    program = await install_devcontainer()
    config = place.folder / "devcontainer.json"
    config.write_text(json.dumps({"image": IMAGE, "updateRemoteUserUID": False}))
    label = f"para.bench={place.name()}"
    argv = [str(program), "up", "--workspace-folder", str(repo.path), "--config", str(config)]
    try:
        async with timed() as watch:
            await run(*argv, "--id-label", label)
        return watch.taken
    finally:
        for one in place.api.containers(all=True, filters={"label": label}):
            place.api.remove_container(one["Id"], force=True, v=True)


class Floor:
    """The engine's own part of a session: a container of the same parameters, made and started."""

    def __init__(self, place: Place, session: dict[str, Any]) -> None:
        inspected = place.api.inspect_container(session["container"]["id"])
        host = dict(inspected["HostConfig"])
        folder = place.folder / "floor"
        folder.mkdir(exist_ok=True)
        for mount in host["Mounts"]:
            if mount["Target"] == "/para-session":
                mount.update(Type="bind", Source=str(folder))
                mount.pop("VolumeOptions", None)
        config = {k: v for k, v in inspected["Config"].items() if k != "Hostname"}
        config["Labels"] = {}
        self.config = config | {"HostConfig": host}
        self._place = place

    async def up(self, name: str) -> float:
        """Time the making and starting of one."""
        async with timed() as watch:
            await asyncio.to_thread(self._up, name)
        return watch.taken

    async def measured(self) -> float:
        """Time one, and remove it."""
        name = self._place.name()
        try:
            return await self.up(name)
        finally:
            await self.down(name)

    async def down(self, name: str) -> None:
        await asyncio.to_thread(self._place.api.remove_container, name, force=True, v=True)

    def _up(self, name: str) -> None:
        self._place.api.create_container_from_config(self.config, name)
        self._place.api.start(name)


BARE_SERVER = """
from pygls.lsp.server import LanguageServer

LanguageServer("bare", "1").start_io()
"""


def environment() -> dict[str, str]:
    """Give the environment of a server that is not para."""
    return dict(os.environ)
