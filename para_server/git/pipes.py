"""Write to a process and read what it prints, within limits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Final

PART: Final = 1 << 20  # bytes that are read at once
MOST_SAID: Final = 1 << 20  # bytes of what a process says beside its output
_QUIET: Final = 0.5  # seconds without output after its end: something else has the pipe open


async def talk(
    process: asyncio.subprocess.Process,
    given: str | None,
    most: int,
    end_rest: Callable[[], None] | None = None,
) -> tuple[bytes, bytes]:
    """Return what a process printed; one that prints too much is ended, since memory has an end.

    What a hook has started may hold the output open for as long as it runs: it is not waited for,
    and `end_rest` may end it.
    """

    async def tell() -> None:
        if process.stdin is None or given is None:
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(given.encode(errors="surrogateescape"))
            await process.stdin.drain()
        process.stdin.close()

    out, said = bytearray(), bytearray()
    tasks = [
        asyncio.ensure_future(printed(process.stdout, most, lambda: end_at_once(process), out)),
        asyncio.ensure_future(printed(process.stderr, MOST_SAID, read=said)),
        asyncio.ensure_future(tell()),
    ]
    try:
        before = -1
        while True:
            _, waiting = await asyncio.wait(tasks, timeout=_QUIET)
            now = len(out) + len(said)
            if not waiting or (process.returncode is not None and now == before):
                break
            before = now
    finally:
        for task in tasks:
            task.cancel()
    if waiting:
        if end_rest is not None:
            end_rest()
        close_pipes(process)
    await process.wait()
    return bytes(out), bytes(said)


async def printed(
    stream: asyncio.StreamReader | None,
    most: int,
    too_much: Callable[[], None] | None = None,
    read: bytearray | None = None,
) -> bytes:
    """Read a stream to its end, into `read` where it is given; keep one byte more than `most`."""
    read = bytearray() if read is None else read
    while stream is not None and (part := await stream.read(PART)):
        if len(read) <= most:
            read += part
            del read[most + 1 :]
            if len(read) > most and too_much is not None:
                too_much()
    return bytes(read)


def end_at_once(process: asyncio.subprocess.Process) -> None:
    """End a process that leads a group, and all of the group, also what outlived it."""
    with contextlib.suppress(ProcessLookupError):  # all have ended by themselves
        os.killpg(process.pid, signal.SIGKILL)


def close_pipes(process: asyncio.subprocess.Process) -> None:
    """Close the pipes of a process that nobody reads any more: its end is not seen before."""
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 # nothing else does it
