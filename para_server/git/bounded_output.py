"""Runs git on what a session made: limited in output, time and memory, and stopped by a cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from para_server.concurrency.cancellation import run_to_end
from para_server.git.pipes import MOST_SAID, PART, end_at_once, printed
from para_server.git.process import (
    GitFailedError,
    GitTooSlowError,
    Leash,
    ended,
    environment_of,
    full_disk,
    started,
    usable,
    verb_of,
)

_MEMORY: Final = 2 << 30  # bytes of memory that such a git may take


async def git_bytes(
    folder: Path, arguments: Sequence[str], most: int, seconds: float | None = None
) -> bytes:
    """Run git and return the bytes that it printed: of what is longer than `most`, a part more.

    Raises GitFailedError, and GitTooSlowError after `seconds`.
    """
    out = bytearray()

    def take(part: bytes) -> bool:
        out.extend(part)
        return len(out) <= most

    await git_stream(folder, arguments, take, seconds)
    return bytes(out)


async def git_stream(
    folder: Path,
    arguments: Sequence[str],
    take: Callable[[bytes], bool],
    seconds: float | None = None,
) -> None:
    """Run git and hand on what it prints, part by part, until `take` returns false.

    Raises GitFailedError, and GitTooSlowError after `seconds`.
    """
    leash = Leash()
    await run_to_end(_streamed(folder, arguments, take, seconds, leash), leash.stop)


async def _streamed(
    folder: Path,
    arguments: Sequence[str],
    take: Callable[[bytes], bool],
    seconds: float | None,
    leash: Leash,
) -> None:
    verb = verb_of(arguments)
    command = (*_limited(), "git", *arguments)
    process = await started(folder, command, verb, environment_of(plain=False), leash=leash)
    try:
        async with asyncio.timeout(seconds):
            whole, said = await asyncio.gather(
                _handed_on(process, take), printed(process.stderr, MOST_SAID)
            )
            await process.wait()
    except TimeoutError:
        await ended(process)
        raise GitTooSlowError(verb, f"it took longer than {seconds:g} seconds") from None
    leash.end_rest()
    if process.returncode != 0 and whole:
        raise GitFailedError(verb, said.decode(errors="replace") + full_disk(folder))


async def _handed_on(process: asyncio.subprocess.Process, take: Callable[[bytes], bool]) -> bool:
    """Hand on what a process prints, and return whether all of it was wanted."""
    while process.stdout is not None and (part := await process.stdout.read(PART)):
        if not take(part):
            end_at_once(process)
            return False
        await asyncio.sleep(0)  # what it printed may come faster than others get their turn
    return True


@cache
def _limited() -> tuple[str, ...]:
    """Return a command that limits the memory of another, where the system has one."""
    return usable("prlimit", f"--data={_MEMORY}", "--")
