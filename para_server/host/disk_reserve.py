"""The only place that keeps some room of the disk, with which sessions can end when it is full."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_MAX_BYTES: Final = 16 << 20  # bytes
_SHARE: Final = 16  # of a small disk no more than one part in so many
_MIN_FREE: Final = 8  # times as much must be free where it is kept


def create(home: Path) -> None:
    """Keep room where there is plenty; where there is not, the next process tries again."""
    with suppress(OSError):
        disk = os.statvfs(home)
        size = min(_MAX_BYTES, disk.f_blocks * disk.f_frsize // _SHARE)
        if _file(home).exists() or disk.f_bavail * disk.f_frsize < size * _MIN_FREE:
            return
        draft = home / f"reserve.{secrets.token_hex(4)}.tmp"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
            draft.rename(_file(home))
        finally:
            os.close(descriptor)
            draft.unlink(missing_ok=True)


def remove(home: Path) -> None:
    """Give the room back for good: no session is left to end."""
    with suppress(OSError):
        _file(home).unlink()


def release(home: Path) -> bool:
    """Give the room back where little else is left; tells whether it did."""
    with suppress(OSError):
        disk = os.statvfs(home)
        if disk.f_bavail * disk.f_frsize < _file(home).stat().st_size:
            _file(home).unlink()
            return True
    return False


def retry_with_reserve(home: Path, write: Callable[[], None], *, permitted: bool) -> None:
    """Write something, where the disk is full with the room that was kept; raises OSError."""
    try:
        write()
    except OSError as error:
        if error.errno != errno.ENOSPC or not permitted or not release(home):
            raise
        write()


def _file(home: Path) -> Path:
    return home / "reserve"
