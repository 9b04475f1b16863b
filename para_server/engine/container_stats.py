"""The only place that asks what a container uses, and hears it out within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from para_server.core.container_spec import WORKSPACE
from para_server.core.model import Model
from para_server.engine.client import Engine
from para_server.engine.exec_command import Stopper

if TYPE_CHECKING:
    from docker import APIClient


_PREVIOUS_SYSTEM_CPU: Final = ("precpu_stats", "system_cpu_usage")
_SAMPLE_INTERVAL: Final = 1.0  # seconds between two samples


class ContainerStats(Model):
    """What a container uses: CPU in percent of one, memory in bytes; None where unknown."""

    cpu: float | None
    memory: int | None
    memory_limit: int | None


async def measure_stats(engine: Engine, container: str) -> ContainerStats:
    """Measure a container's load; it takes a second or two."""
    told = await _request_stats(engine, container)
    if "cpu_stats" in told and _number(told, *_PREVIOUS_SYSTEM_CPU) is None:
        # Podman gives one sample where Docker gives two that are a second apart
        await asyncio.sleep(_SAMPLE_INTERVAL)
        told = {**await _request_stats(engine, container), "precpu_stats": told["cpu_stats"]}
    return parse_stats(told)


async def _request_stats(engine: Engine, container: str) -> dict[str, Any]:
    def ask(api: APIClient) -> object:
        try:
            return api.stats(container, stream=False)
        except ValueError:  # it stopped meanwhile, and the engine ended its answer with nothing
            return {}

    told = await engine.call(ask)
    return told if isinstance(told, dict) else {}


def parse_stats(told: Mapping[str, Any]) -> ContainerStats:
    """Read the engine's figures; Podman and older kernels leave some of them out."""
    used = _number(told, "cpu_stats", "cpu_usage", "total_usage")
    of_all = _number(told, "cpu_stats", "system_cpu_usage")
    used_before = _number(told, "precpu_stats", "cpu_usage", "total_usage")
    of_all_before = _number(told, *_PREVIOUS_SYSTEM_CPU)
    cpus = _number(told, "cpu_stats", "online_cpus") or 1
    passed = (of_all or 0) - (of_all_before or 0)
    cpu = None
    if used is not None and used_before is not None and of_all_before and passed > 0:
        cpu = round(max(0.0, 100 * cpus * (used - used_before) / passed), 1)
    memory = _number(told, "memory_stats", "usage")
    stats = ("memory_stats", "stats")  # what can be dropped at once is not in use
    cache = _number(told, *stats, "total_inactive_file") or _number(told, *stats, "inactive_file")
    return ContainerStats(
        cpu=cpu,
        memory=None if memory is None else max(0, memory - (cache or 0)),
        memory_limit=_number(told, "memory_stats", "limit"),
    )


async def run_within_limits(
    engine: Engine, container: str, command: Sequence[str], *, seconds: float, most: int
) -> str:
    """Run a command in a container and give the beginning of what it says, until time is up.

    What runs there may be anything, so neither how much it says nor how long is left to it, and a
    cancellation waits for nothing of it.
    """
    stopper = Stopper()

    def ask(api: APIClient) -> str:
        made = api.exec_create(
            container, list(command), stderr=False, user="para", workdir=WORKSPACE
        )
        said = b""
        with stopper.after(api, seconds):
            for part in api.exec_start(made["Id"], stream=True):
                said += part
                if len(said) >= most or stopper.stopped.is_set():
                    break
        return said[:most].decode(errors="replace")

    return await engine.call(ask, interrupt=stopper.stop)


def _number(told: object, *keys: str) -> int | None:
    for key in keys:
        told = told.get(key) if isinstance(told, Mapping) else None
    return told if isinstance(told, int) and not isinstance(told, bool) else None
