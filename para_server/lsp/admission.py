"""Admit clients of a port: check the token and the Host header, and limit unadmitted clients."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
import secrets
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lsprotocol import types

from para_server.lsp.capabilities import get_nested, is_id

MAX_UNADMITTED_BYTES: Final = 256 << 10  # before the token; VS Code's `initialize` has 20 KiB
TOKEN_TIMEOUT: Final = 10.0  # seconds from the connection to the token
MAX_UNADMITTED_CONNECTIONS: Final = 16  # one more closes the oldest
_MAX_TOKEN_BYTES: Final = 4096  # of a token file
_NEW_TOKEN_BYTES: Final = 32  # before base64
_OTHERS_MASK: Final = stat.S_IRWXG | stat.S_IRWXO
_LOCALHOST: Final = "localhost"


class TokenFileError(Exception):
    """The token file cannot be used; the message has the reason."""


@dataclass(frozen=True)
class Token:
    """The secret that a client must send in its first message."""

    _secret: bytes = field(repr=False)

    def matches(self, message: object) -> bool:
        """Return whether a message is an `initialize` request with this token."""
        if get_nested(message, "method") != types.INITIALIZE or not is_id(
            get_nested(message, "id")
        ):
            return False
        sent = get_nested(message, "params", "initializationOptions", "token")
        # compared even if nothing was sent, so that the time reveals nothing
        token = sent.encode(errors="surrogatepass") if isinstance(sent, str) else b""
        return hmac.compare_digest(token, self._secret)


def read_or_create_token(file: Path) -> Token:
    """Return the token in a file, which is created if it does not exist; raise TokenFileError."""
    try:
        return _read_token(file)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise TokenFileError(f"Cannot read the token file {file}: {error.strerror}") from None
    try:
        _create_token_file(file)
        return _read_token(file)
    except OSError as error:
        raise TokenFileError(f"Cannot create the token file {file}: {error.strerror}") from None


class UnadmittedConnections:
    """The connections that have not sent the token yet, limited in number and time."""

    def __init__(self) -> None:
        self._disconnects: dict[object, Callable[[], None]] = {}

    def add(self, connection: object, disconnect: Callable[[], None]) -> None:
        """Add a connection, close it after TOKEN_TIMEOUT, and close the oldest over the limit.

        Clients send the token at once, so connections that send nothing cannot lock them out.
        """
        if len(self._disconnects) >= MAX_UNADMITTED_CONNECTIONS:
            self._close(next(iter(self._disconnects)))
        self._disconnects[connection] = disconnect
        asyncio.get_running_loop().call_later(TOKEN_TIMEOUT, self._close, connection)

    def contains(self, connection: object) -> bool:
        """Return whether a connection is still unadmitted."""
        return connection in self._disconnects

    def remove(self, connection: object) -> None:
        """Remove a connection that sent the token or was closed."""
        self._disconnects.pop(connection, None)

    def _close(self, connection: object) -> None:
        disconnect = self._disconnects.pop(connection, None)
        if disconnect is not None:
            disconnect()


class TokenGate:
    """Refuses messages until one has the token, then calls `on_admitted` once."""

    def __init__(self, token: Token, on_admitted: Callable[[], None]) -> None:
        self._token = token
        self._on_admitted = on_admitted
        self.is_open = False

    def admit(self, message: object) -> bool:
        """Return whether a message may be processed; open the gate if it has the token."""
        if not self.is_open and self._token.matches(message):
            self.is_open = True
            self._on_admitted()
        return self.is_open


def is_own_host(host: str, bound: Collection[str]) -> bool:
    """Return whether a Host header names the loopback or an address that the server is bound to.

    Prevents DNS rebinding: a web page whose name resolves to this machine sends that name.
    """
    name = _strip_port(host).lower().rstrip(".")
    if name == _LOCALHOST or name in {one.lower() for one in bound}:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _read_token(file: Path) -> Token:
    # refuse links, don't block on a pipe, and check the same file that is read
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise TokenFileError(f"The token file {file} is not a regular file")
        if status.st_uid != os.geteuid():
            raise TokenFileError(f"The token file {file} belongs to another user")
        if status.st_mode & _OTHERS_MASK:
            raise TokenFileError(
                f"Other users can read the token file {file}: run chmod 600 {file}"
            )
        secret = stream.read(_MAX_TOKEN_BYTES + 1).strip()
    if not secret or len(secret) > _MAX_TOKEN_BYTES:
        raise TokenFileError(f"The token file {file} must have 1 to {_MAX_TOKEN_BYTES} bytes")
    return Token(secret)


def _create_token_file(file: Path) -> None:
    """Create the file by a link, so that a server that starts meanwhile reads all of it or none."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{secrets.token_urlsafe(_NEW_TOKEN_BYTES)}\n")
        os.link(draft, file, follow_symlinks=False)
    except FileExistsError:
        pass  # another server has created it
    finally:
        draft.unlink()


def _strip_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
