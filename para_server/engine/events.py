"""The only place that knows how the engine tells that a container changed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from para_server.core.names import CONTAINER_PREFIX
from para_server.engine import container_cache
from para_server.engine.client import Engine
from para_server.engine.endpoint import unreachable_error

if TYPE_CHECKING:
    from docker import APIClient

_ACTIONS: Final = "create start die stop pause unpause destroy oom rename".split()
_EARLY_ACTIONS: Final = ("die", "pause", "unpause")  # what Docker says before its list shows it


async def watch_session_containers(engine: Engine) -> AsyncIterator[str]:
    """Give the name of each session container that changed, and "" once the engine listens.

    Raises ParaError when the stream ends, since what happens afterwards is not seen.
    """
    loop = asyncio.get_running_loop()
    cache = container_cache.get_cache(engine)
    arrived: asyncio.Queue[str | Exception] = asyncio.Queue()
    reader = _Reader(engine, lambda event: _enqueue(loop, arrived, event))
    reader.start()
    listening = False
    try:
        while True:
            event = await arrived.get()
            if isinstance(event, Exception):
                raise event
            if not listening:
                listening = True
                cache.streams += 1
                cache.events += 1  # an event before this stream was not counted
            yield event
    finally:
        cache.streams -= listening
        reader.stop()


def _enqueue(
    loop: asyncio.AbstractEventLoop,
    arrived: asyncio.Queue[str | Exception],
    event: str | Exception,
) -> None:
    with suppress(RuntimeError):  # the loop has ended, and nobody listens
        loop.call_soon_threadsafe(arrived.put_nowait, event)


class _Reader(threading.Thread):
    """Reads the stream with a connection of its own, which `stop` shuts."""

    def __init__(self, engine: Engine, tell: Any) -> None:
        super().__init__(name="engine-events", daemon=True)
        self._engine, self._tell = engine, tell
        self._stream: Any = None
        self._stopped = False

    def run(self) -> None:
        api: APIClient | None = None
        try:
            api = self._engine.connect(None)
            self._stream = api.events(decode=True, filters={"type": "container"})
            if self._stopped:
                return
            self._tell("")
            for event in self._stream:
                self._heard(api, event)
            self._tell(unreachable_error("The container engine has gone away"))
        except Exception as error:  # noqa: BLE001 # whatever it is, the listener is told
            if not self._stopped:
                self._tell(self._engine.translate_error(error))
        finally:
            if api is not None:
                api.close()

    def stop(self) -> None:
        self._stopped = True
        if self._stream is not None:
            with suppress(Exception):
                self._stream.close()

    def _heard(self, api: APIClient, event: dict[str, Any]) -> None:
        told = (event.get("Actor") or {}).get("Attributes", {})
        name, action = told.get("name", ""), str(event.get("Action", ""))
        if action == "rename" and not name.startswith(CONTAINER_PREFIX):
            name = told.get("oldName", "").removeprefix("/")  # a session's container went away
        if not name.startswith(CONTAINER_PREFIX) or action not in _ACTIONS:
            return
        cache = container_cache.get_cache(self._engine)
        if action == "die":
            cache.dying.add(name)
        cache.events += 1
        self._tell(name)
        if action in _EARLY_ACTIONS:
            # an answer about the container comes after it is listed so
            with suppress(Exception):
                api.inspect_container(name)
            cache.dying.discard(name)
            cache.events += 1
            self._tell(name)
