"""The only place that makes and removes folders, and tells what the disk refuses."""

from __future__ import annotations

import os
import secrets
import shutil
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import ioctl
from pathlib import Path
from typing import Final

from para_server.errors import SETUP_CHECK, ParaError

# of linux/fs.h: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_TOPDIR_FL
_GET_FLAGS: Final = 0x80086601
_SET_FLAGS: Final = 0x40086602
_TOPDIR: Final = 0x20000
COARSE: Final = 0.02  # seconds by which the times of files may lag behind
_FLAGS: Final = struct.Struct("I")


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into store.unreadable."""
    try:
        yield
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from None


def make_folder(folder: Path) -> None:
    """Make a folder for this user alone, unless it is there; what is in it comes and goes.

    ext4 then lays the folders in it far apart. Where one took the place of another that was just
    removed, ext4 would look at each inode that was freed, which made 200 files take 180 ms, not 17.
    """
    if folder.is_dir():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sys.platform == "linux":
        with suppress(OSError):  # a file system that knows no such flag
            _spread(folder)


def _spread(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        told = ioctl(descriptor, _GET_FLAGS, _FLAGS.pack(0))
        ioctl(descriptor, _SET_FLAGS, _FLAGS.pack(_FLAGS.unpack(told)[0] | _TOPDIR))
    finally:
        os.close(descriptor)


def remove_tree(folder: Path) -> None:
    """Remove a folder, following nothing out of it; what is not there is removed already."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(folder, onerror=_ignore_missing)
    except RecursionError:
        _raise_contents(folder)
        remove_tree(folder)


def _raise_contents(folder: Path) -> None:
    """Move each folder of a deep tree right below its top: no name stays too long to be given."""
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        waiting = [entry.name for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False)]
        while waiting:
            inner = os.open(waiting.pop(), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
            try:
                for entry in list(os.scandir(inner)):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(secrets.token_hex(8))
                        os.rename(entry.name, waiting[-1], src_dir_fd=inner, dst_dir_fd=top)
            finally:
                os.close(inner)
    except OSError as error:
        raise unreadable(folder, error.strerror or str(error)) from None
    finally:
        os.close(top)


def _ignore_missing(
    _function: object, path: str, info: tuple[type[BaseException], BaseException, object]
) -> None:
    if isinstance(info[1], FileNotFoundError):
        return
    try:
        os.rmdir(path)  # noqa: PTH106 # one that may not be looked into can be empty nevertheless
    except OSError:
        raise unreadable(Path(path), str(info[1])) from None


def unreadable(path: Path, why: str) -> ParaError:
    """Make the error that names what cannot be read or written."""
    return ParaError("store.unreadable", f"{path} cannot be read or written: {why}", SETUP_CHECK)
