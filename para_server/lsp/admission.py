"""The only place that decides who may talk over a port: the token, limits before it, and hosts."""

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

from para_server.lsp.capabilities import inside, is_id

MAX_UNADMITTED: Final = 256 << 10  # bytes of a message before the token: `initialize` has 20 KiB
PATIENCE: Final = 10.0  # seconds that a connection has to send the token
MAX_WAITING: Final = 16  # connections without the token; one more closes the oldest
_LONGEST: Final = 4096  # bytes of a token file
_RANDOM: Final = 32  # bytes of a new token
_FOR_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_LOCAL: Final = "localhost"


class TokenFileError(Exception):
    """The token file cannot be used; the message says why."""


@dataclass(frozen=True)
class Token:
    """The secret that a client must send before anything else."""

    _secret: bytes = field(repr=False)

    def admits(self, message: object) -> bool:
        """Return whether a message is an `initialize` with this token."""
        if inside(message, "method") != types.INITIALIZE or not is_id(inside(message, "id")):
            return False
        sent = inside(message, "params", "initializationOptions", "token")
        # also where nothing was sent: the answer takes the same time
        given = sent.encode(errors="surrogatepass") if isinstance(sent, str) else b""
        return hmac.compare_digest(given, self._secret)


def token_of(file: Path) -> Token:
    """Read the token in a file, made where there is none; raises TokenFileError."""
    try:
        return _read(file)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise TokenFileError(f"Cannot read the token file {file}: {error.strerror}") from None
    try:
        _make(file)
        return _read(file)
    except OSError as error:
        raise TokenFileError(f"Cannot make the token file {file}: {error.strerror}") from None


class Waiting:
    """The connections that have not sent the token yet: few, and not for long."""

    def __init__(self) -> None:
        self._hang_up: dict[object, Callable[[], None]] = {}

    def arrive(self, connection: object, hang_up: Callable[[], None]) -> None:
        """Count a connection; the oldest is closed where there are too many, each when it is late.

        A client sends the token at once, so it finds room among those that only hold the port.
        """
        if len(self._hang_up) >= MAX_WAITING:
            self._close(next(iter(self._hang_up)))
        self._hang_up[connection] = hang_up
        asyncio.get_running_loop().call_later(PATIENCE, self._close, connection)

    def has(self, connection: object) -> bool:
        """Return whether a connection has not sent the token yet."""
        return connection in self._hang_up

    def leave(self, connection: object) -> None:
        """Forget a connection: it has sent the token, or is closed."""
        self._hang_up.pop(connection, None)

    def _close(self, connection: object) -> None:
        hang_up = self._hang_up.pop(connection, None)
        if hang_up is not None:
            hang_up()


class Gate:
    """What a connection has to pass first; `opened` is called when it has."""

    def __init__(self, token: Token, opened: Callable[[], None]) -> None:
        self._token = token
        self._opened = opened
        self.is_open = False

    def admits(self, message: object) -> bool:
        """Return whether a message may be looked at, and open for the one with the token."""
        if not self.is_open and self._token.admits(message):
            self.is_open = True
            self._opened()
        return self.is_open


def names_this_server(host: str, bound: Collection[str]) -> bool:
    """Return whether a Host header names this machine's loopback or what the server is bound to.

    A page that had its own name resolve to this machine sends that name.
    """
    name = _without_port(host).lower().rstrip(".")
    if name == _LOCAL or name in {one.lower() for one in bound}:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _read(file: Path) -> Token:
    # no link, no pipe that nobody writes to; what is judged is the file that is read
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise TokenFileError(f"The token file {file} is not a plain file")
        if status.st_uid != os.geteuid():
            raise TokenFileError(f"The token file {file} belongs to another user")
        if status.st_mode & _FOR_OTHERS:
            raise TokenFileError(f"Others may open the token file {file}: chmod 600 {file}")
        secret = stream.read(_LONGEST + 1).strip()
    if not secret or len(secret) > _LONGEST:
        raise TokenFileError(f"The token file {file} must have 1 to {_LONGEST} bytes")
    return Token(secret)


def _make(file: Path) -> None:
    """Make the file whole: a server that starts at the same time reads all of it or nothing."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{secrets.token_urlsafe(_RANDOM)}\n")
        os.link(draft, file, follow_symlinks=False)
    except FileExistsError:
        pass  # another server was faster
    finally:
        draft.unlink()


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
