"""Run long commands in containers and stream their output line by line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final

from para_server.core.container_spec import WORKSPACE
from para_server.engine.client import Engine
from para_server.engine.exec_command import Stopper

if TYPE_CHECKING:
    from docker import APIClient

_LINE_INTERVAL: Final = 0.1  # seconds between two reported lines
_MAX_LINE: Final = 4096  # bytes; a longer line is split


async def stream_command(
    engine: Engine, container: str, command: Sequence[str], report_line: Callable[[str], None]
) -> int:
    """Run a command as `para` without a timeout, report its output, and return its exit code.

    If lines come faster than ten a second, some are skipped. A cancellation kills the container,
    since the engine can't stop a single command.
    """
    loop = asyncio.get_running_loop()

    def request(_: APIClient) -> int:
        # the timeout applies to the engine's first response; the command may print nothing for long
        stopper = Stopper()
        with closing(engine.connect(engine.settings.timeout)) as api, stopper.closing(api):
            created = api.exec_create(container, list(command), user="para", workdir=WORKSPACE)
            reported_at = -_LINE_INTERVAL
            for line in _lines(stopper.start(api, created["Id"])):
                if time.monotonic() - reported_at >= _LINE_INTERVAL:
                    reported_at = time.monotonic()
                    loop.call_soon_threadsafe(report_line, line)
            code = api.exec_inspect(created["Id"])["ExitCode"]
            return int(code if code is not None else 1)

    async with engine.streams:
        return await engine.call_long_running(request, interrupt=lambda: _kill(engine, container))


def _lines(chunks: Iterable[bytes]) -> Iterable[str]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _MAX_LINE:
            lines, rest = [*lines, rest], b""
        yield from (line.decode(errors="replace") for line in lines if line.strip())
    if rest.strip():
        yield rest.decode(errors="replace")


def _kill(engine: Engine, container: str) -> None:
    # runs on the event loop's thread while the pool's thread waits, so it needs its own connection
    with suppress(Exception), closing(engine.connect(5)) as api:
        api.kill(container)
