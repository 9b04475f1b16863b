"""The only place that listens on ports: TCP and WebSocket, for clients that have the token."""

from __future__ import annotations

import asyncio
import http
import logging
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from para_server.lsp.admission import (
    MAX_UNADMITTED,
    PATIENCE,
    Gate,
    Token,
    Waiting,
    names_this_server,
)
from para_server.lsp.connection import conversation, feed, framed
from para_server.lsp.framing import MAX_MESSAGE, ForeignStreamError, Framing

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from para_server.context import Context
    from para_server.lsp.server import Server

logger = logging.getLogger(__name__)
_CHUNK: Final = 1 << 16
_CLOSING: Final = 1.0  # seconds that a client has to take what is left for it


class CannotListenError(Exception):
    """The port cannot be listened on; the message says why."""


async def serve_tcp(context: Callable[[], Context], host: str, port: int, token: Token) -> int:
    """Talk with whoever connects and has the token."""
    waiting = Waiting()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over, framing = asyncio.Event(), Framing(strict=True, limit=MAX_UNADMITTED)

        async def send(body: bytes) -> None:
            writer.write(framed(body))
            await writer.drain()

        def admit() -> None:
            framing.limit = MAX_MESSAGE
            waiting.leave(writer)

        try:
            async with conversation(context, send, over) as server:
                server.protocol.gate = Gate(token, admit)
                reading = asyncio.ensure_future(_read(reader, framing, server, over))
                try:
                    await over.wait()
                finally:
                    reading.cancel()
        except Exception:
            logger.exception("A connection failed: a bug")
        finally:
            waiting.leave(writer)
            writer.close()
            # who reads nothing must not keep the connection
            asyncio.get_running_loop().call_later(_CLOSING, writer.transport.abort)

    clients = asyncio.TaskGroup()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting.arrive(writer, writer.transport.abort)
        clients.create_task(converse(reader, writer))

    try:
        listening = await asyncio.start_server(accept, host, port, start_serving=False)
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(host, port, error) from None
    async with clients:
        await listening.start_serving()
        _announce("TCP", listening.sockets[0].getsockname())
        try:
            await asyncio.Event().wait()
        finally:
            listening.close()  # its serve_forever would wait for clients that nobody stops
    return 0


async def serve_ws(context: Callable[[], Context], host: str, port: int, token: Token) -> int:
    """Talk with whoever connects and has the token, except browsers: they alone send an Origin."""
    from websockets.asyncio.server import serve

    waiting = Waiting()

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

        async with conversation(context, send, over) as server:
            server.protocol.gate = Gate(token, partial(waiting.leave, socket))
            reading = asyncio.ensure_future(read())
            try:
                await over.wait()
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    quiet = logging.getLogger("websockets.para")
    quiet.setLevel(logging.CRITICAL)  # who is refused is no news
    listening = serve(
        converse,
        host,
        port,
        max_size=MAX_MESSAGE,
        compression=None,  # a few bytes without the token could stand for many
        origins=[None],
        process_request=partial(_judge, host),
        open_timeout=PATIENCE,
        create_connection=_guarded(waiting),
        logger=quiet,
    )
    try:
        server = await listening
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(host, port, error) from None
    async with server:
        _announce("WebSocket", next(iter(server.sockets)).getsockname())
        await server.serve_forever()
    return 0


def _guarded(waiting: Waiting) -> type[ServerConnection]:
    from websockets.asyncio.server import ServerConnection

    class Connection(ServerConnection):
        """A connection that is closed where it sends too much, or too late, before the token."""

        received = 0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            waiting.arrive(self, self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            waiting.leave(self)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self.received += len(data)
            if self.received > MAX_UNADMITTED and waiting.has(self):
                self.transport.abort()
            else:
                super().data_received(data)

    return Connection


def _judge(host: str, connection: ServerConnection, request: Request) -> Response | None:
    """Refuse a handshake for another host: a page whose name was made to lead to this machine."""
    hosts = request.headers.get_all("Host")
    bound = (host, str(connection.local_address[0]))
    if len(hosts) == 1 and names_this_server(hosts[0], bound):
        return None
    return connection.respond(http.HTTPStatus.FORBIDDEN, "The Host is not this server\n")


async def _read(
    reader: asyncio.StreamReader, framing: Framing, server: Server, over: asyncio.Event
) -> None:
    try:
        while chunk := await reader.read(_CHUNK):
            feed(server, framing, chunk, over)
    except ForeignStreamError:
        logger.info("Closed a connection that does not speak LSP")
    except OSError as error:
        logger.info("A connection broke: %s", error)
    finally:
        over.set()


def _cannot_listen(host: str, port: int, error: OSError | UnicodeError) -> CannotListenError:
    reason = "no such host"
    if isinstance(error, OSError):  # a name that cannot be resolved has a negative number
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else str(error.strerror)
    return CannotListenError(f"Cannot listen on {_address((host, port))}: {reason}")


def _announce(what: str, address: Any) -> None:
    logger.info("Listening for %s on %s", what, _address(address))


def _address(address: Iterable[Any]) -> str:
    host, port, *_ = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
