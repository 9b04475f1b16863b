"""The only place that lays a session's own files over those that it shares, and knows who can."""

from __future__ import annotations

import hashlib
import logging
import secrets
from pathlib import Path
from typing import Final

from para_server import spec
from para_server.commands import ownership
from para_server.commands.images import helper_image
from para_server.context import Context
from para_server.disk import remove_tree, written
from para_server.engine import helper, volumes
from para_server.errors import ParaError
from para_server.git.clone import hand_over
from para_server.names import HELPER_PREFIX, LABEL_HOME, LABEL_SESSION, volume_name
from para_server.records import Record
from para_server.settings import bytes_of
from para_server.steps import off_loop, undone_on_failure
from para_server.untrusted import read_bounded

_log = logging.getLogger(__name__)
_SECONDS: Final = 60
_TRIAL: Final = f"cd {spec.WORKSPACE} && mv old new && cat new/word >heard"
_NO, _YES, _SHORT = "no", "yes", "short"  # whether an engine can lay folders, and their names
# bytes that one option of a mount may have in the kernel's newer interface to mounts (fsconfig),
# which util-linux uses since 2.39, and Podman with it
_SHORTEST: Final = 255


def known(context: Context) -> bool:
    """Tell whether it was tried, and the engine can."""
    return _known(context) in {_YES, _SHORT}


def _known(context: Context) -> str:
    return (read_bounded(_answer(context), len(_SHORT)) or b"").decode(errors="replace")


async def possible(context: Context, record: Record) -> bool:
    """Tell whether the engine can lay folders of this machine over each other: it is tried once."""
    answer = _answer(context)
    if answer.is_file():
        return known(context)
    image = await helper_image(context)
    found = _NO
    for way in (_YES, _SHORT):
        try:
            if await _tried(context, record, image, long=way == _YES):
                found = way
                break
        except ParaError as error:
            _log.info("sessions do not share files (%s): %s", way, error)
            if error.slug != "engine.refused":
                return False  # it may be another time
    with written(answer):
        answer.write_text(found)
    return found != _NO


def forget(context: Context) -> None:
    """Try the engine again the next time: it may be another one now."""
    _answer(context).unlink(missing_ok=True)


def fits(context: Context, record: Record, layers: list[Path]) -> bool:
    """Tell whether a mount can name so many layers."""
    upper, work = context.store.upper(record.id), context.store.overlay_work(record.id)
    options = volumes.overlay(layers, upper, work)
    if options is None or _known(context) != _SHORT:
        return options is not None
    return all(len(one.encode()) <= _SHORTEST for one in options.split(","))


async def lay(context: Context, record: Record, layers: list[Path]) -> spec.Mount:
    """Make the volume that is a session's workspace, unless it is there, and describe its mount."""
    upper, work = context.store.upper(record.id), context.store.overlay_work(record.id)
    await _volume(context, record.id, record.id, layers, upper, work)
    return mount(record)


def mount(record: Record) -> spec.Mount:
    """Describe the mount of a session's workspace."""
    return spec.Mount(source=volume_name(record.id), target=spec.WORKSPACE, volume=True)


async def _tried(context: Context, record: Record, image: str, *, long: bool) -> bool:
    """Try it with a folder over another, or over more than the shortest options can name."""
    scratch = context.store.scratch(record.id)
    lower, upper, work = scratch / "lower", scratch / "upper", scratch / "work"
    lowers = [lower, *([scratch / ("x" * _SHORTEST)] if long else [])]
    word = secrets.token_hex(8)
    name = volume_name(scratch.name)
    async with undone_on_failure() as undo:
        undo.push_async_callback(off_loop, lambda: remove_tree(scratch))
        undo.push_async_callback(volumes.remove, context.engine, name)
        with written(scratch):
            for folder in (lower / "old", *lowers[1:], upper, work):
                folder.mkdir(parents=True)
            (lower / "old/word").write_text(word)
        await hand_over(scratch, (await ownership.owner(context)).host)
        await _volume(context, scratch.name, record.id, lowers, upper, work)
        wanted = spec.helper_container(
            f"{HELPER_PREFIX}{scratch.name}",
            record.id,
            image=image,
            home=context.store.home,
            command=("sh", "-c", _TRIAL),
            environment={},
            mounts=[spec.Mount(source=name, target=spec.WORKSPACE, volume=True)],
            file_size=bytes_of("1m"),
        )
        code = await helper.run(context.engine, wanted, _SECONDS)
        heard = upper / "heard"
        can = code == 0 and read_bounded(heard, len(word) + 1) == word.encode()
        # git renames folders in one step; mv would have copied this one where that cannot be
        can = can and not (upper / "new/word").exists()
        await volumes.remove(context.engine, name)
        await off_loop(lambda: remove_tree(scratch))
    return can


async def _volume(
    context: Context, name: str, session_id: str, layers: list[Path], upper: Path, work: Path
) -> None:
    options = volumes.overlay(layers, upper, work)
    if options is None:
        raise ParaError("engine.refused", f"The folder {upper} cannot be named in a mount")
    labels = {LABEL_SESSION: session_id, LABEL_HOME: str(context.store.home)}
    await volumes.lay(context.engine, volume_name(name), options, labels)


def _answer(context: Context) -> Path:
    address = hashlib.sha256(context.engine.address.encode()).hexdigest()[:16]
    return context.store.bases_folder / f"engine-{address}"
