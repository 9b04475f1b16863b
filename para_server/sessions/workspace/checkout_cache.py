"""Create, choose and evict base checkouts, which sessions share.

A base checkout is a folder `bases/NAME` with the files of a commit (`files`) and a manifest
(`base.json`). Its files are lower layers of overlays, so no session can write to them.
They are not synced to the disk, which is slow. After a reboot new sessions get new base checkouts,
because an old one may be damaged by a power failure.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from para_server.concurrency.cancellation import run_in_thread
from para_server.context import Context
from para_server.core import lifecycle
from para_server.core.model import Model
from para_server.core.records import Record
from para_server.core.settings import Settings, parse_size
from para_server.core.untrusted import read_bounded
from para_server.git import base_checkout, filters
from para_server.git.clone import StartPoint
from para_server.git.repository import Repo
from para_server.host.filesystem import remove_tree, reporting_os_errors
from para_server.sessions import file_ownership
from para_server.sessions.workspace import overlay
from para_server.store import CHECKOUT_MANIFEST

_log = logging.getLogger(__name__)
_MAX_LAYERS: Final = 8  # base checkouts below one workspace
_MAX_COMPARED: Final = 4  # base checkouts that are compared with a new commit
_MAX_MANIFEST: Final = 1 << 16  # bytes


class BaseCheckout(Model):
    """A base checkout; `layers` are the names of its layers, its own first."""

    repo: str
    commit: str
    layers: tuple[str, ...]
    files: int
    size: int


async def find_or_create(
    context: Context, repo: Repo, record: Record, settings: Settings, start: StartPoint
) -> Record:
    """Return the record with the base checkouts of its workspace, created if missing.

    A session gets files of its own if they are few, or if the engine cannot mount overlays.
    """
    if record.type == "worktree" or not await _can_share(repo, start):
        return record
    name = _checkout_name(repo, start.anchor)
    async with context.store.locked_base_checkouts():
        checkout = _read(context, name)
        enough = checkout is not None and checkout.files >= settings.git.share_from
        if checkout is not None and enough and overlay.is_supported(context):
            return _record_use(context, record, checkout)
    files = await base_checkout.count_files(repo, start.anchor)
    if files < settings.git.share_from:
        return record
    async with context.store.locked_checkout_build(str(repo.common)):
        can = await overlay.probe_support(context, record)
        # the path of PARA_HOME may be too long for mount options
        if not can or not overlay.can_mount(context, record, [_files_folder(context, name)]):
            return record
        async with context.store.locked_base_checkouts():
            checkout = _read(context, name)  # another dispatch may have created it meanwhile
            if checkout is not None:
                return _record_use(context, record, checkout)
        context.report(f"Writing {files} files that all sessions share", 10)
        return await _create(context, repo, record, settings, start.anchor, files)


async def _can_share(repo: Repo, start: StartPoint) -> bool:
    """Return whether a session can share files: not if it needs them without git filters."""
    return start.filtered or not await filters.list_filters(repo, start.anchor)


async def evict(context: Context, max_bytes: int, *, dry_run: bool = False) -> list[str]:
    """Remove unused base checkouts, least recently used first, until `most` bytes remain.

    Returns their names; the caller has locked the base checkouts. Nothing is removed while a record
    is unreadable, because its session may use any of them.
    """
    if context.store.sessions_without_record():
        return []
    checkouts = {checkout.layers[0]: checkout for checkout in _read_all(context)}
    used = _used_by(context.store.read_all())
    evicted: list[str] = []
    while sum(checkout.size for checkout in checkouts.values()) > max_bytes:
        lower_layers = {layer for checkout in checkouts.values() for layer in checkout.layers[1:]}
        free = [name for name in checkouts if name not in used | lower_layers]
        if not free:
            break
        oldest = min(free, key=lambda name: _used_at(context, name))
        del checkouts[oldest]
        evicted.append(oldest)
        if not dry_run:
            await run_in_thread(lambda: _remove(context, evicted[-1]))
    return evicted


def used_checkouts(context: Context) -> list[str]:
    """Return the names of the base checkouts that active sessions use."""
    return sorted(_used_by(context.store.read_all()))


def layer_folders(context: Context, record: Record) -> list[Path]:
    """Return the folders below a session's own layer, topmost first."""
    return [_files_folder(context, name) for name in record.bases]


