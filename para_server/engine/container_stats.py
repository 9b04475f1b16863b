"""Measure a container's resource use, and run commands in it with limited time and output."""

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
_SAMPLE_INTERVAL: Final = 1.0  # seconds


class ContainerStats(Model):
    """A container's resource use: CPU in percent of one CPU, memory in bytes; None if unknown."""

    cpu: float | None
    memory: int | None
    memory_limit: int | None


async def measure_stats(engine: Engine, container: str) -> ContainerStats:
    """Return a container's resource use, which takes one or two seconds to measure."""
    reply = await _request_stats(engine, container)
    if "cpu_stats" in reply and _number(reply, *_PREVIOUS_SYSTEM_CPU) is None:
        # Docker returns two samples a second apart, Podman only one
        await asyncio.sleep(_SAMPLE_INTERVAL)
        reply = {**await _request_stats(engine, container), "precpu_stats": reply["cpu_stats"]}
    return parse_stats(reply)


async def _request_stats(engine: Engine, container: str) -> dict[str, Any]:
    def request(api: APIClient) -> object:
        try:
            return api.stats(container, stream=False)
        except ValueError:  # the container stopped, and the response is empty
            return {}

    reply = await engine.call(request)
    return reply if isinstance(reply, dict) else {}


def parse_stats(reply: Mapping[str, Any]) -> ContainerStats:
    """Return the resource use from the engine's samples; Podman and older kernels omit some."""
    used = _number(reply, "cpu_stats", "cpu_usage", "total_usage")
    of_all = _number(reply, "cpu_stats", "system_cpu_usage")
    used_before = _number(reply, "precpu_stats", "cpu_usage", "total_usage")
    of_all_before = _number(reply, *_PREVIOUS_SYSTEM_CPU)
    cpus = _number(reply, "cpu_stats", "online_cpus") or 1
    passed = (of_all or 0) - (of_all_before or 0)
    cpu = None
    if used is not None and used_before is not None and of_all_before and passed > 0:
        cpu = round(max(0.0, 100 * cpus * (used - used_before) / passed), 1)
    memory = _number(reply, "memory_stats", "usage")
    stats = ("memory_stats", "stats")
    # the inactive page cache does not count: the kernel can free it at once
    cache = _number(reply, *stats, "total_inactive_file") or _number(reply, *stats, "inactive_file")
    return ContainerStats(
        cpu=cpu,
        memory=None if memory is None else max(0, memory - (cache or 0)),
        memory_limit=_number(reply, "memory_stats", "limit"),
    )


async def run_within_limits(
    engine: Engine, container: str, command: Sequence[str], *, seconds: float, max_bytes: int
) -> str:
    """Run a command in a container and return the beginning of its output.

    The program is not trusted: it is stopped after `seconds` or `max_bytes` of output, and a
    cancellation does not wait for it.
    """
    stopper = Stopper()

    def request(api: APIClient) -> str:
        created = api.exec_create(
            container, list(command), stderr=False, user="para", workdir=WORKSPACE
        )
        output = b""
        with stopper.after(api, seconds):
            for part in stopper.start(api, created["Id"]):
                output += part
                if len(output) >= max_bytes or stopper.stopped.is_set():
                    break
        return output[:max_bytes].decode(errors="replace")

    return await engine.call(request, interrupt=stopper.stop)


def _number(reply: object, *keys: str) -> int | None:
    for key in keys:
        reply = reply.get(key) if isinstance(reply, Mapping) else None
    return reply if isinstance(reply, int) and not isinstance(reply, bool) else None
