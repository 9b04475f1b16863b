"""The only place that keeps what lies in the volumes that a session's image declares."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from para_server.context import Context
from para_server.engine import images, volumes
from para_server.names import LABEL_HOME, LABEL_SESSION, is_ours, kept_volume
from para_server.records import Record
from para_server.spec import Mount


async def mounts(
    context: Context, record: Record, image: str, others: Sequence[Mount]
) -> list[Mount]:
    """Create a volume of the session's own for each that its image declares; what is there stays.

    One that the engine makes by itself goes with the container, and a saved image has none of it.
    """
    if is_ours(image):
        return []  # it declares none, and is not asked for each session
    found = await images.find(context.engine, image)
    taken = {PurePosixPath(one.target) for one in others}
    targets = [] if found is None else [t for t in found.volumes if PurePosixPath(t) not in taken]
    labels = {LABEL_SESSION: record.id, LABEL_HOME: str(context.store.home)}
    for target in targets:
        await volumes.make(context.engine, kept_volume(record.id, target), labels)
    return [Mount(source=kept_volume(record.id, t), target=t, volume=True) for t in targets]


async def drop(context: Context, record: Record) -> None:
    """Remove all volumes of a session that is over."""
    for volume in await volumes.listed(context.engine, record.id):
        if context.store.owns(volume.home):
            await volumes.remove(context.engine, volume.name)
