"""Write to a process and read its output, within limits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Final

CHUNK_SIZE: Final = 1 << 20  # bytes per read
MAX_STDERR: Final = 1 << 20  # bytes
# after the process exited: a pipe without output for so long is open in another process
_QUIET_SECONDS: Final = 0.5


async def communicate(
    process: asyncio.subprocess.Process,
    input_text: str | None,
    limit: int,
    kill_leftovers: Callable[[], None] | None = None,
) -> tuple[bytes, bytes]:
    """Write text to a process, wait for its exit, and return its stdout and stderr.

    A process that prints more than `limit` bytes is killed, to protect memory. A process that a git
    hook started may keep the pipes open: they are closed without waiting for it, after
    `kill_leftovers` was called.
    """

    async def write_input() -> None:
        if process.stdin is None or input_text is None:
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(input_text.encode(errors="surrogateescape"))
            await process.stdin.drain()
        process.stdin.close()

    output, errors = bytearray(), bytearray()
    tasks = [
        asyncio.ensure_future(
            read_stream(process.stdout, limit, lambda: kill_group(process), output)
        ),
        asyncio.ensure_future(read_stream(process.stderr, MAX_STDERR, buffer=errors)),
        asyncio.ensure_future(write_input()),
    ]
    try:
        previous = -1
        while True:
            _, pending = await asyncio.wait(tasks, timeout=_QUIET_SECONDS)
            received = len(output) + len(errors)
            if not pending or (process.returncode is not None and received == previous):
                break
            previous = received
    finally:
        for task in tasks:
            task.cancel()
    if pending:
        if kill_leftovers is not None:
            kill_leftovers()
        close_pipes(process)
    await process.wait()
    return bytes(output), bytes(errors)


async def read_stream(
    stream: asyncio.StreamReader | None,
    limit: int,
    on_overflow: Callable[[], None] | None = None,
    buffer: bytearray | None = None,
) -> bytes:
    """Read a stream to its end and return its bytes, at most `limit` and one.

    They are collected in `buffer`, so that a caller that stops waiting has the first part.
    """
    buffer = bytearray() if buffer is None else buffer
    while stream is not None and (chunk := await stream.read(CHUNK_SIZE)):
        if len(buffer) <= limit:
            buffer += chunk
            del buffer[limit + 1 :]
            if len(buffer) > limit and on_overflow is not None:
                on_overflow()
    return bytes(buffer)


def kill_group(process: asyncio.subprocess.Process) -> None:
    """Kill the process group that a process leads, including members that outlived it."""
    with contextlib.suppress(ProcessLookupError):  # all have exited
        os.killpg(process.pid, signal.SIGKILL)


def close_pipes(process: asyncio.subprocess.Process) -> None:
    """Close the pipes of a process: asyncio reports its exit only after they are closed."""
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 # no public method closes them
