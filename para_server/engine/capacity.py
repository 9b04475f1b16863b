"""Limit containers to the CPUs and memory that their engine has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakKeyDictionary

from para_server.core.container_spec import ContainerSpec
from para_server.engine.client import Engine

if TYPE_CHECKING:
    from docker import APIClient


class Capacity(NamedTuple):
    """The number of CPUs and bytes of memory of an engine; infinite if unknown."""

    cpus: float
    memory: float


def get_capacity(engine: Engine, api: APIClient) -> Capacity:
    """Return the capacity of an engine, from the cache if known."""
    if engine not in _capacities:
        info = api.info()
        cpus, memory = info.get("NCPU") or "inf", info.get("MemTotal") or "inf"
        set_capacity(engine, Capacity(float(cpus), float(memory)))
    return _capacities[engine]


def set_capacity(engine: Engine, value: Capacity) -> None:
    """Cache the capacity of an engine."""
    _capacities[engine] = value


def forget_capacity(engine: Engine) -> None:
    """Drop the cached capacity of an engine whose machine has changed."""
    _capacities.pop(engine, None)


def fit_to_capacity(spec: ContainerSpec, limit: Capacity) -> ContainerSpec:
    """Return the container with CPUs and memory reduced to what the engine has."""
    cpus, memory = min(spec.cpus, limit.cpus), min(spec.memory, limit.memory)
    return spec.model_copy(update={"cpus": cpus, "memory": int(memory)})


_capacities: Final[WeakKeyDictionary[Engine, Capacity]] = WeakKeyDictionary()
