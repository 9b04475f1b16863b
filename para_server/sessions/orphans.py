"""Remove containers and images that the engine created after their session had ended."""

from __future__ import annotations

from para_server.context import Context
from para_server.core.models import State
from para_server.core.names import LABEL_HOME, LABEL_SESSION, container_name
from para_server.engine import containers, images
from para_server.engine.containers import ContainerInfo
from para_server.engine.images import Image
from para_server.sessions.reconcile import log_postponed


async def remove_orphans(context: Context) -> list[str]:
    """Remove containers and images of sessions that were rolled back or do not exist.

    Returns the names of the removed containers.
    """
    async with context.store.locked_cleanup():
        await _remove_images(context)
        return await _remove_containers(context)


async def _remove_containers(context: Context) -> list[str]:
    engine = context.engine
    removed: list[str] = []
    ours = [
        *await containers.list_session_containers(engine),
        *await containers.list_renamed(engine),
    ]
    for one in [*ours, *await containers.list_oneshot_containers(engine)]:
        session = one.session or one.helper
        if not context.store.owns(one.home) or session is None or _is_needed(context, one):
            continue
        try:
            async with context.store.locked_session(session, timeout=0):
                if not _is_needed(context, one):
                    await containers.remove(engine, one.name)
                    removed.append(one.name)
        except Exception as error:  # noqa: BLE001 # one failure must not stop the others
            log_postponed(f"container {one.name} is not removed", error)
    return removed


async def _remove_images(context: Context) -> None:
    for image in await images.list_saved(context.engine):
        session = image.labels.get(LABEL_SESSION, "")
        if not context.store.owns(image.labels.get(LABEL_HOME)):
            continue
        try:
            async with context.store.locked_session(session, timeout=0):
                await _remove_if_orphaned(context, session, image)
        except Exception as error:  # noqa: BLE001 # one failure must not stop the others
            log_postponed(f"image {image.id} is not removed", error)


async def _remove_if_orphaned(context: Context, session: str, image: Image) -> None:
    """Remove an image of a session that was saved after its pause had been rolled back."""
    record = context.store.read_record(session)
    if record is None or record.doing is not None or record.state is not State.RUNNING:
        return
    container = await containers.find(context.engine, container_name(session))
    if container is not None and container.image_id != image.id:
        await images.remove_unused(context.engine, image.id)


def _is_needed(context: Context, one: ContainerInfo) -> bool:
    """Return whether an active session needs a container; unlocked helpers are not needed."""
    return one.session is not None and context.store.may_be_live(one.session)
