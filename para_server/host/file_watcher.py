"""The only place that is told by the system when something in a folder changes."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import os
import stat
import struct
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

_log: Final = logging.getLogger(__name__)
_GATHER_SECONDS: Final = 0.02  # seconds in which changes that come together become one
_POLL_SECONDS: Final = 1.0  # seconds between two looks where the system has to be asked
# IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE; IN_ONLYDIR, IN_DONT_FOLLOW
_MASK: Final = 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x1000000 | 0x2000000
_REMOVED: Final = 0x8000  # IN_IGNORED: what was watched is gone
_OVERFLOW: Final = -1  # the number that is told where more has happened than could be
_GONE_ERRORS: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_EVENT: Final = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows


async def watch(first: Path, others: Callable[[], Iterable[str]]) -> AsyncIterator[None]:
    """Give notice once it watches, and then when something in one of the folders changed.

    Which `others` there are is asked again when something in the first folder changed.
    What is beneath a folder is of no interest. One of the others that cannot be watched, as an
    agent can close its own, is looked at alone.
    """
    if sys.platform == "linux":
        try:
            async for _ in _watch_inotify(first, others):
                yield
        except OSError as error:  # there are only so many watches for each user
            _log.warning("folders are looked at again and again, not watched: %s", error)
    async for _ in _poll(first, others):
        yield


async def _watch_inotify(first: Path, others: Callable[[], Iterable[str]]) -> AsyncIterator[None]:
    """Watch by inotify: it costs nothing while nothing happens."""
    watches = _Watches()
    loop = asyncio.get_running_loop()
    stirred = asyncio.Event()
    heard: set[int] = set()

    def hear() -> None:
        heard.update(watches.heard())
        stirred.set()

    loop.add_reader(watches.descriptor, hear)
    try:
        number = watches.add(str(first))
        heard.add(number)
        while True:
            if number in heard or _OVERFLOW in heard:
                watches.follow(others())
            heard.clear()
            yield
            await _wait_for_event(stirred, watches)
            await asyncio.sleep(_GATHER_SECONDS)
            stirred.clear()
    finally:
        loop.remove_reader(watches.descriptor)
        os.close(watches.descriptor)


async def _wait_for_event(stirred: asyncio.Event, watches: _Watches) -> None:
    """Wait for a notice, and look meanwhile at the folders that cannot be watched."""
    before = _modification_times(watches.closed)
    while True:
        try:
            async with asyncio.timeout(_POLL_SECONDS if watches.closed else None):
                await stirred.wait()
        except TimeoutError:
            opened = watches.reopened()
            if opened or _modification_times(watches.closed) != before:
                return
        else:
            return


class _Watches:
    """The folders that inotify watches, each by the number that it has given it."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._numbers: dict[str, int] = {}
        self.closed: set[str] = set()  # cannot be watched
        self.descriptor = int(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")

    def add(self, folder: str) -> int:
        """Watch a folder unless it is watched; one that is gone need not be."""
        if folder in self._numbers:
            return self._numbers[folder]
        number = int(self._libc.inotify_add_watch(self.descriptor, os.fsencode(folder), _MASK))
        if number >= 0:
            self._numbers[folder] = number
        elif ctypes.get_errno() not in _GONE_ERRORS:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), folder)
        return number

    def follow(self, folders: Iterable[str]) -> None:
        """Watch folders, as far as they can be; those that went away are forgotten."""
        there = set(folders)
        self.closed &= there
        for folder in there:
            try:
                self.add(folder)
                self.closed.discard(folder)
            except OSError as error:
                if folder not in self.closed:
                    _log.info("a folder is looked at, not watched: %s", error)
                self.closed.add(folder)

    def reopened(self) -> bool:
        """Tell whether one that could not be watched is from now on."""
        before = set(self.closed)
        self.follow(before)
        return self.closed != before

    def heard(self) -> set[int]:
        """Read in which folders something changed; another one may come where one is gone."""
        events = os.read(self.descriptor, 1 << 16)
        found, gone, at = set(), set(), 0
        while at < len(events):
            number, what, _, length = _EVENT.unpack_from(events, at)
            found.add(number)
            if what & _REMOVED:
                gone.add(number)
            at += _EVENT.size + length
        if gone or _OVERFLOW in found:  # what was lost may have told that one is gone
            kept = {} if _OVERFLOW in found else self._numbers
            self._numbers = {f: number for f, number in kept.items() if number not in gone}
        return found


async def _poll(first: Path, others: Callable[[], Iterable[str]]) -> AsyncIterator[None]:
    """Look again and again whether a folder has another time than before."""
    while True:
        yield
        before = _modification_times([str(first), *others()])
        while _modification_times([str(first), *others()]) == before:  # noqa: ASYNC110 # nobody else can tell
            await asyncio.sleep(_POLL_SECONDS)


def _modification_times(folders: Iterable[str]) -> list[tuple[str, int]]:
    found = []
    for folder in folders:
        with suppress(OSError):
            told = os.lstat(folder)
            if stat.S_ISDIR(told.st_mode):
                found.append((folder, told.st_mtime_ns))
    return found
