"""The only place that knows how volumes of the engine are made, found and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from para_server.engine.client import Engine

if TYPE_CHECKING:
    from docker import APIClient


async def make(engine: Engine, name: str, labels: dict[str, str]) -> None:
    """Make a volume; one that is there stays as it is."""
    await engine.call(lambda api: api.create_volume(name, labels=labels))


async def exists(engine: Engine, name: str) -> bool:
    """Tell whether there is a volume of this name."""

    def ask(api: APIClient) -> bool:
        from docker.errors import NotFound

        try:
            api.inspect_volume(name)
        except NotFound:
            return False
        return True

    return await engine.call(ask)


async def remove(engine: Engine, name: str) -> bool:
    """Remove a volume unless a container has it; tells whether it is gone."""

    def ask(api: APIClient) -> bool:
        from docker.errors import APIError, NotFound

        try:
            api.remove_volume(name)
        except NotFound:
            return True
        except APIError as error:
            if error.status_code != _IN_USE:
                raise
            return False
        return True

    return await engine.call(ask)


_IN_USE = 409
