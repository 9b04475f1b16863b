"""Create, list and remove volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from para_server.core.model import Model
from para_server.core.names import LABEL_HOME, LABEL_SESSION, VOLUME_PREFIX
from para_server.engine.client import Engine
from para_server.engine.error_translation import remove_if_unused

if TYPE_CHECKING:
    from docker import APIClient

_MAX_OPTIONS: Final = 4000  # bytes: a page, less what the engine adds
_SEPARATORS: Final = frozenset(',:\\"')  # characters that separate or quote the options


class Volume(Model):
    """A volume that para created."""

    name: str
    session: str | None
    home: str | None


def overlay_options(lower: Sequence[Path], upper: Path, work: Path) -> str | None:
    """Return the mount options of an overlay, or None if they can't express these paths.

    `lower` has the lower folders, topmost first.
    """
    folders = [str(folder) for folder in (*lower, upper, work)]
    if any(_SEPARATORS & set(folder) for folder in folders):
        return None
    # without redirect_dir, `git mv` of a folder fails
    options = f"redirect_dir=on,lowerdir={':'.join(folders[:-2])},upperdir={upper},workdir={work}"
    return options if len(options.encode()) <= _MAX_OPTIONS else None


async def create_overlay(
    engine: Engine, name: str, options: str, labels: Mapping[str, str]
) -> None:
    """Create an overlay volume, which is mounted when a container starts; keep an existing one."""
    driver = {"type": "overlay", "device": "overlay", "o": options}
    await engine.call(lambda api: api.create_volume(name, "local", driver, dict(labels)))


async def create(engine: Engine, name: str, labels: dict[str, str]) -> None:
    """Create a volume; keep an existing one."""
    await engine.call(lambda api: api.create_volume(name, labels=labels))


async def exists(engine: Engine, name: str) -> bool:
    """Return whether a volume of this name exists."""

    def request(api: APIClient) -> bool:
        from docker.errors import NotFound

        try:
            api.inspect_volume(name)
        except NotFound:
            return False
        return True

    return await engine.call(request)


async def remove(engine: Engine, name: str) -> bool:
    """Remove a volume unless a container uses it; return whether it is gone."""
    return await engine.call(lambda api: remove_if_unused(partial(api.remove_volume, name)))


async def list_volumes(engine: Engine, session_id: str | None = None) -> list[Volume]:
    """Return the volumes of one or all sessions on the engine, of every installation of para."""
    label = {} if session_id is None else {"label": f"{LABEL_SESSION}={session_id}"}
    reply = await engine.call(lambda api: api.volumes(filters={"name": VOLUME_PREFIX, **label}))
    return [
        Volume(
            name=volume["Name"],
            session=(volume.get("Labels") or {}).get(LABEL_SESSION),
            home=(volume.get("Labels") or {}).get(LABEL_HOME),
        )
        for volume in reply.get("Volumes") or ()
        if volume["Name"].startswith(VOLUME_PREFIX)
    ]
