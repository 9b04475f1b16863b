"""Wait for the end of the process that started this one."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Final

_POLL_INTERVAL: Final = 5.0  # seconds, where the system has no pidfd


async def wait_for_exit(pid: int) -> None:
    """Wait until a process has ended; forever if there is none, as for one in another container.

    The end of stdin is not enough: a process that a killed client started may keep it open.
    """
    try:
        await _wait_on_pidfd(pid)
    except (AttributeError, NotImplementedError):  # no pidfd on this system
        await _poll_process(pid)
    except OSError:  # no such process, or no descriptor left
        await asyncio.Event().wait()


async def _wait_on_pidfd(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    loop, closed = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(descriptor, closed.set)
        await closed.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def _poll_process(pid: int) -> None:
    with suppress(PermissionError):  # the process exists, of another user
        os.kill(pid, 0)
    while True:
        await asyncio.sleep(_POLL_INTERVAL)
        try:
            with suppress(PermissionError):
                os.kill(pid, 0)
        except ProcessLookupError:
            return
