"""The only place that is told by the system when something in a folder changes."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import os
import struct
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final

_log: Final = logging.getLogger(__name__)
_GATHER: Final = 0.02  # seconds in which changes that come together become one
_LOOK: Final = 1.0  # seconds between two looks where the system has to be asked
# IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE; IN_ONLYDIR, IN_DONT_FOLLOW
_MASK: Final = 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x1000000 | 0x2000000
_GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_EVENT: Final = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows


async def changes(first: Path, others: Callable[[], Sequence[Path]]) -> AsyncIterator[None]:
    """Give notice once it watches, and then when something in one of the folders changed.

    Which `others` there are is asked again when something in the first folder changed.
    What is beneath a folder is of no interest.
    """
    if sys.platform == "linux":
        try:
            async for _ in _told(first, others):
                yield
        except OSError as error:  # there are only so many watches for each user
            _log.warning("folders are looked at again and again, not watched: %s", error)
    async for _ in _asked(first, others):
        yield


async def _told(first: Path, others: Callable[[], Sequence[Path]]) -> AsyncIterator[None]:
    """Watch by inotify: it costs nothing while nothing happens."""
    libc = ctypes.CDLL(None, use_errno=True)
    notes = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if notes < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    loop = asyncio.get_running_loop()
    stirred = asyncio.Event()
    heard: set[int] = set()

    def hear() -> None:
        heard.update(_watches(os.read(notes, 1 << 16)))
        stirred.set()

    def watch(folder: Path) -> int:
        # one that is watched already keeps its number; one that is gone needs none
        number = int(libc.inotify_add_watch(notes, os.fsencode(folder), _MASK))
        if number < 0 and ctypes.get_errno() not in _GONE:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
        return number

    loop.add_reader(notes, hear)
    try:
        number = watch(first)
        heard.add(number)
        while True:
            if number in heard or -1 in heard:  # -1: more has happened than could be told
                for folder in others():
                    watch(folder)
            heard.clear()
            yield
            await stirred.wait()
            await asyncio.sleep(_GATHER)
            stirred.clear()
    finally:
        loop.remove_reader(notes)
        os.close(notes)


def _watches(told: bytes) -> set[int]:
    found: set[int] = set()
    at = 0
    while at < len(told):
        number, _, _, length = _EVENT.unpack_from(told, at)
        found.add(number)
        at += _EVENT.size + length
    return found


async def _asked(first: Path, others: Callable[[], Sequence[Path]]) -> AsyncIterator[None]:
    """Look again and again whether a folder has another time than before."""
    while True:
        yield
        before = _times([first, *others()])
        while _times([first, *others()]) == before:  # noqa: ASYNC110 # nobody else can tell
            await asyncio.sleep(_LOOK)


def _times(folders: Sequence[Path]) -> list[tuple[str, int]]:
    return [(str(folder), folder.stat().st_mtime_ns) for folder in folders if folder.is_dir()]
