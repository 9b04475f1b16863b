"""Query an engine's version, resources and user id mapping."""

from __future__ import annotations

import re
import time
from math import inf
from pathlib import Path
from typing import Any, Final

from para_server.concurrency.singleflight import single_flight
from para_server.core.model import Model
from para_server.engine import capacity
from para_server.engine.capacity import Capacity
from para_server.engine.client import Engine

_MAX_AGE: Final = 60.0  # seconds; an engine must be restarted to change its configuration
_REMAPPED_FOLDER: Final = re.compile(r"/(\d+)\.(\d+)/?$")  # of Docker's data folder
_LIMIT_NAMES: Final = {"CpuCfsQuota": "CPUs", "MemoryLimit": "memory", "PidsLimit": "processes"}


class EngineInfo(Model):
    """An engine's description of itself; memory in bytes.

    `root` is the host's uid of root in the engine's containers: 0, the user who runs the engine
    (rootless), or the first uid of a range (userns-remap).
    """

    version: str
    podman: bool = False
    cpus: int
    memory: int
    rootless: bool
    remapped: bool
    root: int
    unsupported_limits: tuple[str, ...]  # names of limits that the engine can't enforce
    time: str
    architecture: str
    warnings: tuple[str, ...] = ()


async def inspect_engine(engine: Engine) -> EngineInfo:
    """Return an engine's info, which is cached for a minute."""
    cached = _cache.get(engine)
    if cached is not None and time.monotonic() < cached[0] + _MAX_AGE:
        return cached[1]
    current = await query_engine(engine)
    _cache[engine] = (time.monotonic(), current)
    return current


@single_flight
async def query_engine(engine: Engine) -> EngineInfo:
    """Return an engine's current info."""
    info: dict[str, Any] = await engine.call(lambda api: api.info())
    options = {
        part.partition("name=")[2]
        for option in info.get("SecurityOptions") or ()
        for part in str(option).split(",")
        if part.startswith("name=")
    }
    rootless = "rootless" in options or info.get("Rootless") is True  # Podman's key
    remapped = "userns" in options
    current = EngineInfo(
        version=str(info.get("ServerVersion", "")),
        podman="BuildahVersion" in info,
        cpus=int(info.get("NCPU") or 0),
        memory=int(info.get("MemTotal") or 0),
        rootless=rootless,
        remapped=remapped,
        root=_host_uid_of_root(engine, info, rootless=rootless, remapped=remapped),
        unsupported_limits=tuple(
            name for key, name in _LIMIT_NAMES.items() if info.get(key) is False
        ),
        time=str(info.get("SystemTime") or ""),
        architecture=str(info.get("Architecture") or ""),
        warnings=tuple(str(one) for one in info.get("Warnings") or ()),
    )
    capacity.set_capacity(engine, Capacity(current.cpus or inf, current.memory or inf))
    return current


def _host_uid_of_root(
    engine: Engine, info: dict[str, Any], *, rootless: bool, remapped: bool
) -> int:
    if rootless:
        # the user who runs the engine owns its socket
        socket = Path(engine.address.removeprefix("unix://"))
        return socket.stat().st_uid if socket.exists() else 0
    if remapped:
        match = _REMAPPED_FOLDER.search(str(info.get("DockerRootDir", "")))
        return int(match[1]) if match else 0
    return 0


_cache: Final[dict[Engine, tuple[float, EngineInfo]]] = {}
