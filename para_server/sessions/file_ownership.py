"""The only place that decides whose the files of a session are, on the host and inside."""

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
from para_server.git.clone import AGENT_UID, hand_over
from para_server.host.filesystem import reporting_os_errors

_PASSWD: Final = container_spec.PASSWD
_MAX_IDS: Final = 64  # bytes that two ids have at most
_ID_PATTERN: Final = re.compile("[0-9]{1,10}")
_HELPER_LOCK: Final = "ids"  # what holds a helper that is no session's
_DOCS_URL: Final = "https://docs.docker.com/engine/security/userns-remap/"


class Owner(Model):
    """Whom files are given to on the host, None where they stay ours, and their ids inside."""

    host: int | None
    inside: tuple[int, int]


async def find_owner(context: Context) -> Owner:
    """Return whose the files of container sessions are.

    Raises engine.refused where the engine's containers cannot have files of this user.
    """
    return decide_owner(await inspect_engine(context.engine), os.geteuid(), os.getegid())


def decide_owner(known: EngineInfo, uid: int, gid: int) -> Owner:
    """Decide for an engine and the ids of this process whose the files of sessions are."""
    if known.rootless:
        # root in its containers is the user whose engine it is, and all others are nobody's
        if uid != known.root:
            raise _wrong_user_error(
                f"The engine is the rootless one of uid {known.root}, and para runs as uid {uid}: "
                "run para as that user"
            )
        return Owner(host=None, inside=(0, 0))
    if known.remapped:
        if uid != 0:
            raise _wrong_user_error(
                "The engine remaps user ids (userns-remap), so that its containers cannot have "
                f"files of uid {uid}; only root can hand files over to them"
            )
        return Owner(host=known.root + AGENT_UID, inside=(AGENT_UID, AGENT_UID))
    if uid == 0:
        return Owner(host=AGENT_UID, inside=(AGENT_UID, AGENT_UID))
    return Owner(host=None, inside=(uid, gid))


async def hand_to_helper(context: Context, folder: Path) -> None:
    """Let a helper container write into a folder of para's own."""
    known = await inspect_engine(context.engine)
    if known.rootless or known.remapped:
        await hand_over(folder, (await find_owner(context)).host)


async def fit_image(context: Context, image: str, session_id: str) -> str:
    """Return an image like the given one, in which the user `para` has the ids of the files.

    It is the same one where they fit, as for uid 1000 and root; otherwise it is made once.
    Raises engine.refused where the image has no such user.
    """
    inside = (await find_owner(context)).inside
    found = await images.find(context.engine, image)
    if found is None or await _cached_image_ids(context, found, image, session_id) == inside:
        return image  # what is missing is refused where the container is created
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
        # its steps mean nothing to a person; where one fails, the error has what it printed
        await image_build.build_image(context.engine, recipe, None, lambda *_: None, no_cache=False)
    return name


async def read_image_ids(context: Context, image: str) -> tuple[int, int]:
    """Return the ids that the user `para` has in an image, which is there."""
    found = await images.find(context.engine, image)
    if found is None:
        raise image_missing_error(image)
    async with context.store.locked_session(
        _HELPER_LOCK
    ):  # a helper whose holder is gone is removed
        return await _cached_image_ids(context, found, image, _HELPER_LOCK)


async def _cached_image_ids(
    context: Context, image: Image, name: str, session_id: str
) -> tuple[int, int]:
    """Look which ids the user `para` has in an image; what was seen once stays true."""
    known = context.store.checkouts_folder / f"image-{image.id.rpartition(':')[2][:32]}"
    with suppress(ValueError):
        first, second = (read_bounded(known, _MAX_IDS) or b"").split()
        return int(first), int(second)
    uid, gid = await _read_passwd(context, name, session_id)
    with reporting_os_errors(known):
        known.write_text(f"{uid} {gid}", encoding="ascii")
    return uid, gid


async def _read_passwd(context: Context, image: str, session_id: str) -> tuple[int, int]:
    name = f"{HELPER_PREFIX}{session_id}.ids"
    wanted = container_spec.helper_container(
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
        await containers.remove(context.engine, name)  # of a process that was killed
        await containers.create(context.engine, wanted)
        passwd = await file_copy.read_file(context.engine, name, _PASSWD) or b""
        await containers.remove(context.engine, name)
    for line in passwd.decode(errors="replace").splitlines():
        match line.split(":"):
            case ["para", _, uid, gid, *_] if _ID_PATTERN.fullmatch(uid) and _ID_PATTERN.fullmatch(
                gid
            ):
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
        Remedy(title="Name another engine", setting="engine.host"),
        DISABLE_CONTAINERS,
        Remedy(title="Read how Docker maps user ids", url=_DOCS_URL),
    )
