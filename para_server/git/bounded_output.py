"""Run git on data of sessions, with limits of output, time and memory; a cancellation stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from para_server.concurrency.cancellation import run_to_end
from para_server.git.pipes import CHUNK_SIZE, MAX_STDERR, kill_group, read_stream
from para_server.git.process import (
    GitFailedError,
    GitTooSlowError,
    StopHandle,
    create_environment,
    describe_full_disk,
    find_usable_prefix,
    start_process,
    stop_process,
    subcommand_of,
)

_MAX_MEMORY: Final = 2 << 30  # bytes


async def read_git_output(
    folder: Path, arguments: Sequence[str], limit: int, seconds: float | None = None
) -> bytes:
    """Run git and return its output as bytes; at more than `limit` bytes, git is stopped.

    The result is longer than `limit` then, by less than one chunk.
    Raises GitFailedError, and GitTooSlowError after `seconds`.
    """
    output = bytearray()

    def receive(chunk: bytes) -> bool:
        output.extend(chunk)
        return len(output) <= limit

    await stream_git_output(folder, arguments, receive, seconds)
    return bytes(output)


async def stream_git_output(
    folder: Path,
    arguments: Sequence[str],
    receive: Callable[[bytes], bool],
    seconds: float | None = None,
) -> None:
    """Run git and pass each chunk of its output to `receive`, until that returns false.

    Raises GitFailedError, and GitTooSlowError after `seconds`.
    """
    stop_handle = StopHandle()
    await run_to_end(
        _run_streaming(folder, arguments, receive, seconds, stop_handle), stop_handle.stop
    )


async def _run_streaming(
    folder: Path,
    arguments: Sequence[str],
    receive: Callable[[bytes], bool],
    seconds: float | None,
    stop_handle: StopHandle,
) -> None:
    verb = subcommand_of(arguments)
    command = (*_limit_memory(), "git", *arguments)
    process = await start_process(
        folder, command, verb, create_environment(ignore_config=False), stop_handle=stop_handle
    )
    try:
        async with asyncio.timeout(seconds):
            complete, stderr = await asyncio.gather(
                _feed_output(process, receive), read_stream(process.stderr, MAX_STDERR)
            )
            await process.wait()
    except TimeoutError:
        await stop_process(process)
        raise GitTooSlowError(verb, f"it took longer than {seconds:g} seconds") from None
    stop_handle.kill_leftovers()
    if process.returncode != 0 and complete:
        raise GitFailedError(verb, stderr.decode(errors="replace") + describe_full_disk(folder))


async def _feed_output(
    process: asyncio.subprocess.Process, receive: Callable[[bytes], bool]
) -> bool:
    """Pass the output of a process to `receive`, and return whether all of it was accepted."""
    while process.stdout is not None and (chunk := await process.stdout.read(CHUNK_SIZE)):
        if not receive(chunk):
            kill_group(process)
            return False
        await asyncio.sleep(0)  # output that arrives fast must not block other tasks
    return True


@cache
def _limit_memory() -> tuple[str, ...]:
    """Return a command prefix that limits the memory of git, or nothing."""
    return find_usable_prefix("prlimit", f"--data={_MAX_MEMORY}", "--")
