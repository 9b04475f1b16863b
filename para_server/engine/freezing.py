"""The only place that freezes the processes of a container and lets them go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from para_server.engine.client import Engine
from para_server.engine.failures import words

if TYPE_CHECKING:
    from docker import APIClient

_FREEZES: Final = 5  # tries: where the machine is busy, processes may not stand still in time


async def freeze(engine: Engine, container: str) -> None:
    """Freeze all processes of a container; they may be frozen already.

    The engine does what a process of para asked for also where that was killed meanwhile, so what
    was seen of a container may be no more so when it is asked again.
    """

    def ask(api: APIClient) -> None:
        from docker.errors import APIError

        tries = 0
        while True:
            tries += 1
            try:
                return api.pause(container)
            except APIError as error:
                if _state(api, container) == "paused":
                    return None
                if tries == _FREEZES or "unable to freeze" not in words(error):
                    raise

    await engine.call(ask)


async def thaw(engine: Engine, container: str) -> None:
    """Let the processes of a container go on; they may do so already."""

    def ask(api: APIClient) -> None:
        from docker.errors import APIError

        try:
            api.unpause(container)
        except APIError:
            if _state(api, container) != "running":
                raise

    await engine.call(ask)


def _state(api: APIClient, container: str) -> str:
    return str(api.inspect_container(container)["State"]["Status"])