async def _create(
    context: Context, repo: Repo, record: Record, settings: Settings, commit: str, files: int
) -> Record:
    scratch = context.store.make_scratch_folder(record.id)
    try:
        record, below = await _find_nearest(context, repo, record, commit, files)
        name = _checkout_name(repo, commit)
        try:
            await _write_files(context, repo, scratch, commit, below)
        except PermissionError:  # this system lets only root mark a file as deleted in a layer
            await run_in_thread(lambda: remove_tree(scratch))
            scratch, below = context.store.make_scratch_folder(record.id), None
            await _write_files(context, repo, scratch, commit, None)
        checkout = BaseCheckout(
            repo=str(repo.common),
            commit=commit,
            layers=(name, *(below[0].layers if below else ())),
            files=files,
            size=await run_in_thread(lambda: base_checkout.measure_size(scratch / "files")),
        )
        async with context.store.locked_base_checkouts():
            with reporting_os_errors(scratch):
                (scratch / CHECKOUT_MANIFEST).write_text(checkout.model_dump_json(by_alias=True))
                remove_tree(context.store.checkouts_folder / name)
                scratch.rename(context.store.checkouts_folder / name)
            updated = _record_use(context, record, checkout)
            for one in await evict(context, parse_size(settings.git.max_bases)):
                _log.info("base checkout %s evicted", one)
            return updated
    finally:
        await run_in_thread(lambda: remove_tree(scratch))


async def _write_files(
    context: Context,
    repo: Repo,
    scratch: Path,
    commit: str,
    below: tuple[BaseCheckout, dict[str, str]] | None,
) -> None:
    owner = (await file_ownership.find_owner(context)).host
    if below is None:
        await base_checkout.create_checkout(repo, commit, scratch, owner)
        return
    checkout, changes = below
    lower = [_files_folder(context, name) for name in checkout.layers]
    await base_checkout.create_layer(repo, commit, scratch, lower, changes, owner)


async def _find_nearest(
    context: Context, repo: Repo, record: Record, commit: str, files: int
) -> tuple[Record, tuple[BaseCheckout, dict[str, str]] | None]:
    """Return the base checkout with the fewest changes, noted in the record to keep it."""
    # a diff of commits does not show the output of filters
    if await filters.list_filters(repo, commit):
        return record, None
    async with context.store.locked_base_checkouts():
        candidates = [
            checkout
            for checkout in _read_all(context)
            if checkout.layers[0] == _checkout_name(repo, checkout.commit)
        ]
        candidates = [
            checkout for checkout in candidates if _can_add_layer(context, record, checkout)
        ]
        candidates.sort(key=lambda checkout: _used_at(context, checkout.layers[0]), reverse=True)
        similar: list[tuple[int, BaseCheckout, dict[str, str]]] = []
        for checkout in candidates[:_MAX_COMPARED]:
            changes = await base_checkout.list_changes(repo, checkout.commit, commit)
            if base_checkout.is_worth_a_layer(changes, files):
                similar.append((len(changes), checkout, changes))
        if not similar:
            return record, None
        _, checkout, changes = min(similar, key=lambda one: one[0])
        return _record_use(context, record, checkout), (checkout, changes)


def _can_add_layer(context: Context, record: Record, checkout: BaseCheckout) -> bool:
    one_more = [_files_folder(context, name) for name in (*checkout.layers, checkout.layers[0])]
    return len(one_more) <= _MAX_LAYERS and overlay.can_mount(context, record, one_more)


def _record_use(context: Context, record: Record, checkout: BaseCheckout) -> Record:
    for name in checkout.layers:
        os.utime(context.store.checkouts_folder / name / CHECKOUT_MANIFEST)
    return context.store.write(record.updated(bases=checkout.layers))


def _used_by(records: Iterable[Record]) -> set[str]:
    active = (r for r in records if r.doing is not None or r.state not in lifecycle.ENDED_STATES)
    return {name for record in active for name in record.bases}


def _read_all(context: Context) -> list[BaseCheckout]:
    names = [
        file.parent.name for file in context.store.checkouts_folder.glob(f"*/{CHECKOUT_MANIFEST}")
    ]
    return [
        checkout for checkout in (_read(context, name) for name in names) if checkout is not None
    ]


def _read(context: Context, name: str) -> BaseCheckout | None:
    """Return a base checkout, or None if it or one of its layers is missing."""
    try:
        manifest = context.store.checkouts_folder / name / CHECKOUT_MANIFEST
        text = read_bounded(manifest, _MAX_MANIFEST) or b""
        checkout = BaseCheckout.model_validate_json(text, by_alias=True)
    except ValidationError:
        return None
    return (
        checkout
        if all(_files_folder(context, layer).is_dir() for layer in checkout.layers)
        else None
    )


def _remove(context: Context, name: str) -> None:
    folder = context.store.checkouts_folder / name
    with reporting_os_errors(folder):
        # first, so that a partly removed base checkout is not used
        (folder / CHECKOUT_MANIFEST).unlink(missing_ok=True)
    remove_tree(folder)


def _used_at(context: Context, name: str) -> float:
    return (context.store.checkouts_folder / name / CHECKOUT_MANIFEST).stat().st_mtime


def _files_folder(context: Context, name: str) -> Path:
    return context.store.checkouts_folder / name / "files"


def _checkout_name(repo: Repo, commit: str) -> str:
    """Return the name of the base checkout of a commit, valid until the next reboot."""
    where = hashlib.sha256(f"{repo.common}\0{_boot_id()}".encode()).hexdigest()[:16]
    return f"{where}-{commit}"


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return ""
