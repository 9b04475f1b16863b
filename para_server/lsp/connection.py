"""The only place that ties a server to what carries its bytes, and queues what it sends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from para_server.lsp.framing import Framing, Refusal
from para_server.lsp.server import Server

if TYPE_CHECKING:
    from para_server.context import Context

logger = logging.getLogger(__name__)
_MAX_UNREAD: Final = 256 << 20  # bytes that a client may leave unread before it counts as gone
_FLUSH: Final = 1.0  # seconds that a client has to read the last answers


@asynccontextmanager
async def conversation(
    context: Callable[[], Context], send: Callable[[bytes], Awaitable[None]], over: asyncio.Event
) -> AsyncIterator[Server]:
    """Serve one client until the block ends; `over` is set when there is no more to say."""
    outbox = Outbox(send, over)
    server = Server(context, outbox, over)
    try:
        yield server
    finally:
        await server.close()
        await outbox.flush()


def feed(server: Server, framing: Framing, chunk: bytes, over: asyncio.Event) -> None:
    """Hand the messages in a chunk of the stream to the server."""
    for found in framing.feed(chunk):
        if over.is_set():
            return
        if isinstance(found, Refusal):
            server.protocol.refuse(None, found.code, found.message)
        else:
            server.protocol.receive(found)


def framed(body: bytes) -> bytes:
    """Put the header before a message."""
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


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
        if self._unread > _MAX_UNREAD:  # one message alone is never too much
            self._break("it does not read")
        self._unread += len(data)
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
