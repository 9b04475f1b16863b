"""The only place that remembers which session containers there are, and for how long that holds.

It holds while events are heard, and neither an event nor a record has come since it was asked.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from para_server.concurrency.singleflight import single_flight
from para_server.engine import containers
from para_server.engine.client import Engine
from para_server.engine.containers import ContainerInfo
from para_server.host.filesystem import COARSE

_SILENCE: Final = 30.0  # seconds after which a stream that tells nothing is not relied upon


@dataclass
class ContainerCache:
    """What was seen on an engine, when that was asked for, and how many events had come by then."""

    listening: int = 0  # streams of events that are heard
    events: int = 0
    by_then: int = 0
    asked: float = 0.0
    seen: tuple[ContainerInfo, ...] = ()
    dying: set[str] = field(default_factory=set)  # names: heard to have died, and not yet listed so


def of(engine: Engine) -> ContainerCache:
    """Give the memory of an engine."""
    return _memories.setdefault(engine, ContainerCache())


async def sessions(engine: Engine, since: float) -> tuple[ContainerInfo, ...]:
    """List the containers of all sessions as they are after a time, in seconds of the epoch."""
    memory = of(engine)
    heard = memory.listening and memory.by_then == memory.events
    if heard and since + COARSE < memory.asked and time.time() < memory.asked + _SILENCE:
        return memory.seen
    return await asked(engine)


@single_flight
async def asked(engine: Engine) -> tuple[ContainerInfo, ...]:
    """List the containers of all sessions as they are now."""
    memory = of(engine)
    # before it answers: what happens meanwhile may not be in the answer
    asked, by_then = time.time(), memory.events
    seen = tuple(_dead(memory, one) for one in await containers.sessions(engine))
    memory.asked, memory.by_then, memory.seen = asked, by_then, seen
    return seen


def _dead(memory: ContainerCache, seen: ContainerInfo) -> ContainerInfo:
    return seen.model_copy(update={"state": "exited"}) if seen.name in memory.dying else seen


_memories: Final[dict[Engine, ContainerCache]] = {}
