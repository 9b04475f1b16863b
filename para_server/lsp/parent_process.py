"""The only place that waits for the end of the process that started this one."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Final

_LOOK: Final = 5.0  # seconds between two looks where the system cannot notify


async def ended(pid: int) -> None:
    """Wait until a process has ended; for ever where there is none, as from another container.

    A client that was killed may leave its end of stdin open in another process that it started.
    """
    try:
        await _notified(pid)
    except (AttributeError, NotImplementedError):  # no pidfd on this system
        await _polled(pid)
    except OSError:  # there is no such process here, or no descriptor left
        await asyncio.Event().wait()


async def _notified(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(descriptor, over.set)
        await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def _polled(pid: int) -> None:
    with suppress(PermissionError):  # another user's is one too
        os.kill(pid, 0)
    while True:
        await asyncio.sleep(_LOOK)
        try:
            with suppress(PermissionError):
                os.kill(pid, 0)
        except ProcessLookupError:
            return
