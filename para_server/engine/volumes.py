"""The only place that knows how volumes of the engine are made, found and removed."""

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

_MAX_OPTIONS: Final = (
    4000  # bytes of options that a mount may have: a page, less what the engine adds
)
_SEPARATORS: Final = frozenset(',:\\"')  # what the options themselves are written with


class Volume(Model):
    """A volume of para's on the engine."""

    name: str
    session: str | None
    home: str | None


def overlay_options(lower: Sequence[Path], upper: Path, work: Path) -> str | None:
    """Give the options that lay a folder over others, topmost first; None where none can say it."""
    folders = [str(folder) for folder in (*lower, upper, work)]
    if any(_SEPARATORS & set(folder) for folder in folders):
        return None
    # without redirect_dir, `git mv FOLDER` fails
    said = f"redirect_dir=on,lowerdir={':'.join(folders[:-2])},upperdir={upper},workdir={work}"
    return said if len(said.encode()) <= _MAX_OPTIONS else None


async def create_overlay(
    engine: Engine, name: str, options: str, labels: Mapping[str, str]
) -> None:
    """Make a volume of layers, which are mounted when a container starts; what is there stays."""
    driver = {"type": "overlay", "device": "overlay", "o": options}
    await engine.call(lambda api: api.create_volume(name, "local", driver, dict(labels)))


async def create(engine: Engine, name: str, labels: dict[str, str]) -> None:
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
    return await engine.call(lambda api: remove_if_unused(partial(api.remove_volume, name)))


async def list_volumes(engine: Engine, session_id: str | None = None) -> list[Volume]:
    """List the volumes of one or of all sessions on the engine, whoever made them."""
    label = {} if session_id is None else {"label": f"{LABEL_SESSION}={session_id}"}
    answer = await engine.call(lambda api: api.volumes(filters={"name": VOLUME_PREFIX, **label}))
    return [
        Volume(
            name=one["Name"],
            session=(one.get("Labels") or {}).get(LABEL_SESSION),
            home=(one.get("Labels") or {}).get(LABEL_HOME),
        )
        for one in answer.get("Volumes") or ()
        if one["Name"].startswith(VOLUME_PREFIX)
    ]
