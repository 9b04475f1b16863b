"""The only place that knows how a long command in a container is followed line by line."""

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

_LINE_INTERVAL: Final = 0.1  # seconds between two lines that are told: nobody reads faster
_MAX_LINE: Final = 4096  # bytes of a line; what is longer is told in parts


async def stream_command(
    engine: Engine, container: str, command: Sequence[str], told: Callable[[str], None]
) -> int:
    """Run a command as `para` for as long as it takes, tell its output, and give its exit code.

    Of what it prints without a pause, a line now and then is told. A cancellation kills the
    container: the engine has no way to end a command alone.
    """
    loop = asyncio.get_running_loop()

    def ask(_: APIClient) -> int:
        # the engine has its usual time to begin; then the command may be silent for long
        with closing(engine.connect(engine.settings.timeout)) as api, Stopper().closing(api):
            made = api.exec_create(container, list(command), user="para", workdir=WORKSPACE)
            latest = -_LINE_INTERVAL
            for line in _lines(api.exec_start(made["Id"], stream=True)):
                if time.monotonic() - latest >= _LINE_INTERVAL:
                    latest = time.monotonic()
                    loop.call_soon_threadsafe(told, line)
            code = api.exec_inspect(made["Id"])["ExitCode"]
            return int(code if code is not None else 1)

    async with engine.streams:
        return await engine.call_slowly(ask, interrupt=lambda: _kill(engine, container))


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
    # on the event loop's thread, while the pool's thread waits: hence a connection of its own
    with suppress(Exception), closing(engine.connect(5)) as api:
        api.kill(container)
