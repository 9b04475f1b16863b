"""Detect folders of a PARA_HOME, whatever path leads to them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

# subfolders of every PARA_HOME, of all versions
_PARTS: Final = ("sessions", "work", "agents", "scratch", "logins", "locks")
_WORK: Final = "work"
_MOUNTS: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
# O_PATH opens a folder without read permission
_PATH_ONLY: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY


def is_in_para_home(folder: Path) -> bool:
    """Return whether a folder is in the PARA_HOME of any installation, or is one.

    A PARA_HOME is detected by its subfolders, as it may be another installation's. Parents are
    those of the file system, as the path may contain links. Mounts of overlays count, too.
    """
    with _open_folder(folder) as descriptor:
        if descriptor is None:
            return False
        if any(_is_home(one) for one in _walk_up(descriptor)):
            return True
        upper = _find_upper(descriptor)
    return upper is not None and is_in_para_home(upper)


def find_session_id(folder: Path, home: Path) -> str | None:
    """Return the id of the session whose workspace in this PARA_HOME contains a folder."""
    with _open_folder(folder) as descriptor:
        if descriptor is None:
            return None
        around = {_identity(os.fstat(one)) for one in _walk_up(descriptor)}
        upper = _find_upper(descriptor)
    with suppress(OSError), os.scandir(home / _WORK) as entries:
        inodes = {inode for _, inode in around}
        for entry in entries:
            if entry.inode() in inodes and _identity(entry.stat(follow_symlinks=False)) in around:
                return entry.name
    return find_session_id(upper, home) if upper is not None else None


@contextmanager
def _open_folder(folder: Path) -> Iterator[int | None]:
    try:
        descriptor = os.open(folder, _PATH_ONLY)
    except OSError:  # the command reports it
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _walk_up(descriptor: int) -> Iterator[int]:
    """Yield the descriptor of a folder, then one of each parent in the file system."""
    yield descriptor
    below, here = _identity(os.fstat(descriptor)), descriptor
    try:
        while True:
            above = os.open("..", _PATH_ONLY, dir_fd=here)
            if here != descriptor:
                os.close(here)
            here = above
            identity = _identity(os.fstat(here))
            if identity == below:
                return
            below = identity
            yield here
    except OSError:  # no permission
        return
    finally:
        if here != descriptor:
            os.close(here)


def _is_home(descriptor: int) -> bool:
    try:
        parts = (os.stat(part, dir_fd=descriptor, follow_symlinks=False) for part in _PARTS)
        return all(stat.S_ISDIR(part.st_mode) for part in parts)
    except OSError:
        return False


def _find_upper(descriptor: int) -> Path | None:
    """Return the upper folder of the overlay that a folder is on."""
    device = os.fstat(descriptor).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:  # not Linux, so there is no overlay
        return None
    for line in lines:
        fields = line.split(" ")
        if fields[2] != number or "-" not in fields:
            continue
        kind, _, options = fields[fields.index("-") + 1 :][:3]
        for option in options.split(",") if kind == "overlay" else ():
            if option.startswith("upperdir="):
                escaped = option.removeprefix("upperdir=")
                return Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), escaped))
    return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
