"""Freeze and thaw the processes of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from para_server.engine.client import Engine
from para_server.engine.error_translation import error_text

if TYPE_CHECKING:
    from docker import APIClient

_MAX_TRIES: Final = 5  # on a busy machine, the engine can fail to freeze in time


async def freeze(engine: Engine, container: str) -> None:
    """Freeze all processes of a container; do nothing if they are frozen.

    The engine completes the request of a process that was killed, so the state that was read
    before may be out of date when the request arrives.
    """

    def request(api: APIClient) -> None:
        from docker.errors import APIError

        tries = 0
        while True:
            tries += 1
            try:
                return api.pause(container)
            except APIError as error:
                if _read_state(api, container) == "paused":
                    return None
                if tries == _MAX_TRIES or "unable to freeze" not in error_text(error):
                    raise

    await engine.call(request)


async def thaw(engine: Engine, container: str) -> None:
    """Thaw the processes of a container; do nothing if they run."""

    def request(api: APIClient) -> None:
        from docker.errors import APIError

        try:
            api.unpause(container)
        except APIError:
            if _read_state(api, container) != "running":
                raise

    await engine.call(request)


def _read_state(api: APIClient, container: str) -> str:
    return str(api.inspect_container(container)["State"]["Status"])
