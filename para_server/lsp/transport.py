"""The only place that knows how bytes come and go: stdio, TCP, WebSocket, and when it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from para_server.lsp.framing import MAX_MESSAGE, Framing, Refusal, SpeaksHttpError
from para_server.lsp.server import Server

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

    from para_server.context import Context

logger = logging.getLogger(__name__)
_CHUNK: Final = 1 << 16
_MAX_UNREAD: Final = 64 << 20  # bytes that a client may leave unread before it counts as gone
_FLUSH: Final = 1.0  # seconds that a client has to read the last answers
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
        await loop.run_in_executor(writing, _write, sink, _framed(body))

    async with _conversation(context, send, over) as server:
        framing = Framing()

        async def take(chunk: bytes) -> None:
            _feed(server, framing, chunk, over)

        args = (source, take, loop, over)
        threading.Thread(target=_pump, args=args, name="stdin", daemon=True).start()
        await over.wait()
    writing.shutdown(wait=False)
    return server.exit_code


async def serve_tcp(context: Callable[[], Context], host: str, port: int) -> int:
    """Talk with whoever connects."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over = asyncio.Event()

        async def send(body: bytes) -> None:
            writer.write(_framed(body))
            await writer.drain()

        try:
            async with _conversation(context, send, over) as server:
                reading = asyncio.ensure_future(_read(reader, server, over))
                try:
                    await over.wait()
                finally:
                    reading.cancel()
        except Exception:
            logger.exception("A connection failed: a bug")
        finally:
            writer.close()

    async with asyncio.TaskGroup() as clients:

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            clients.create_task(converse(reader, writer))

        listening = await asyncio.start_server(accept, host, port)
        _announce("TCP", listening.sockets[0].getsockname())
        try:
            await asyncio.Event().wait()
        finally:
            listening.close()  # its serve_forever would wait for clients that nobody stops
    return 0


async def serve_ws(context: Callable[[], Context], host: str, port: int) -> int:
    """Talk with whoever connects, except browsers: they alone send an Origin."""
    from websockets.asyncio.server import serve

    async def converse(socket: ServerConnection) -> None:
        over = asyncio.Event()

        async def send(body: bytes) -> None:
            await socket.send(body.decode())

        async def read() -> None:
            try:
                async for message in socket:
                    if over.is_set():
                        break
                    server.protocol.receive(message)
            finally:
                over.set()

        async with _conversation(context, send, over) as server:
            reading = asyncio.ensure_future(read())
            try:
                await over.wait()
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    quiet = logging.getLogger("websockets.para")
    quiet.setLevel(logging.CRITICAL)  # who is refused is no news
    async with serve(
        converse, host, port, max_size=MAX_MESSAGE, origins=[None], logger=quiet
    ) as listening:
        _announce("WebSocket", next(iter(listening.sockets)).getsockname())
        await listening.serve_forever()
    return 0


class Outbox:
    """What a client is still to be sent, in order; the event loop never waits for its reader."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]], over: asyncio.Event) -> None:
        self._send = send
        self._over = over
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._unread = 0
        self._broken = False
        self._sending = asyncio.ensure_future(self._run())

    def write(self, data: bytes) -> None:
        """Send a message when its turn comes."""
        self._unread += len(data)
        if self._unread > _MAX_UNREAD:
            self._break("it does not read")
        if not self._broken:
            self._queue.put_nowait(data)

    def close(self) -> None:
        """Send nothing more."""
        self._sending.cancel()

    async def flush(self) -> None:
        """Give the client a moment to read the last of it."""
        if not self._broken:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._queue.join(), _FLUSH)
        self.close()

    async def _run(self) -> None:
        while True:
            body = await self._queue.get()
            try:
                await self._send(body)
            except Exception as error:  # noqa: BLE001 # each transport has its own for a lost peer
                self._break(str(error))
            self._unread -= len(body)
            self._queue.task_done()

    def _break(self, reason: str) -> None:
        if not self._broken:
            self._broken = True
            self._over.set()
            logger.info("The client is gone: %s", reason)


@asynccontextmanager
async def _conversation(
    context: Callable[[], Context], send: Callable[[bytes], Awaitable[None]], over: asyncio.Event
) -> AsyncIterator[Server]:
    outbox = Outbox(send, over)
    server = Server(context, outbox, over)
    try:
        yield server
    finally:
        await server.close()
        await outbox.flush()


async def _read(reader: asyncio.StreamReader, server: Server, over: asyncio.Event) -> None:
    framing = Framing(guarded=True)
    try:
        while chunk := await reader.read(_CHUNK):
            _feed(server, framing, chunk, over)
    except SpeaksHttpError:
        logger.warning("Hung up on a client that speaks HTTP")
    except OSError as error:
        logger.info("A connection broke: %s", error)
    finally:
        over.set()


def _feed(server: Server, framing: Framing, chunk: bytes, over: asyncio.Event) -> None:
    for found in framing.feed(chunk):
        if over.is_set():
            return
        if isinstance(found, Refusal):
            server.protocol.refuse(None, found.code, found.message)
        else:
            server.protocol.receive(found)


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


def _framed(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def _write(sink: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sink, rest) :]


def _announce(what: str, address: Any) -> None:
    logger.info("Listening for %s on %s:%s", what, address[0], address[1])


async def _until_signalled(serving: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(serving)
    received: list[int] = []

    def stop(number: int) -> None:
        if not received:
            task.cancel()
        received.append(number)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
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
    return code
