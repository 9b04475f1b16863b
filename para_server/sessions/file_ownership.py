"""Decide which user ids own the files of sessions, on the host and in containers."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from para_server.concurrency.cancellation import rollback_on_failure
from para_server.context import Context
from para_server.core import container_spec
from para_server.core.errors import DISABLE_CONTAINERS, ParaError, Remedy
from para_server.core.model import Model
from para_server.core.names import HELPER_PREFIX, LABEL_FITTED, LABEL_HOME, fitted_image
from para_server.core.settings import parse_size
from para_server.core.untrusted import read_bounded
from para_server.engine import containers, file_copy, image_build, images
from para_server.engine.engine_info import EngineInfo, inspect_engine
from para_server.engine.error_translation import image_missing_error
from para_server.engine.image_build import Recipe
from para_server.engine.images import Image
from para_server.git.clone import AGENT_UID, change_owner
from para_server.host.filesystem import reporting_os_errors

_PASSWD: Final = container_spec.PASSWD
_MAX_IDS: Final = 64  # bytes of a file with two ids
_IDS_PATTERN: Final = re.compile("[0-9]{1,10}:[0-9]{1,10}")
_HELPER_LOCK: Final = "ids"  # lock and owner of a helper that belongs to no session
_DOCS_URL: Final = "https://docs.docker.com/engine/security/userns-remap/"


class Owner(Model):
    """The uid to change files to on the host (None: keep ours), and uid and gid in containers."""

    host: int | None
    inside: tuple[int, int]


async def find_owner(context: Context) -> Owner:
    """Return the owner of the files of container sessions.

    Raises engine.refused if containers of the engine cannot own files of this user.
    """
    return decide_owner(await inspect_engine(context.engine), os.geteuid(), os.getegid())


def decide_owner(info: EngineInfo, uid: int, gid: int) -> Owner:
    """Return the owner for an engine and the ids of this process."""
    if info.rootless:
        # root in its containers is the engine's user; all other ids map to no user here
        if uid != info.root:
            raise _wrong_user_error(
                f"The engine is the rootless one of uid {info.root}, but para runs as uid {uid}: "
                "run para as that user"
            )
        return Owner(host=None, inside=(0, 0))
    if info.remapped:
        if uid != 0:
            raise _wrong_user_error(
                "The engine remaps user ids (userns-remap), so its containers cannot own files "
                f"of uid {uid}: run para as root, which can change the owner"
            )
        return Owner(host=info.root + AGENT_UID, inside=(AGENT_UID, AGENT_UID))
    if uid == 0:
        return Owner(host=AGENT_UID, inside=(AGENT_UID, AGENT_UID))
    return Owner(host=None, inside=(uid, gid))


async def hand_to_helper(context: Context, folder: Path) -> None:
    """Make a folder of para writable for a helper container."""
    info = await inspect_engine(context.engine)
    if info.rootless or info.remapped:
        await change_owner(folder, (await find_owner(context)).host)


async def fit_image(context: Context, image: str, session_id: str) -> str:
    """Return an image in which the user `para` has the ids of the session's files.

    It is the given image if its ids match, as for uid 1000 and root; otherwise one is built once.
    Raises engine.refused if the image has no user `para`.
    """
    inside = (await find_owner(context)).inside
    found = await images.find(context.engine, image)
    if found is None or await _cached_image_ids(context, found, image, session_id) == inside:
        return image  # a missing image is reported when the container is created
    name = fitted_image(found.id, inside)
    if await images.find(context.engine, name) is None:
        context.report(f"Fitting {image} to uid {inside[0]}, once: this takes a while", None)
        await images.remove_stale_fitted(context.engine, context.store.owns)
        recipe = Recipe(
            image=name,
            folder=image_build.recipe_folder("fitted"),
            arguments={
                "BASE_IMAGE": found.id,
                "IDS": f"{inside[0]}:{inside[1]}",
                "SANDBOX": "" if inside[0] else "1",
            },
            labels={LABEL_FITTED: found.id, LABEL_HOME: str(context.store.home)},
            offline=True,
        )
        # build steps are not reported; the error has the output of one that fails
        await image_build.build_image(context.engine, recipe, None, lambda *_: None, no_cache=False)
    return name


async def read_image_ids(context: Context, image: str) -> tuple[int, int]:
    """Return uid and gid of the user `para` in an image; raises engine.image-missing."""
    found = await images.find(context.engine, image)
    if found is None:
        raise image_missing_error(image)
    # locked, because reconciling removes helpers of unlocked owners
    async with context.store.locked_session(_HELPER_LOCK):
        return await _cached_image_ids(context, found, image, _HELPER_LOCK)


async def _cached_image_ids(
    context: Context, image: Image, name: str, session_id: str
) -> tuple[int, int]:
    """Return uid and gid of the user `para`, cached by the id of the image."""
    cache = context.store.checkouts_folder / f"image-{image.id.rpartition(':')[2][:32]}"
    with suppress(ValueError):
        first, second = (read_bounded(cache, _MAX_IDS) or b"").split()
        return int(first), int(second)
    uid, gid = await _read_passwd(context, name, session_id)
    with reporting_os_errors(cache):
        cache.write_text(f"{uid} {gid}", encoding="ascii")
    return uid, gid


async def _read_passwd(context: Context, image: str, session_id: str) -> tuple[int, int]:
    name = f"{HELPER_PREFIX}{session_id}.ids"
    spec = container_spec.helper_container(
        name,
        session_id,
        image=image,
        home=context.store.home,
        command=("true",),
        environment={},
        mounts=[],
        file_size=parse_size("1m"),
    )
    async with rollback_on_failure() as rollback:
        rollback.push_async_callback(containers.remove, context.engine, name)
        await containers.remove(context.engine, name)  # left by a killed process
        await containers.create(context.engine, spec)
        passwd = await file_copy.read_file(context.engine, name, _PASSWD) or b""
        await containers.remove(context.engine, name)
    for line in passwd.decode(errors="replace").splitlines():
        match line.split(":"):
            case ["para", _, uid, gid, *_] if _IDS_PATTERN.fullmatch(f"{uid}:{gid}"):
                return int(uid), int(gid)
    raise ParaError(
        "engine.refused",
        f"The image {image} has no user para",
        Remedy(title="Choose another image", setting="container.image"),
    )


def _wrong_user_error(message: str) -> ParaError:
    return ParaError(
        "engine.refused",
        message,
        Remedy(title="Choose another engine", setting="engine.host"),
        DISABLE_CONTAINERS,
        Remedy(title="Read how Docker maps user ids", url=_DOCS_URL),
    )
