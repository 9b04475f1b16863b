"""Watch the engine's events for changes of session containers."""

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
from para_server.engine.exec_command import Stopper

if TYPE_CHECKING:
    from docker import APIClient

_ACTIONS: Final = "create start die stop pause unpause destroy oom rename".split()
_EARLY_ACTIONS: Final = ("die", "pause", "unpause")  # sent before Docker's list shows the change


async def watch_session_containers(engine: Engine) -> AsyncIterator[str]:
    """Yield "" once the stream is open, then the name of each session container that changes.

    Raises ParaError when the stream ends, since later changes are not reported.
    """
    loop = asyncio.get_running_loop()
    cache = container_cache.get_cache(engine)
    queue: asyncio.Queue[str | Exception] = asyncio.Queue()
    reader = _Reader(engine, lambda event: _enqueue(loop, queue, event))
    reader.start()
    is_open = False
    try:
        while True:
            event = await queue.get()
            if isinstance(event, Exception):
                raise event
            if not is_open:
                is_open = True
                cache.streams += 1
                cache.events += 1  # an event before this stream was not counted
            yield event
    finally:
        cache.streams -= is_open
        reader.stop()


def _enqueue(
    loop: asyncio.AbstractEventLoop,
    queue: asyncio.Queue[str | Exception],
    event: str | Exception,
) -> None:
    with suppress(RuntimeError):  # the event loop is closed
        loop.call_soon_threadsafe(queue.put_nowait, event)


class _Reader(threading.Thread):
    """Reads the event stream on a connection of its own, which `stop` closes."""

    def __init__(self, engine: Engine, report: Any) -> None:
        super().__init__(name="engine-events", daemon=True)
        self._engine, self._report = engine, report
        self._stopper = Stopper()

    def run(self) -> None:
        api: APIClient | None = None
        try:
            api = self._engine.connect(None)
            with self._stopper.closing(api):
                stream = api.events(decode=True, filters={"type": "container"})
                self._report("")
                for event in stream:
                    self._handle(api, event)
            self._report(unreachable_error("The container engine closed its event stream"))
        except Exception as error:  # noqa: BLE001 # raised in the consumer of the events
            if not self._stopper.stopped.is_set():
                self._report(self._engine.translate_error(error))
        finally:
            if api is not None:
                api.close()

    def stop(self) -> None:
        self._stopper.stop()

    def _handle(self, api: APIClient, event: dict[str, Any]) -> None:
        attributes = (event.get("Actor") or {}).get("Attributes", {})
        name, action = attributes.get("name", ""), str(event.get("Action", ""))
        if action == "rename" and not name.startswith(CONTAINER_PREFIX):
            # a session's container may have been given a name that is not a session's
            name = attributes.get("oldName", "").removeprefix("/")
        if not name.startswith(CONTAINER_PREFIX) or action not in _ACTIONS:
            return
        cache = container_cache.get_cache(self._engine)
        if action == "die":
            cache.dying.add(name)
        cache.events += 1
        self._report(name)
        if action in _EARLY_ACTIONS:
            # the engine answers an inspection only after its list shows the change
            with suppress(Exception):
                api.inspect_container(name)
            cache.dying.discard(name)
            cache.events += 1
            self._report(name)
