"""Suspend a session: freeze its processes, or save its container and remove it."""

from __future__ import annotations

import logging

from para_server.agents import reported
from para_server.concurrency.cancellation import ignore_cancellation, rollback_on_failure
from para_server.context import Context
from para_server.core.errors import ParaError
from para_server.core.models import Session, State
from para_server.core.names import container_name, saved_image
from para_server.core.records import Record
from para_server.engine import commit, containers, freezer, images
from para_server.engine.containers import ContainerInfo
from para_server.sessions import agent_process, present, provision

_log = logging.getLogger(__name__)


async def save_session(context: Context, record: Record) -> Session:
    """End the agent gently, save the container and remove it; the session must be locked."""
    context.report(f"Saving {record.name}", 10)
    pending = context.store.write(record.updated(state=State.RUNNING, doing="pause"))
    async with rollback_on_failure() as rollback:
        rollback.push_async_callback(_roll_back_pause, context, pending)
        await agent_process.suspend_agent(context, pending)
        saved = await _save_container(context, pending)
    return await ignore_cancellation(_finish_pause(context, saved))


async def _finish_pause(context: Context, record: Record) -> Session:
    """Complete a pause after its image is saved; the next process removes the rest."""
    try:
        record = await complete_pause(context, record)
    except ParaError as error:
        _log.warning("its container is not removed yet: %s", error, extra={"session": record.name})
    return present.build_session(context, record, None)


async def complete_pause(context: Context, record: Record) -> Record:
    """Remove a saved container and its older saved images."""
    if record.state is not State.PAUSED:
        record = await _save_container(context, record)
    await containers.remove(context.engine, container_name(record.id))
    image = await images.find(context.engine, saved_image(record.id))
    if image is not None:
        await images.remove_saved(context.engine, record.id, context.store.owns, keep=image.id)
    return context.store.write(record.updated(doing=None))


async def _save_container(context: Context, record: Record) -> Record:
    """Save the container, if it exists, and write the paused state when the image exists."""
    name, image = container_name(record.id), saved_image(record.id)
    if await containers.find(context.engine, name) is not None:
        await containers.stop(context.engine, name)
        labels = images.saved_labels(record.id, context.store.home)
        await commit.save_as_image(context.engine, name, image, labels)
        if await images.find(context.engine, image) is None:
            raise ParaError("engine.refused", f"{image} does not exist after it was saved")
    return context.store.write(record.updated(state=State.PAUSED))


async def freeze_session(context: Context, record: Record, container: ContainerInfo | None) -> None:
    """Freeze the processes of a session, so that its files do not change while they are read.

    An agent that can continue its conversation is ended first. Any other is only frozen, because it
    would start from the beginning if the session continues.
    """
    if record.state is State.PAUSED or container is None or container.state != "running":
        return
    if agent_process.can_continue_conversation(context, record):
        await agent_process.suspend_agent(context, record)
    await freezer.freeze(context.engine, container.name)


async def _roll_back_pause(context: Context, record: Record) -> None:
    """Roll back a pause: start the container and its agent again."""
    name = container_name(record.id)
    container = await containers.find(context.engine, name)
    if container is None:
        await complete_pause(context, record)  # the container is already removed
        return
    saved = await images.find(context.engine, saved_image(record.id))
    if saved is not None and saved.id != container.image_id:
        await images.remove(context.engine, saved_image(record.id))
    await provision.start_container(context, record, provision.workspace_of_started(record))
    if container.state != "running" or reported.is_suspended(context.store.agent_folder(record.id)):
        await agent_process.resume_agent(context, record, None)
    context.store.write(record.updated(doing=None))
