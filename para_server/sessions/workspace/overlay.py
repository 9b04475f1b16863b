"""Create overlay volumes for workspaces, and check whether an engine can mount them."""

from __future__ import annotations

import hashlib
import logging
import secrets
from pathlib import Path
from typing import Final

from para_server.concurrency.cancellation import rollback_on_failure, run_in_thread
from para_server.context import Context
from para_server.core import container_spec
from para_server.core.errors import ParaError
from para_server.core.names import HELPER_PREFIX, LABEL_HOME, LABEL_SESSION, overlay_volume_name
from para_server.core.records import Record
from para_server.core.settings import parse_size
from para_server.core.untrusted import read_bounded
from para_server.engine import oneshot, volumes
from para_server.git.clone import change_owner
from para_server.host.filesystem import remove_tree, reporting_os_errors
from para_server.sessions import file_ownership
from para_server.sessions.recipes import find_helper_image

_log = logging.getLogger(__name__)
_TIMEOUT: Final = 60  # seconds
_TRIAL_SCRIPT: Final = f"cd {container_spec.WORKSPACE} && mv old new && cat new/word >copy"
# whether an engine can mount overlays, and whether only with short options
_NO, _YES, _SHORT = "no", "yes", "short"
# bytes of one mount option in fsconfig, the kernel's newer interface, which Podman uses through
# util-linux since version 2.39
_MAX_SHORT_OPTION: Final = 255


def is_supported(context: Context) -> bool:
    """Return whether an earlier trial of the engine succeeded."""
    return _cached_result(context) in {_YES, _SHORT}


def _cached_result(context: Context) -> str:
    return (read_bounded(_result_file(context), len(_SHORT)) or b"").decode(errors="replace")


async def probe_support(context: Context, record: Record) -> bool:
    """Return whether the engine can mount overlays of local folders; tried once, then cached."""
    result_file = _result_file(context)
    if result_file.is_file():
        return is_supported(context)
    image = await find_helper_image(context)
    result = _NO
    for kind in (_YES, _SHORT):
        try:
            if await _try_overlay(context, record, image, long=kind == _YES):
                result = kind
                break
        except ParaError as error:
            _log.info("overlays cannot be mounted (%s): %s", kind, error)
            if error.slug != "engine.refused":
                return False  # not cached, because it may work later
    with reporting_os_errors(result_file):
        result_file.write_text(result)
    return result != _NO


def forget_support(context: Context) -> None:
    """Delete the cached result, because the engine may have changed."""
    _result_file(context).unlink(missing_ok=True)


def can_mount(context: Context, record: Record, layers: list[Path]) -> bool:
    """Return whether the mount options for these layers are short enough."""
    upper, work = (
        context.store.upper_folder(record.id),
        context.store.overlay_work(record.id),
    )
    options = volumes.overlay_options(layers, upper, work)
    if options is None or _cached_result(context) != _SHORT:
        return options is not None
    return all(len(one.encode()) <= _MAX_SHORT_OPTION for one in options.split(","))


async def create_mount(
    context: Context, record: Record, layers: list[Path]
) -> container_spec.Mount:
    """Create the overlay volume of a workspace, unless it exists, and return its mount."""
    upper, work = (
        context.store.upper_folder(record.id),
        context.store.overlay_work(record.id),
    )
    await _create_volume(context, record.id, record.id, layers, upper, work)
    return volume_mount(record)


def volume_mount(record: Record) -> container_spec.Mount:
    """Return the mount of a workspace that is an overlay volume."""
    return container_spec.Mount(
        source=overlay_volume_name(record.id), target=container_spec.WORKSPACE, volume=True
    )


async def _try_overlay(context: Context, record: Record, image: str, *, long: bool) -> bool:
    """Try an overlay of two folders; if `long`, with options over the short limit."""
    scratch = context.store.make_scratch_folder(record.id)
    lower, upper, work = scratch / "lower", scratch / "upper", scratch / "work"
    lowers = [lower, *([scratch / ("x" * _MAX_SHORT_OPTION)] if long else [])]
    word = secrets.token_hex(8)
    name = overlay_volume_name(scratch.name)
    async with rollback_on_failure() as rollback:
        rollback.push_async_callback(run_in_thread, lambda: remove_tree(scratch))
        rollback.push_async_callback(volumes.remove, context.engine, name)
        with reporting_os_errors(scratch):
            for folder in (lower / "old", *lowers[1:], upper, work):
                folder.mkdir(parents=True)
            (lower / "old/word").write_text(word)
        await change_owner(scratch, (await file_ownership.find_owner(context)).host)
        await _create_volume(context, scratch.name, record.id, lowers, upper, work)
        spec = container_spec.helper_container(
            f"{HELPER_PREFIX}{scratch.name}",
            record.id,
            image=image,
            home=context.store.home,
            command=("sh", "-c", _TRIAL_SCRIPT),
            environment={},
            mounts=[
                container_spec.Mount(source=name, target=container_spec.WORKSPACE, volume=True)
            ],
            file_size=parse_size("1m"),
        )
        code = await oneshot.run(context.engine, spec, _TIMEOUT)
        copy = upper / "copy"
        succeeded = code == 0 and read_bounded(copy, len(word) + 1) == word.encode()
        # git needs to rename folders; mv copies this one if the rename fails
        succeeded = succeeded and not (upper / "new/word").exists()
        await volumes.remove(context.engine, name)
        await run_in_thread(lambda: remove_tree(scratch))
    return succeeded


async def _create_volume(
    context: Context, name: str, session_id: str, layers: list[Path], upper: Path, work: Path
) -> None:
    options = volumes.overlay_options(layers, upper, work)
    if options is None:
        raise ParaError("engine.refused", f"The folder {upper} cannot be used in mount options")
    labels = {LABEL_SESSION: session_id, LABEL_HOME: str(context.store.home)}
    await volumes.create_overlay(context.engine, overlay_volume_name(name), options, labels)


def _result_file(context: Context) -> Path:
    address = hashlib.sha256(context.engine.address.encode()).hexdigest()[:16]
    return context.store.checkouts_folder / f"engine-{address}"
