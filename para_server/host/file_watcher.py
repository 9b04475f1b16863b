"""Watch folders for changes: with inotify on Linux, otherwise by polling."""

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
_GATHER_SECONDS: Final = 0.02  # changes within this time are reported once
_POLL_SECONDS: Final = 1.0  # interval of polling
# IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE; IN_ONLYDIR, IN_DONT_FOLLOW
_MASK: Final = 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x1000000 | 0x2000000
_REMOVED: Final = 0x8000  # IN_IGNORED: a watched folder was removed
_OVERFLOW: Final = -1  # the watch of IN_Q_OVERFLOW
_GONE_ERRORS: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_EVENT: Final = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows


async def watch(first: Path, others: Callable[[], Iterable[str]]) -> AsyncIterator[None]:
    """Yield once the watch is active, and then after each change in one of the folders.

    `others` is called again after a change in the first folder. Subfolders are not watched.
    One of the others that cannot be watched is polled: an agent can make its folder unreadable.
    """
    if sys.platform == "linux":
        try:
            async for _ in _watch_inotify(first, others):
                yield
        except OSError as error:  # the number of watches of a user is limited
            _log.warning("inotify is not available, polling instead: %s", error)
    async for _ in _poll(first, others):
        yield


async def _watch_inotify(first: Path, others: Callable[[], Iterable[str]]) -> AsyncIterator[None]:
    """Watch with inotify, which costs nothing while nothing changes."""
    watches = _Watches()
    loop = asyncio.get_running_loop()
    notified = asyncio.Event()
    changed: set[int] = set()

    def read() -> None:
        changed.update(watches.read_events())
        notified.set()

    loop.add_reader(watches.descriptor, read)
    try:
        number = watches.add(str(first))
        changed.add(number)
        while True:
            if number in changed or _OVERFLOW in changed:
                watches.follow(others())
            changed.clear()
            yield
            await _wait_for_event(notified, watches)
            await asyncio.sleep(_GATHER_SECONDS)
            notified.clear()
    finally:
        loop.remove_reader(watches.descriptor)
        os.close(watches.descriptor)


async def _wait_for_event(notified: asyncio.Event, watches: _Watches) -> None:
    """Wait for an event; poll meanwhile the folders that cannot be watched."""
    before = _modification_times(watches.closed)
    while True:
        try:
            async with asyncio.timeout(_POLL_SECONDS if watches.closed else None):
                await notified.wait()
        except TimeoutError:
            if watches.retry_unwatched() or _modification_times(watches.closed) != before:
                return
        else:
            return


class _Watches:
    """The folders that inotify watches, by their watch descriptors."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._numbers: dict[str, int] = {}
        self.closed: set[str] = set()  # cannot be watched
        self.descriptor = int(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")

    def add(self, folder: str) -> int:
        """Watch a folder and return its watch descriptor; negative if the folder is gone."""
        if folder in self._numbers:
            return self._numbers[folder]
        number = int(self._libc.inotify_add_watch(self.descriptor, os.fsencode(folder), _MASK))
        if number >= 0:
            self._numbers[folder] = number
        elif ctypes.get_errno() not in _GONE_ERRORS:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), folder)
        return number

    def follow(self, folders: Iterable[str]) -> None:
        """Watch folders; those that cannot be watched are added to `closed`."""
        there = set(folders)
        self.closed &= there
        for folder in there:
            try:
                self.add(folder)
                self.closed.discard(folder)
            except OSError as error:
                if folder not in self.closed:
                    _log.info("Polling a folder that cannot be watched: %s", error)
                self.closed.add(folder)

    def retry_unwatched(self) -> bool:
        """Try to watch the closed folders; return whether one is watched now."""
        before = set(self.closed)
        self.follow(before)
        return self.closed != before

    def read_events(self) -> set[int]:
        """Return the watch descriptors of changed folders; removed folders are forgotten."""
        events = os.read(self.descriptor, 1 << 16)
        changed, removed, offset = set(), set(), 0
        while offset < len(events):
            number, mask, _, length = _EVENT.unpack_from(events, offset)
            changed.add(number)
            if mask & _REMOVED:
                removed.add(number)
            offset += _EVENT.size + length
        if removed or _OVERFLOW in changed:  # a lost event may have been a removal
            kept = {} if _OVERFLOW in changed else self._numbers
            self._numbers = {f: number for f, number in kept.items() if number not in removed}
        return changed


async def _poll(first: Path, others: Callable[[], Iterable[str]]) -> AsyncIterator[None]:
    """Poll the modification times of the folders."""
    while True:
        yield
        before = _modification_times([str(first), *others()])
        while _modification_times([str(first), *others()]) == before:  # noqa: ASYNC110 # nothing notifies of a change
            await asyncio.sleep(_POLL_SECONDS)


def _modification_times(folders: Iterable[str]) -> list[tuple[str, int]]:
    times = []
    for folder in folders:
        with suppress(OSError):
            status = os.lstat(folder)
            if stat.S_ISDIR(status.st_mode):
                times.append((folder, status.st_mtime_ns))
    return times
