"""The only place that knows how a server process talks over stdio, and when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from para_server.concurrency.cancellation import wait_for_other_tasks
from para_server.host import signals
from para_server.lsp.connection import conversation, feed, framed
from para_server.lsp.framing import Framing

if TYPE_CHECKING:
    from para_server.context import Context

_CHUNK: Final = 1 << 16
_LEAVE: Final = 3.0  # seconds after which threads that are stuck are left behind


def run(serving: Coroutine[Any, Any, int]) -> int:
    """Serve until it is over or a signal comes; give the exit code of the process."""
    return asyncio.run(_until_signalled(serving))


async def serve_stdio(context: Callable[[], Context]) -> int:
    """Talk with the one client that started this process."""
    source, sink = _own_stdio()
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    # a thread of its own for each direction: nothing else can make the server deaf or dumb
    writing = ThreadPoolExecutor(1, thread_name_prefix="stdout")

    async def send(body: bytes) -> None:
        await loop.run_in_executor(writing, _write, sink, framed(body))

    async with conversation(context, send, over) as server:
        framing = Framing()

        async def take(chunk: bytes) -> None:
            feed(server, framing, chunk, over)

        args = (source, take, loop, over)
        threading.Thread(target=_pump, args=args, name="stdin", daemon=True).start()
        await over.wait()
    writing.shutdown(wait=False)
    return server.exit_code


def _pump(
    source: int,
    take: Callable[[bytes], Coroutine[Any, Any, None]],
    loop: asyncio.AbstractEventLoop,
    over: asyncio.Event,
) -> None:
    # the loop being closed, or the pipe broken, ends it as the end of the stream does
    with suppress(RuntimeError, OSError):
        while chunk := os.read(source, _CHUNK):
            asyncio.run_coroutine_threadsafe(take(chunk), loop).result()
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(over.set)


def _own_stdio() -> tuple[int, int]:
    """Keep stdin and stdout for messages: what prints goes to stderr, what reads gets nothing."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.flush()
    os.dup2(2, 1)
    return source, sink


def _write(sink: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sink, rest) :]


async def _until_signalled(serving: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(serving)
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        if len(received) == 1:
            task.cancel()
        elif received.count(signal.SIGINT) > signals.GRACEFUL_INTERRUPTS:
            signals.end_process_by(number)

    with signals.handled_signals(asyncio.get_running_loop(), stop):
        code = 0
        try:
            code = await task
        except asyncio.CancelledError:
            code = 128 + received[0] if received else 1
        # everything is rolled back; a thread that waits for the engine or for a full pipe must not
        # keep the process
        leave = threading.Timer(_LEAVE, os._exit, (code,))
        leave.daemon = True
        leave.start()
        await wait_for_other_tasks()
    return code
