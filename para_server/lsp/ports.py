"""Serve clients that have the token over TCP and WebSocket."""

from __future__ import annotations

import asyncio
import http
import logging
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from para_server.lsp.admission import (
    MAX_UNADMITTED_BYTES,
    TOKEN_TIMEOUT,
    Token,
    TokenGate,
    UnadmittedConnections,
    is_own_host,
)
from para_server.lsp.connection import add_header, receive_chunk, running_server
from para_server.lsp.framing import MAX_MESSAGE_BYTES, ForeignStreamError, Framing

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from para_server.context import Context
    from para_server.lsp.server import Server

logger = logging.getLogger(__name__)
_CHUNK_BYTES: Final = 1 << 16
_CLOSE_TIMEOUT: Final = 1.0  # seconds that a client has to read what is still buffered


class CannotListenError(Exception):
    """The port cannot be opened; the message has the reason."""


async def serve_tcp(context: Callable[[], Context], host: str, port: int, token: Token) -> int:
    """Serve every TCP client that sends the token, until cancelled."""
    unadmitted = UnadmittedConnections()

    async def serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        closed, framing = asyncio.Event(), Framing(strict=True, limit=MAX_UNADMITTED_BYTES)

        async def send(body: bytes) -> None:
            writer.write(add_header(body))
            await writer.drain()

        def admit() -> None:
            framing.limit = MAX_MESSAGE_BYTES
            unadmitted.remove(writer)

        try:
            async with running_server(context, send, closed) as server:
                server.protocol.gate = TokenGate(token, admit)
                reading = asyncio.ensure_future(_read_stream(reader, framing, server, closed))
                try:
                    await closed.wait()
                finally:
                    reading.cancel()
        except Exception:
            logger.exception("A connection failed: internal error")
        finally:
            unadmitted.remove(writer)
            writer.close()
            # a client that does not read must not keep the connection open
            asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT, writer.transport.abort)

    clients = asyncio.TaskGroup()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        unadmitted.add(writer, writer.transport.abort)
        clients.create_task(serve_connection(reader, writer))

    try:
        listener = await asyncio.start_server(accept, host, port, start_serving=False)
    except (OSError, UnicodeError) as error:
        raise _listen_error(host, port, error) from None
    async with clients:
        await listener.start_serving()
        _log_address("TCP", listener.sockets[0].getsockname())
        try:
            await asyncio.Event().wait()
        finally:
            listener.close()  # serve_forever would wait for the clients
    return 0


async def serve_ws(context: Callable[[], Context], host: str, port: int, token: Token) -> int:
    """Serve every WebSocket client that sends the token, until cancelled.

    Browsers are refused by their Origin header, which other clients don't send.
    """
    from websockets.asyncio.server import serve

    unadmitted = UnadmittedConnections()

    async def serve_connection(socket: ServerConnection) -> None:
        closed = asyncio.Event()

        async def send(body: bytes) -> None:
            await socket.send(body.decode())

        async def read() -> None:
            try:
                async for message in socket:
                    if closed.is_set():
                        break
                    server.protocol.receive(message)
            finally:
                closed.set()

        async with running_server(context, send, closed) as server:
            server.protocol.gate = TokenGate(token, partial(unadmitted.remove, socket))
            reading = asyncio.ensure_future(read())
            try:
                await closed.wait()
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    quiet_logger = logging.getLogger("websockets.para")
    quiet_logger.setLevel(logging.CRITICAL)  # it logs every refused handshake as an error
    listener = serve(
        serve_connection,
        host,
        port,
        max_size=MAX_MESSAGE_BYTES,
        compression=None,  # a small message could inflate past the limit before the token
        origins=[None],
        process_request=partial(_check_host, host),
        open_timeout=TOKEN_TIMEOUT,
        create_connection=_create_connection_class(unadmitted),
        logger=quiet_logger,
    )
    try:
        server = await listener
    except (OSError, UnicodeError) as error:
        raise _listen_error(host, port, error) from None
    async with server:
        _log_address("WebSocket", next(iter(server.sockets)).getsockname())
        await server.serve_forever()
    return 0


def _create_connection_class(unadmitted: UnadmittedConnections) -> type[ServerConnection]:
    from websockets.asyncio.server import ServerConnection

    class Connection(ServerConnection):
        """A connection that is closed if it sends too much before the token, or the token late."""

        received = 0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            unadmitted.add(self, self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            unadmitted.remove(self)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self.received += len(data)
            if self.received > MAX_UNADMITTED_BYTES and unadmitted.contains(self):
                self.transport.abort()
            else:
                super().data_received(data)

    return Connection


def _check_host(host: str, connection: ServerConnection, request: Request) -> Response | None:
    """Refuse a handshake with a foreign Host header (DNS rebinding); None accepts it."""
    hosts = request.headers.get_all("Host")
    bound = (host, str(connection.local_address[0]))
    if len(hosts) == 1 and is_own_host(hosts[0], bound):
        return None
    return connection.respond(
        http.HTTPStatus.FORBIDDEN, "The Host header does not name this server\n"
    )


async def _read_stream(
    reader: asyncio.StreamReader, framing: Framing, server: Server, closed: asyncio.Event
) -> None:
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            receive_chunk(server, framing, chunk, closed)
    except ForeignStreamError:
        logger.info("Closed a connection that does not speak LSP")
    except OSError as error:
        logger.info("A connection failed: %s", error)
    finally:
        closed.set()


def _listen_error(host: str, port: int, error: OSError | UnicodeError) -> CannotListenError:
    reason = "no such host"
    if isinstance(error, OSError):  # errors of name resolution have negative numbers
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else str(error.strerror)
    return CannotListenError(f"Cannot listen on {_format_address((host, port))}: {reason}")


def _log_address(transport: str, address: Any) -> None:
    logger.info("Listening for %s on %s", transport, _format_address(address))


def _format_address(address: Iterable[Any]) -> str:
    host, port, *_ = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
