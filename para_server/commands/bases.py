"""The only place that decides which checkouts sessions share, and which of them are kept.

A base is a folder `bases/NAME` with a checkout (`files`) and what is known of it (`base.json`).
Its files are the lower layers of sessions' workspaces, so no session can write to them.
They are not forced to the disk, which takes long: after the machine has started anew, new sessions
get new bases, since an old one may have lost something with the power.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from para_server import lifecycle
from para_server.commands import layering, ownership
from para_server.context import Context
from para_server.disk import remove_tree, written
from para_server.errors import Frozen
from para_server.git import checkout, filters
from para_server.git.clone import Start
from para_server.git.repository import Repo
from para_server.records import Record
from para_server.settings import Settings, bytes_of
from para_server.steps import off_loop
from para_server.store import MANIFEST
from para_server.untrusted import read_bounded

_log = logging.getLogger(__name__)
_DEEPEST: Final = 8  # layers that a workspace stands on
_LOOKED_AT: Final = 4  # bases of the same repository that are compared with a new commit
_MAX_MANIFEST: Final = 1 << 16  # bytes


class Base(Frozen):
    """A checkout; `layers` are the bases that it consists of, itself first."""

    repo: str
    commit: str
    layers: tuple[str, ...]
    files: int
    size: int


async def found(
    context: Context, repo: Repo, record: Record, settings: Settings, start: Start
) -> Record:
    """Note which bases a session stands on, made where they are missing.

    There are none where it gets files of its own: where they are few, or the engine cannot layer.
    """
    if record.type == "worktree" or not await _may_share(repo, start):
        return record
    name = _name(repo, start.anchor)
    async with context.store.holding_bases():
        base = _read(context, name)
        enough = base is not None and base.files >= settings.git.share_from
        if base is not None and enough and layering.known(context):
            return _noted(context, record, base)
    files = await checkout.count(repo, start.anchor)
    if files < settings.git.share_from:
        return record
    async with context.store.holding_build(str(repo.common)):
        can = await layering.possible(context, record)
        # a path of PARA_HOME may be too long for an engine that can
        if not can or not layering.fits(context, record, [_files(context, name)]):
            return record
        async with context.store.holding_bases():
            base = _read(context, name)  # another dispatch may have made it meanwhile
            if base is not None:
                return _noted(context, record, base)
        context.report(f"Writing {files} files, for all sessions to share", 10)
        return await _made(context, repo, record, settings, start.anchor, files)


async def _may_share(repo: Repo, start: Start) -> bool:
    """Return whether the files of a base could be a session's: those have what filters write."""
    return start.filtered or not await filters.named(repo, start.anchor)


async def evict(context: Context, most: int, *, dry_run: bool = False) -> list[str]:
    """Remove bases that no session stands on, the longest unused first, down to `most` bytes.

    Gives their names; whoever calls holds the bases. None is removed while it cannot be told what
    some session stands on, since its record cannot be read.
    """
    if context.store.without_record():
        return []
    known = {base.layers[0]: base for base in _all(context)}
    used = _in_use(context.store.all())
    gone: list[str] = []
    while sum(base.size for base in known.values()) > most:
        beneath = {layer for base in known.values() for layer in base.layers[1:]}
        free = [name for name in known if name not in used | beneath]
        if not free:
            break
        oldest = min(free, key=lambda name: _used_at(context, name))
        del known[oldest]
        gone.append(oldest)
        if not dry_run:
            await off_loop(lambda: _remove(context, gone[-1]))
    return gone


def kept(context: Context) -> list[str]:
    """Name the bases that live sessions stand on."""
    return sorted(_in_use(context.store.all()))


def layers(context: Context, record: Record) -> list[Path]:
    """Name the folders that a session's own files lie over, topmost first."""
    return [_files(context, name) for name in record.bases]


