"""Find and remove leftovers of ended sessions: `para.clean`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Final

from para_server.context import Context
from para_server.core.errors import SHOW_SESSIONS, ParaError
from para_server.core.lifecycle import ENDED_STATES
from para_server.core.names import LABEL_HOME, LABEL_SESSION
from para_server.core.params import CleanParams
from para_server.core.repository_settings import normalize_image
from para_server.core.results import CleanResult
from para_server.engine import containers, images, networks, volumes
from para_server.engine.client import Engine
from para_server.host import disk_reserve
from para_server.registry import command
from para_server.sessions import orphans, provision, reconcile
from para_server.sessions.workspace import checkout_cache

Removal = Callable[[], Awaitable[object]]
_IN_USE: Final = "session images are based on it"


@command("para.clean", "Remove Leftovers")
async def clean(context: Context, params: CleanParams) -> CleanResult:
    """Remove leftovers of ended sessions.

    These are containers, images, volumes, networks, folders and base checkouts. Those of active
    sessions and of other installations are kept.
    """
    if not params.dry_run:
        await reconcile.reconcile_all(context)
    removed: list[str] = []
    kept: list[str] = []
    async with context.store.locked_names():
        kept += [f"session {one}" for one in context.store.sessions_without_record()]
        for what, removal in await _find_leftovers(context, kept):
            if not params.dry_run:
                try:
                    await removal()
                except ParaError as error:
                    kept.append(f"{what}: {error}")
                    continue
            removed.append(what)
    if not params.dry_run:
        gone = {f"container {name}" for name in await orphans.remove_orphans(context)}
        removed += sorted(gone)
        if not context.store.sessions_without_record() and all(
            one.state in ENDED_STATES for one in context.store.read_all()
        ):
            disk_reserve.remove(context.store.home)
        kept = [what for what in kept if what not in gone]
    async with context.store.locked_base_checkouts():
        removed += [
            f"base {one}" for one in await checkout_cache.evict(context, 0, dry_run=params.dry_run)
        ]
        kept += [f"base {one}" for one in checkout_cache.used_checkouts(context)]
    # sorted, because engines list in no fixed order
    return CleanResult(removed=tuple(removed), kept=tuple(sorted(kept)))


async def _find_leftovers(context: Context, kept: list[str]) -> list[tuple[str, Removal]]:
    is_active = context.store.may_be_live
    clear = partial(provision.remove_folder, context)
    gone: set[str] = set()  # names of containers, ids of images
    removal: Removal
    removals: list[tuple[str, Removal]] = [
        (
            f"folder {leftover.name}",
            _locked_removal(context, session_id, partial(clear, leftover, session_id)),
        )
        for leftover in context.store.leftovers()
        if not is_active(session_id := leftover.name.partition(".")[0])
    ]
    owns = context.store.owns
    engine = context.engine
    helpers = [one for one in await containers.list_oneshot_containers(engine) if owns(one.home)]
    ours = [
        *await containers.list_session_containers(engine),
        *await containers.list_renamed(engine),
    ]
    for one in [*ours, *helpers]:
        session = one.session or one.helper
        if not owns(one.home) or session is None or is_active(session):
            kept.append(f"container {one.name}")
        else:
            gone.add(one.name)
            removal = partial(containers.remove, engine, one.name)
            removals.append((f"container {one.name}", _locked_removal(context, session, removal)))
    for image in await images.list_saved(engine):
        session = image.labels.get(LABEL_SESSION, "")
        name = ", ".join(map(normalize_image, image.tags)) or image.id
        if not owns(image.labels.get(LABEL_HOME)) or is_active(session):
            kept.append(f"image {name}")
        else:
            gone.add(image.id)
            removal = partial(images.remove, engine, image.id)
            removals.append((f"image {name}", _locked_removal(context, session, removal)))
    for volume in await volumes.list_volumes(engine):
        if not owns(volume.home) or volume.session is None or is_active(volume.session):
            kept.append(f"volume {volume.name}")
        else:
            removal = partial(volumes.remove, engine, volume.name)
            removals.append(
                (f"volume {volume.name}", _locked_removal(context, volume.session, removal))
            )
    removals += await _find_networks(context, kept)
    return [*removals, *await _find_unused_images(context, gone, kept)]


async def _find_unused_images(
    context: Context, gone: Collection[str], kept: list[str]
) -> list[tuple[str, Removal]]:
    """Return unused images that para built as a base of other images."""
    engine, owns = context.engine, context.store.owns
    # images of replaced logins have no tag any more, but images made from them need them
    old = [
        one
        for one in await images.list_logins(engine, None)
        if not one.tags and owns(one.labels.get(LABEL_HOME))
    ]
    known = await images.query_dependencies(engine)
    gone = set(gone)
    removals: list[tuple[str, Removal]] = []
    # fitted images first, because they may be made from logins
    for image in [*await images.list_fitted(engine, owns), *old]:
        what = f"image {', '.join(map(normalize_image, image.tags)) or image.id}"
        if image.id in images.find_needed(known, gone):
            kept.append(f"{what}: {_IN_USE}")
        else:
            gone.add(image.id)
            removals.append((what, partial(_remove_unused, engine, image.id)))
    return removals


def _locked_removal(context: Context, session: str, removal: Removal) -> Removal:
    """Return a removal that locks the session first, and fails if it was recovered."""

    async def lock_and_remove() -> None:
        async with context.store.locked_session(session, timeout=0):
            if context.store.may_be_live(session):
                raise ParaError(
                    "session.illegal-transition", "its session is active", SHOW_SESSIONS
                )
            await removal()

    return lock_and_remove


async def _find_networks(context: Context, kept: list[str]) -> list[tuple[str, Removal]]:
    engine = context.engine
    removals: list[tuple[str, Removal]] = []
    shared = await networks.find(engine)
    if shared is not None and context.store.owns(shared.home) and not shared.used:
        removals.append((f"network {shared.name}", partial(networks.remove, engine)))
    elif shared is not None:
        kept.append(f"network {shared.name}")
    for one in await networks.list_own(engine):
        if (
            not context.store.owns(one.home)
            or one.session is None
            or context.store.may_be_live(one.session)
        ):
            kept.append(f"network {one.name}")
        else:
            removal = partial(networks.remove_own, engine, one.name)
            removals.append((f"network {one.name}", _locked_removal(context, one.session, removal)))
    return removals


async def _remove_unused(engine: Engine, image: str) -> None:
    if not await images.remove_unused(engine, image):
        raise ParaError("engine.refused", _IN_USE, SHOW_SESSIONS)
