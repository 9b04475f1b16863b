"""Check git, disk space, records and settings for `para.doctor`."""

from __future__ import annotations

import os
from typing import Final

from para_server.context import Context, find_repository
from para_server.core.errors import Problem, Remedy
from para_server.core.results import Check
from para_server.git import version
from para_server.host.filesystem import unreadable_error
from para_server.sessions import lost_records
from para_server.settings_sources import find_unknown_settings

_LITTLE_ROOM: Final = 1 << 30  # bytes that a clone and an extraction may need
_NO_ROOM: Final = 16 << 20  # bytes


async def check_git(context: Context) -> Check:
    """Check that git is installed and new enough."""
    context.store.make_folders()
    installed = await version.require_supported_version(context.store.home)
    return Check(name="git", ok=True, detail=installed)


async def check_home(context: Context) -> Check:
    """Check that para's folder can be read and has free space."""
    context.store.make_folders()
    place = context.store.home
    count = len(context.store.read_all())
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    if free < _NO_ROOM:
        raise unreadable_error(place, f"its disk is full ({free >> 20} MiB are free)")
    detail = f"{count} sessions in {place}, {format_gib(free)} free"
    return check_room("home", detail, free)


async def check_records(context: Context) -> Check:
    """Check that every session has a readable record."""
    return lost_records.check_records(context)


async def check_settings(context: Context) -> Check:
    """Check that the user's settings and those of open repositories are valid."""
    found = context.settings(None)
    for folder in (context.cwd,) if context.cwd else context.folders:
        if (repo := find_repository(folder)) is not None:
            context.settings(repo)
    unknown = find_unknown_settings(context.config_home)
    if unknown:
        fix = Remedy(title=f"Remove or correct it in {context.config_home / 'config.toml'}")
        return make_warning("settings", "settings.invalid", "; ".join(unknown), fix)
    detail = "containers" if found.container.enabled else "worktrees, without containers"
    return Check(name="settings", ok=True, detail=detail)


def check_room(name: str, detail: str, free: int) -> Check:
    """Return a check with a warning if little disk space is free."""
    if free >= _LITTLE_ROOM:
        return Check(name=name, ok=True, detail=detail)
    clean = Remedy(title="Remove leftovers", command="para.clean", params={})
    message = f"{detail}: little disk space is left"
    return make_warning(name, "store.unreadable", message, clean)


def make_warning(name: str, slug: str, message: str, *remedies: Remedy) -> Check:
    """Return a failed check of level `warning`."""
    problem = Problem(slug=slug, message=message, remedies=remedies)
    return Check(name=name, ok=False, detail=message, problem=problem, level="warning")


def format_gib(size: int) -> str:
    """Return a size in GiB as text."""
    return f"{size / (1 << 30):.1f} GiB"
