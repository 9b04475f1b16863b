"""A proxy between para and the engine that makes the k-th request fail."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

# before or after the engine did it, with a 500, by an answer that never comes; late is an engine
# that does not answer either, and does it only when the client has hung up
# and deaf is one that neither does nor answers anything from then on; one that halts begins to
# answer, and says no more
How = Literal["before", "after", "500", "hangs", "late", "deaf", "halts"]
WAYS: tuple[How, ...] = ("before", "after", "500", "hangs", "late")

_LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding: *chunked", re.IGNORECASE | re.MULTILINE)
_REFUSAL = b'{"message": "a fault that a test made"}'
_SWITCHED = 101
_BODILESS = (204, 304)
_LATE = 30  # seconds: a client that never hangs up shall not stop the tests


class Proxy:
    """Listens on `address`; `failing` arms it, `seen` are the requests since then."""

    def __init__(self, path: Path, engine: str) -> None:
        self.address = f"unix://{path}"
        self.seen: list[str] = []
        self.hit: str | None = None  # the request that was made to fail
        self._engine = engine.removeprefix("unix://")
        self._lock = threading.Lock()
        self._fault: tuple[int | str, How] | None = None
        self._over = threading.Event()  # nothing is done late any more
        self._over.set()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    @contextlib.contextmanager
    def failing(self, which: int | str, how: How) -> Iterator[Proxy]:
        """Make the k-th request or those of a path fail, and wait until what is late is done."""
        with self._lock:
            self.seen, self.hit, self._fault = [], None, (which, how)
        try:
            yield self
        finally:
            with self._lock:
                self._fault = None
            self._over.wait(_LATE)

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        engine = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError, EOFError), client, engine:
            engine.connect(self._engine)
            asked, told = client.makefile("rb"), engine.makefile("rb")
            while self._one(client, engine, asked, told):
                pass

    def _one(
        self, client: socket.socket, engine: socket.socket, asked: BinaryIO, told: BinaryIO
    ) -> bool:
        """Pass one request on, or not; tell whether there may be more on this connection."""
        head = _head(asked)
        how = self._verdict(head.split(b"\r\n", 1)[0].decode(errors="replace"))
        request = head + b"".join(_body(head, asked))
        if how in {"before", "deaf", "500"}:
            return _undone(how, client, asked)
        if how == "late":
            self._late(asked, engine, told, request)
            return False
        engine.sendall(request)
        answer = _head(told)
        status = int(answer.split(b" ", 2)[1])
        if how in {None, "halts"}:
            client.sendall(answer)
        switched = status == _SWITCHED
        if switched and how is None:
            threading.Thread(target=_pump, args=(asked, engine), daemon=True).start()
        bodiless = status in _BODILESS or head.startswith(b"HEAD ")
        for part in () if bodiless else _body(answer, told, endless=True):
            if how is None:
                client.sendall(part)
        if how in {"hangs", "halts"}:
            asked.read(1)
        if switched:
            client.shutdown(socket.SHUT_RDWR)
        return how is None and not switched

    def _late(self, asked: BinaryIO, engine: socket.socket, told: BinaryIO, request: bytes) -> None:
        self._over.clear()
        try:
            asked.read(1)
            engine.sendall(request)
            _head(told)
        finally:
            self._over.set()

    def _verdict(self, line: str) -> How | None:
        with self._lock:
            self.seen.append(line)
            if self._fault is None:
                return None
            which, how = self._fault
            if isinstance(which, str):
                fails = which in line
            else:
                since = len(self.seen) - 1 - which
                fails = since == 0 or (since > 0 and how == "deaf")
            if not fails:
                return None
            self.hit = line
            return how


def _undone(how: How | None, client: socket.socket, asked: BinaryIO) -> bool:
    """Leave a request undone; tell whether there may be more on this connection."""
    if how == "deaf":
        asked.read(1)
    if how == "500":
        client.sendall(
            b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(_REFUSAL), _REFUSAL)
        )
    return how == "500"


def _head(stream: BinaryIO) -> bytes:
    lines = []
    while (line := stream.readline()) not in {b"\r\n", b""}:
        lines.append(line)
    if not line:
        raise EOFError
    return b"".join(lines) + line


def _body(head: bytes, stream: BinaryIO, *, endless: bool = False) -> Iterator[bytes]:
    """Give the parts of a body; where no length is told, a response lasts until the end."""
    length = _LENGTH.search(head)
    if _CHUNKED.search(head):
        while True:
            size = stream.readline()
            part = stream.read(int(size, 16) + 2)
            yield size + part
            if int(size, 16) == 0:
                return
    elif length:
        yield stream.read(int(length[1]))
    elif endless:
        while part := stream.read1(65536):  # type: ignore[attr-defined] # what makefile gives
            yield part


def _pump(source: BinaryIO, target: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        while part := source.read1(65536):  # type: ignore[attr-defined] # what makefile gives
            target.sendall(part)
