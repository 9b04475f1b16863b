"""Create and remove volumes for the mount points that a session's image declares."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from para_server.context import Context
from para_server.core.container_spec import Mount
from para_server.core.names import LABEL_HOME, LABEL_SESSION, declared_volume_name, is_para_image
from para_server.core.records import Record
from para_server.engine import file_copy, images, volumes
from para_server.sessions import file_ownership


class SessionVolumes(NamedTuple):
    """Mounts of the volumes of a session, and the mount points of volumes just created."""

    mounts: list[Mount]
    new: list[PurePosixPath]


async def create_volumes(
    context: Context, record: Record, image: str, others: Sequence[Mount]
) -> SessionVolumes:
    """Create a named volume for each volume that the image declares, unless it exists.

    An anonymous volume of the engine would be removed with the container, and its content is not
    part of a saved image.
    """
    if is_para_image(image):
        return SessionVolumes([], [])  # para's own images declare none: saves a request
    found = await images.find(context.engine, image)
    taken = {PurePosixPath(one.target) for one in others}
    targets = [] if found is None else [t for t in found.volumes if PurePosixPath(t) not in taken]
    labels = {LABEL_SESSION: record.id, LABEL_HOME: str(context.store.home)}
    new = []
    for target in targets:
        name = declared_volume_name(record.id, target)
        if not await volumes.exists(context.engine, name):
            await volumes.create(context.engine, name, labels)
            new.append(PurePosixPath(target))
    mounts = [
        Mount(source=declared_volume_name(record.id, t), target=t, volume=True) for t in targets
    ]
    return SessionVolumes(mounts, new)


async def fix_ownership(
    context: Context, container: str, new: Sequence[PurePosixPath], image: str, fitted: str
) -> None:
    """Change the owner in new volumes for files that the user `para` owns in the given image.

    A build cannot change files in the declared volumes of its base image.
    """
    if not new or image == fitted:
        return
    before, _ = await file_ownership.read_image_ids(context, image)
    owner = (await file_ownership.find_owner(context)).inside
    for folder in new:
        await file_copy.change_owner(context.engine, container, folder, before, owner)


async def remove_volumes(context: Context, record: Record) -> None:
    """Remove all volumes of an ended session."""
    for volume in await volumes.list_volumes(context.engine, record.id):
        if context.store.owns(volume.home):
            await volumes.remove(context.engine, volume.name)
