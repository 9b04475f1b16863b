"""The only place that checks what this machine has: git, room, settings."""

from __future__ import annotations

import os
from typing import Final

from para_server.context import Context, find_repository
from para_server.core.errors import Problem, Remedy
from para_server.core.results import Check
from para_server.git import version
from para_server.host.filesystem import unreadable_error
from para_server.sessions import lost_records

_SCARCE: Final = 1 << 30  # bytes: a session's clone, and what is on its way out, may need as much
_NONE: Final = 16 << 20


async def git_version(context: Context) -> Check:
    """Check that git is there, and new enough."""
    context.store.make_folders()
    told = await version.require_supported_version(context.store.home)
    return Check(name="git", ok=True, detail=told)


async def home(context: Context) -> Check:
    """Check that para's folder can be read, and has room."""
    context.store.make_folders()
    place = context.store.home
    count = len(context.store.read_all())
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    if free < _NONE:
        raise unreadable_error(place, f"its disk is full ({free >> 20} MiB are free)")
    detail = f"{count} sessions in {place}, {gib(free)} free"
    return scarce("home", detail, free)


async def records(context: Context) -> Check:
    """Check that every session has a record that can be read."""
    return lost_records.check_records(context)


async def settings(context: Context) -> Check:
    """Check that the settings can be read, and those of the repositories that are open."""
    found = context.settings(None)
    for folder in (context.cwd,) if context.cwd else context.folders:
        if (repo := find_repository(folder)) is not None:
            context.settings(repo)
    detail = "containers" if found.container.enabled else "worktrees, without containers"
    return Check(name="settings", ok=True, detail=detail)


def scarce(name: str, detail: str, free: int) -> Check:
    """Warn where a disk has little room."""
    if free >= _SCARCE:
        return Check(name=name, ok=True, detail=detail)
    clean = Remedy(title="Remove what is left over", command="para.clean", params={})
    message = f"{detail}: little room is left"
    return warning(name, "store.unreadable", message, clean)


def warning(name: str, slug: str, message: str, *remedies: Remedy) -> Check:
    """Make a check that failed, and leaves para usable."""
    problem = Problem(slug=slug, message=message, remedies=remedies)
    return Check(name=name, ok=False, detail=message, problem=problem, level="warning")


def gib(size: int) -> str:
    """Write a size for people."""
    return f"{size / (1 << 30):.1f} GiB"