async def _made(
    context: Context, repo: Repo, record: Record, settings: Settings, commit: str, files: int
) -> Record:
    scratch = context.store.scratch(record.id)
    try:
        record, below = await _nearest(context, repo, record, commit, files)
        name = _name(repo, commit)
        try:
            await _written(context, repo, scratch, commit, below)
        except PermissionError:  # this system lets only root say in a layer that a file is gone
            await off_loop(lambda: remove_tree(scratch))
            scratch, below = context.store.scratch(record.id), None
            await _written(context, repo, scratch, commit, None)
        base = Base(
            repo=str(repo.common),
            commit=commit,
            layers=(name, *(below[0].layers if below else ())),
            files=files,
            size=await off_loop(lambda: checkout.size(scratch / "files")),
        )
        async with context.store.holding_bases():
            with written(scratch):
                (scratch / MANIFEST).write_text(base.model_dump_json(by_alias=True))
                remove_tree(context.store.bases_folder / name)
                scratch.rename(context.store.bases_folder / name)
            noted = _noted(context, record, base)
            for one in await evict(context, bytes_of(settings.git.max_bases)):
                _log.info("the checkout %s made room", one)
            return noted
    finally:
        await off_loop(lambda: remove_tree(scratch))


async def _written(
    context: Context,
    repo: Repo,
    scratch: Path,
    commit: str,
    below: tuple[Base, dict[str, str]] | None,
) -> None:
    owner = (await ownership.owner(context)).host
    if below is None:
        await checkout.make(repo, commit, scratch, owner)
        return
    base, changes = below
    lower = [_files(context, name) for name in base.layers]
    await checkout.make_layer(repo, commit, scratch, lower, changes, owner)


async def _nearest(
    context: Context, repo: Repo, record: Record, commit: str, files: int
) -> tuple[Record, tuple[Base, dict[str, str]] | None]:
    """Find the base that differs least, and note it with the session so that it stays."""
    if await filters.named(repo, commit):  # what a filter writes, a layer beneath does not tell
        return record, None
    async with context.store.holding_bases():
        same = [base for base in _all(context) if base.layers[0] == _name(repo, base.commit)]
        same = [base for base in same if _can_bear(context, record, base)]
        same.sort(key=lambda base: _used_at(context, base.layers[0]), reverse=True)
        near: list[tuple[int, Base, dict[str, str]]] = []
        for base in same[:_LOOKED_AT]:
            changes = await checkout.changed(repo, base.commit, commit)
            if checkout.worth_a_layer(changes, files):
                near.append((len(changes), base, changes))
        if not near:
            return record, None
        _, base, changes = min(near, key=lambda one: one[0])
        return _noted(context, record, base), (base, changes)


def _can_bear(context: Context, record: Record, base: Base) -> bool:
    one_more = [_files(context, name) for name in (*base.layers, base.layers[0])]
    return len(one_more) <= _DEEPEST and layering.fits(context, record, one_more)


def _noted(context: Context, record: Record, base: Base) -> Record:
    for name in base.layers:
        os.utime(context.store.bases_folder / name / MANIFEST)
    return context.store.write(record.but(bases=base.layers))


def _in_use(records: Iterable[Record]) -> set[str]:
    live = (r for r in records if r.doing is not None or r.state not in lifecycle.OVER)
    return {name for record in live for name in record.bases}


def _all(context: Context) -> list[Base]:
    names = [file.parent.name for file in context.store.bases_folder.glob(f"*/{MANIFEST}")]
    return [base for base in (_read(context, name) for name in names) if base is not None]


def _read(context: Context, name: str) -> Base | None:
    """Read what is known of a base; one with a part missing is none."""
    try:
        text = read_bounded(context.store.bases_folder / name / MANIFEST, _MAX_MANIFEST) or b""
        base = Base.model_validate_json(text, by_alias=True)
    except ValidationError:
        return None
    return base if all(_files(context, layer).is_dir() for layer in base.layers) else None


def _remove(context: Context, name: str) -> None:
    folder = context.store.bases_folder / name
    with written(folder):
        (folder / MANIFEST).unlink(missing_ok=True)  # what is half removed is no base
    remove_tree(folder)


def _used_at(context: Context, name: str) -> float:
    return (context.store.bases_folder / name / MANIFEST).stat().st_mtime


def _files(context: Context, name: str) -> Path:
    return context.store.bases_folder / name / "files"


def _name(repo: Repo, commit: str) -> str:
    """Name the base of a commit; it has this name until the machine is started anew."""
    where = hashlib.sha256(f"{repo.common}\0{_boot()}".encode()).hexdigest()[:16]
    return f"{where}-{commit}"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return ""
