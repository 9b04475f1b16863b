"""Cache the list of session containers while the engine's events are read.

The list is current as long as no event has arrived and no record has changed since it was read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from para_server.concurrency.singleflight import single_flight
from para_server.engine import containers
from para_server.engine.client import Engine
from para_server.engine.containers import ContainerInfo
from para_server.host.filesystem import TIMESTAMP_LAG

_MAX_AGE: Final = 30.0  # seconds; an event stream can break without an error


@dataclass
class ContainerCache:
    """The containers that an engine listed, and the events that arrived before and after."""

    streams: int = 0  # event streams that are being read
    events: int = 0  # number of events so far
    events_at_refresh: int = 0
    refreshed_at: float = 0.0  # seconds of the epoch
    containers: tuple[ContainerInfo, ...] = ()
    dying: set[str] = field(default_factory=set)  # names: died, but still listed as running


def get_cache(engine: Engine) -> ContainerCache:
    """Return the cache of an engine, empty at first."""
    return _caches.setdefault(engine, ContainerCache())


async def list_session_containers(engine: Engine, since: float) -> tuple[ContainerInfo, ...]:
    """Return the containers of all sessions as they were at a time or later.

    `since` is in seconds of the epoch.
    """
    cache = get_cache(engine)
    is_current = cache.streams and cache.events_at_refresh == cache.events
    is_newer = since + TIMESTAMP_LAG < cache.refreshed_at
    if is_current and is_newer and time.time() < cache.refreshed_at + _MAX_AGE:
        return cache.containers
    return await refresh(engine)


@single_flight
async def refresh(engine: Engine) -> tuple[ContainerInfo, ...]:
    """Return the containers of all sessions as they are now, and cache them."""
    cache = get_cache(engine)
    # read before the request: the response may miss what happens during it
    started_at, events = time.time(), cache.events
    listed = await containers.list_session_containers(engine)
    current = tuple(_mark_dying(cache, container) for container in listed)
    cache.refreshed_at, cache.events_at_refresh, cache.containers = started_at, events, current
    return current


def _mark_dying(cache: ContainerCache, info: ContainerInfo) -> ContainerInfo:
    return info.model_copy(update={"state": "exited"}) if info.name in cache.dying else info


_caches: Final[dict[Engine, ContainerCache]] = {}
