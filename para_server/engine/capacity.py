"""The only place that asks how large an engine is: what a container may use is at most that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakKeyDictionary

from para_server.core.container_spec import ContainerSpec
from para_server.engine.client import Engine

if TYPE_CHECKING:
    from docker import APIClient


class Capacity(NamedTuple):
    """How many CPUs and how many bytes of memory an engine has; infinite where it does not say."""

    cpus: float
    memory: float


def get_capacity(engine: Engine, api: APIClient) -> Capacity:
    """Return the capacity of an engine, which is asked for it once."""
    if engine not in _known:
        told = api.info()
        cpus, memory = told.get("NCPU") or "inf", told.get("MemTotal") or "inf"
        set_capacity(engine, Capacity(float(cpus), float(memory)))
    return _known[engine]


def set_capacity(engine: Engine, known: Capacity) -> None:
    """Take a capacity for the engine's until it is forgotten."""
    _known[engine] = known


def forget_capacity(engine: Engine) -> None:
    """Ask an engine again the next time: its machine was given more, or less."""
    _known.pop(engine, None)


def fit_to_capacity(spec: ContainerSpec, most: Capacity) -> ContainerSpec:
    """Return a container that may use at most what there is."""
    cpus, memory = min(spec.cpus, most.cpus), min(spec.memory, most.memory)
    return spec.model_copy(update={"cpus": cpus, "memory": int(memory)})


_known: Final[WeakKeyDictionary[Engine, Capacity]] = WeakKeyDictionary()
