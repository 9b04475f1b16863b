"""Walk and change folder trees safely while others modify them.

Every name is resolved relative to the open folder that it was read from; links are not followed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REPLACED: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


class OpenFolder(NamedTuple):
    """An open folder of a walk and the names in it."""

    descriptor: int
    names: tuple[str, ...]


class _Level(NamedTuple):
    """An ancestor of the current folder: its identity, and the folders in it to visit."""

    identity: tuple[int, int]
    waiting: list[str]


def walk(folder: Path) -> Iterator[OpenFolder]:
    """Yield a folder and all folders below it, parents first; raises OSError.

    It needs one descriptor only, so neither the depth nor the length of a path is limited.
    """
    here = os.open(folder, _FOLDER)
    try:
        entered, level = _read_folder(here)
        levels = [level]
        yield entered
        while levels:
            if not levels[-1].waiting:
                levels.pop()
                here = _open_parent(here, levels[-1]) if levels else here
                continue
            try:
                inner = os.open(levels[-1].waiting.pop(), _FOLDER, dir_fd=here)
            except OSError as error:
                if error.errno in _REPLACED:
                    continue
                raise
            os.close(here)
            here = inner
            entered, level = _read_folder(here)
            levels.append(level)
            yield entered
    finally:
        os.close(here)


def change_owner(folder: Path, owner: int) -> None:
    """Change the owner and group of a folder and of everything below it."""
    for entered in walk(folder):
        os.chown(entered.descriptor, owner, owner)
        for name in entered.names:
            os.chown(name, owner, owner, dir_fd=entered.descriptor, follow_symlinks=False)


def _read_folder(descriptor: int) -> tuple[OpenFolder, _Level]:
    names, folders = [], []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            names.append(entry.name)
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
    return OpenFolder(descriptor, tuple(names)), _Level(_identity(descriptor), folders)


def _open_parent(descriptor: int, level: _Level) -> int:
    """Return the open parent and close the folder; raises ESTALE if the folder was moved."""
    above = os.open("..", _FOLDER, dir_fd=descriptor)
    if _identity(above) != level.identity:
        os.close(above)
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    os.close(descriptor)
    return above


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
