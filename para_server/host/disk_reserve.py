"""Reserve disk space, so that sessions can end when the disk is full."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_MAX_BYTES: Final = 16 << 20  # bytes
_SHARE: Final = 16  # at most this part of the disk: 1/16
_MIN_FREE: Final = 8  # create it only if this many times its size is free


def create(home: Path) -> None:
    """Create the reserve if there is enough space; otherwise a later process tries again."""
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
    """Remove the reserve: no active session is left."""
    with suppress(OSError):
        _file(home).unlink()


def release(home: Path) -> bool:
    """Remove the reserve if the disk is full; return whether it was removed."""
    with suppress(OSError):
        disk = os.statvfs(home)
        if disk.f_bavail * disk.f_frsize < _file(home).stat().st_size:
            _file(home).unlink()
            return True
    return False


def retry_with_reserve(home: Path, write: Callable[[], None], *, permitted: bool) -> None:
    """Call `write`, and if the disk is full again without the reserve; raises OSError."""
    try:
        write()
    except OSError as error:
        if error.errno != errno.ENOSPC or not permitted or not release(home):
            raise
        write()


def _file(home: Path) -> Path:
    return home / "reserve"
