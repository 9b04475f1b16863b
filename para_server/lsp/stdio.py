"""Serve one client over stdio, and end the process on its end or on a signal."""

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
from para_server.lsp.connection import add_header, receive_chunk, running_server
from para_server.lsp.framing import Framing

if TYPE_CHECKING:
    from para_server.context import Context

_CHUNK_BYTES: Final = 1 << 16
_EXIT_TIMEOUT: Final = 3.0  # seconds that blocked threads may delay the exit


def run_until_signal(server_task: Coroutine[Any, Any, int]) -> int:
    """Serve until the end or a signal, and return the exit code of the process."""
    return asyncio.run(_until_signalled(server_task))


async def serve_stdio(context: Callable[[], Context]) -> int:
    """Serve the client that started this process, and return the exit code."""
    source, sink = _reserve_stdio()
    loop, closed = asyncio.get_running_loop(), asyncio.Event()
    # one thread per direction, so that busy pool threads cannot block messages
    writing = ThreadPoolExecutor(1, thread_name_prefix="stdout")

    async def send(body: bytes) -> None:
        await loop.run_in_executor(writing, _write_all, sink, add_header(body))

    async with running_server(context, send, closed) as server:
        framing = Framing()

        async def receive(chunk: bytes) -> None:
            receive_chunk(server, framing, chunk, closed)

        args = (source, receive, loop, closed)
        threading.Thread(target=_read_stdin, args=args, name="stdin", daemon=True).start()
        await closed.wait()
    writing.shutdown(wait=False)
    return server.exit_code


def _read_stdin(
    source: int,
    receive: Callable[[bytes], Coroutine[Any, Any, None]],
    loop: asyncio.AbstractEventLoop,
    closed: asyncio.Event,
) -> None:
    # a closed loop and a broken pipe count as the end of the stream
    with suppress(RuntimeError, OSError):
        while chunk := os.read(source, _CHUNK_BYTES):
            asyncio.run_coroutine_threadsafe(receive(chunk), loop).result()
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(closed.set)


def _reserve_stdio() -> tuple[int, int]:
    """Return descriptors of stdin and stdout, and replace both: by /dev/null and stderr.

    So nothing else that prints or reads can break the stream of messages.
    """
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.flush()
    os.dup2(2, 1)
    return source, sink


def _write_all(sink: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sink, rest) :]


async def _until_signalled(server_task: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(server_task)
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
        # keep the process running
        exit_timer = threading.Timer(_EXIT_TIMEOUT, os._exit, (code,))
        exit_timer.daemon = True
        exit_timer.start()
        await wait_for_other_tasks()
    return code
