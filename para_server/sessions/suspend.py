"""Suspend a session: hold its processes still, or save its container and remove it."""

from __future__ import annotations

import logging

from para_server.agents import reported
from para_server.concurrency.cancellation import ignore_cancellation, rollback_on_failure
from para_server.context import Context
from para_server.core.errors import ParaError
from para_server.core.models import Session, State
from para_server.core.names import container_name, saved_image
from para_server.core.records import Record
from para_server.engine import commit, containers, images
from para_server.engine.containers import ContainerInfo
from para_server.sessions import agent_process, present, provision

_log = logging.getLogger(__name__)


async def save_session(context: Context, record: Record) -> Session:
    """End the agent gently, save the container and remove it; the session is held."""
    context.report(f"Saving {record.name}", 10)
    begun = context.store.write(record.but(state=State.RUNNING, doing="pause"))
    async with rollback_on_failure() as rollback:
        rollback.push_async_callback(_roll_back_pause, context, begun)
        await agent_process.suspend_agent(context, begun)
        saved = await _save_container(context, begun)
    return await ignore_cancellation(_finish_pause(context, saved))


async def _finish_pause(context: Context, record: Record) -> Session:
    """Complete a pause whose image is there: what fails now, the next process does."""
    try:
        record = await complete_pause(context, record)
    except ParaError as error:
        _log.warning("not all is removed yet: %s", error, extra={"session": record.name})
    return present.build_session(context, record, None)


async def complete_pause(context: Context, record: Record) -> Record:
    """Remove a container once it is saved, and the images that it was saved in before."""
    if record.state is not State.PAUSED:
        record = await _save_container(context, record)
    await containers.remove(context.engine, container_name(record.id))
    image = await images.find(context.engine, saved_image(record.id))
    if image is not None:
        await images.remove_saved(context.engine, record.id, context.store.owns, but=image.id)
    return context.store.write(record.but(doing=None))


async def _save_container(context: Context, record: Record) -> Record:
    """Save what there is of a container, and note it when the image is there."""
    name, image = container_name(record.id), saved_image(record.id)
    if await containers.find(context.engine, name) is not None:
        await containers.stop(context.engine, name)
        labels = images.saved_labels(record.id, context.store.home)
        await commit.save_as_image(context.engine, name, image, labels)
        if await images.find(context.engine, image) is None:
            raise ParaError("engine.refused", f"{image} is not there after it was saved")
    return context.store.write(record.but(state=State.PAUSED))


async def freeze_session(context: Context, record: Record, seen: ContainerInfo | None) -> None:
    """Hold the processes of a session, so that its files do not change while they are read.

    An agent that can continue its conversation is ended first; any other would begin anew, should
    the session go on.
    """
    if record.state is State.PAUSED or seen is None or seen.state != "running":
        return
    if agent_process.can_continue_conversation(context, record):
        await agent_process.suspend_agent(context, record)
    await containers.freeze(context.engine, seen.name)


async def _roll_back_pause(context: Context, record: Record) -> None:
    """Take a pause back: the container is started again, if it is still there."""
    name = container_name(record.id)
    seen = await containers.find(context.engine, name)
    if seen is None:
        await complete_pause(context, record)  # it is saved, and removed
        return
    saved = await images.find(context.engine, saved_image(record.id))
    if saved is not None and saved.id != seen.image_id:
        await images.remove(context.engine, saved_image(record.id))
    await provision.start_container(context, record, provision.workspace_of_started(record))
    if seen.state != "running" or reported.is_suspended(context.store.agent_folder(record.id)):
        await agent_process.resume_agent(context, record, None)
    context.store.write(record.but(doing=None))
