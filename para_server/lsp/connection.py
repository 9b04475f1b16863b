"""Connect a server to a byte stream, and queue the messages that it sends."""

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
_MAX_UNREAD_BYTES: Final = 256 << 20  # queued for a client before it is disconnected
_FLUSH_TIMEOUT: Final = 1.0  # seconds that a client has to read the last responses


@asynccontextmanager
async def running_server(
    context: Callable[[], Context], send: Callable[[bytes], Awaitable[None]], closed: asyncio.Event
) -> AsyncIterator[Server]:
    """Serve one client until the block ends; the server sets `closed` when the connection ends."""
    outbox = Outbox(send, closed)
    server = Server(context, outbox, closed)
    try:
        yield server
    finally:
        await server.close()
        await outbox.flush()


def receive_chunk(server: Server, framing: Framing, chunk: bytes, closed: asyncio.Event) -> None:
    """Pass the complete messages of a chunk to the server."""
    for message in framing.feed(chunk):
        if closed.is_set():
            return
        if isinstance(message, Refusal):
            server.protocol.send_error(None, message.code, message.message)
        else:
            server.protocol.receive(message)


def add_header(body: bytes) -> bytes:
    """Return a message with its Content-Length header."""
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class Outbox:
    """A queue of messages to a client; the event loop never waits for a slow reader."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]], closed: asyncio.Event) -> None:
        self._send = send
        self._closed = closed
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._unread = 0
        self._broken = False
        self._sending = asyncio.ensure_future(self._send_queued())

    def write(self, data: bytes) -> None:
        """Queue a message."""
        if self._unread > _MAX_UNREAD_BYTES:  # a single message may exceed the limit
            self._mark_broken("it does not read its messages")
        self._unread += len(data)
        if not self._broken:
            self._queue.put_nowait(data)

    def close(self) -> None:
        """Stop sending."""
        self._sending.cancel()

    async def flush(self) -> None:
        """Wait until the queue is sent, at most _FLUSH_TIMEOUT, then close."""
        if not self._broken:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._queue.join(), _FLUSH_TIMEOUT)
        self.close()

    async def _send_queued(self) -> None:
        while True:
            body = await self._queue.get()
            try:
                await self._send(body)
            except Exception as error:  # noqa: BLE001 # each transport raises its own
                self._mark_broken(str(error))
            self._unread -= len(body)
            self._queue.task_done()

    def _mark_broken(self, reason: str) -> None:
        if not self._broken:
            self._broken = True
            self._closed.set()
            logger.info("Disconnected from the client: %s", reason)
