"""The only place that asks an engine what it is: whose ids its containers have, and what it has."""

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

_MAX_AGE: Final = 60.0  # seconds: whoever configures an engine anew restarts it
_REMAPPED_FOLDER: Final = re.compile(r"/(\d+)\.(\d+)/?$")  # what Docker adds to its folder of data


class EngineInfo(Model):
    """What an engine says of itself; memory in bytes.

    `root` is the uid of this machine that root has in its containers: 0, the user whose engine it
    is (rootless), or the first of a range (userns-remap).
    """

    version: str
    podman: bool = False
    cpus: int
    memory: int
    rootless: bool
    remapped: bool
    root: int
    limits: tuple[str, ...]  # kinds of limits that it cannot hold containers to
    time: str
    architecture: str
    warnings: tuple[str, ...] = ()


async def inspect_engine(engine: Engine) -> EngineInfo:
    """Return what an engine says of itself; it is asked once a minute."""
    known = _known.get(engine)
    if known is not None and time.monotonic() < known[0] + _MAX_AGE:
        return known[1]
    found = await query_engine(engine)
    _known[engine] = (time.monotonic(), found)
    return found


@single_flight
async def query_engine(engine: Engine) -> EngineInfo:
    """Ask an engine what it is now."""
    told: dict[str, Any] = await engine.call(lambda api: api.info())
    options = {
        part.partition("name=")[2]
        for option in told.get("SecurityOptions") or ()
        for part in str(option).split(",")
        if part.startswith("name=")
    }
    rootless = "rootless" in options or told.get("Rootless") is True  # Podman's own word
    remapped = "userns" in options
    found = EngineInfo(
        version=str(told.get("ServerVersion", "")),
        podman="BuildahVersion" in told,
        cpus=int(told.get("NCPU") or 0),
        memory=int(told.get("MemTotal") or 0),
        rootless=rootless,
        remapped=remapped,
        root=_host_uid_of_root(engine, told, rootless=rootless, remapped=remapped),
        limits=tuple(name for key, name in _LIMIT_NAMES.items() if told.get(key) is False),
        time=str(told.get("SystemTime") or ""),
        architecture=str(told.get("Architecture") or ""),
        warnings=tuple(str(one) for one in told.get("Warnings") or ()),
    )
    capacity.set_capacity(engine, Capacity(found.cpus or inf, found.memory or inf))
    return found


_LIMIT_NAMES: Final = {"CpuCfsQuota": "CPUs", "MemoryLimit": "memory", "PidsLimit": "processes"}


def _host_uid_of_root(
    engine: Engine, told: dict[str, Any], *, rootless: bool, remapped: bool
) -> int:
    if rootless:
        # whoever runs it owns the socket
        socket = Path(engine.address.removeprefix("unix://"))
        return socket.stat().st_uid if socket.exists() else 0
    if remapped:
        found = _REMAPPED_FOLDER.search(str(told.get("DockerRootDir", "")))
        return int(found[1]) if found else 0
    return 0


_known: Final[dict[Engine, tuple[float, EngineInfo]]] = {}
