"""The only place that knows how the engine tells that a container changed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from para_server.engine import memory
from para_server.engine.client import Engine
from para_server.engine.endpoint import unreachable
from para_server.engine.execution import Stopper
from para_server.names import CONTAINER_PREFIX

if TYPE_CHECKING:
    from docker import APIClient

_TELLING: Final = "create start die stop pause unpause destroy oom rename".split()
_EARLY: Final = ("die", "pause", "unpause")  # what Docker says before its list shows it


async def changes(engine: Engine) -> AsyncIterator[str]:
    """Give the name of each session container that changed, and "" once the engine listens.

    Raises ParaError when the stream ends, since what happens afterwards is not seen.
    """
    loop = asyncio.get_running_loop()
    known = memory.of(engine)
    arrived: asyncio.Queue[str | Exception] = asyncio.Queue()
    reader = _Reader(engine, lambda event: _pass_on(loop, arrived, event))
    reader.start()
    listening = False
    try:
        while True:
            event = await arrived.get()
            if isinstance(event, Exception):
                raise event
            if not listening:
                listening = True
                known.listening += 1
                known.events += 1  # what happened before it listened
            yield event
    finally:
        known.listening -= listening
        reader.stop()


def _pass_on(
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
        self._stopper = Stopper()

    def run(self) -> None:
        api: APIClient | None = None
        try:
            api = self._engine.connect(None)
            with self._stopper.closing(api):
                stream = api.events(decode=True, filters={"type": "container"})
                self._tell("")
                for event in stream:
                    self._heard(api, event)
            self._tell(unreachable("The container engine has gone away"))
        except Exception as error:  # noqa: BLE001 # whatever it is, the listener is told
            if not self._stopper.stopped.is_set():
                self._tell(self._engine.translated(error))
        finally:
            if api is not None:
                api.close()

    def stop(self) -> None:
        self._stopper.stop()

    def _heard(self, api: APIClient, event: dict[str, Any]) -> None:
        told = (event.get("Actor") or {}).get("Attributes", {})
        name, action = told.get("name", ""), str(event.get("Action", ""))
        if action == "rename" and not name.startswith(CONTAINER_PREFIX):
            name = told.get("oldName", "").removeprefix("/")  # a session's container went away
        if not name.startswith(CONTAINER_PREFIX) or action not in _TELLING:
            return
        known = memory.of(self._engine)
        if action == "die":
            known.dying.add(name)
        known.events += 1
        self._tell(name)
        if action in _EARLY:
            # an answer about the container comes after it is listed so
            with suppress(Exception):
                api.inspect_container(name)
            known.dying.discard(name)
            known.events += 1
            self._tell(name)
