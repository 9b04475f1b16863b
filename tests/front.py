"""A front before the engine: it demands TLS or another API, or answers by itself."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_VERSION: Final = re.compile(rb"^([A-Z]+) /v(\d+)\.(\d+)(/[^ ]*)", re.MULTILINE)
_UPGRADE: Final = re.compile(rb"^upgrade:", re.IGNORECASE | re.MULTILINE)
_KEPT: Final = re.compile(rb"^connection: *keep-alive\r\n", re.IGNORECASE | re.MULTILINE)
# what lets a server reach a port without TLS, also where the engine behind is reached with it
WITHOUT_TLS: Final = {"DOCKER_TLS_VERIFY": "", "DOCKER_TLS": "", "DOCKER_CERT_PATH": ""}


@dataclass
class Front:
    """Passes each request on, unless `answers` has one for its path; `seen` are the first lines.

    With `oldest` it refuses older versions of the API as an engine does, and says in `version`
    which it has.
    """

    engine: str
    version: dict[str, str] | None = None
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def on_socket(self, path: Path) -> str:
        """Listen on a socket; gives the address."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(64)
        self._start(listener, None)
        return f"unix://{path}"

    def on_port(self, tls: ssl.SSLContext | None = None) -> int:
        """Listen on a loopback port; gives its number."""
        listener = socket.create_server(("127.0.0.1", 0))
        self._start(listener, tls)
        return int(listener.getsockname()[1])

    def requests(self, path: str) -> list[str]:
        """List the requests that were for a path."""
        return [line for line in self.seen if path in line]

    def _start(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        threading.Thread(target=self._accept, args=(listener, tls), daemon=True).start()

    def _accept(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=self._serve, args=(client, tls), daemon=True).start()

    def _serve(self, plain: socket.socket, tls: ssl.SSLContext | None) -> None:
        with contextlib.suppress(OSError):
            client = tls.wrap_socket(plain, server_side=True) if tls else plain
            with client, _reached(self.engine) as engine:
                self._one(client, engine)

    def _one(self, client: socket.socket, engine: socket.socket) -> None:
        """Serve one request: the connection is closed after it, so that every request is seen."""
        head = b""
        while b"\r\n\r\n" not in head:
            part = client.recv(65536)
            if not part:
                return
            head += part
        head, _, body = head.partition(b"\r\n\r\n")
        line = head.split(b"\r\n", 1)[0].decode()
        self.seen.append(line)
        answer = self._answer(head, line)
        if answer is not None:
            client.sendall(_response(*answer))
            return
        if self.version is not None:  # the engine behind has another API: its newest
            head = _VERSION.sub(rb"\1 \4", head, count=1)
        head = _KEPT.sub(b"", head + b"\r\n")
        if not _UPGRADE.search(head):
            head += b"Connection: close\r\n"
        engine.sendall(head + b"\r\n" + body)
        _exchange(client, engine)

    def _answer(self, head: bytes, line: str) -> tuple[int, str] | None:
        if self.version is not None:
            if " /version " in line:
                return 200, json.dumps(self.version)
            found = _VERSION.match(head)
            oldest = self.version.get("MinAPIVersion", "1.24")
            least = tuple(int(part) for part in oldest.split("."))
            if found and (int(found[2]), int(found[3])) < least:
                said = f"client version {int(found[2])}.{int(found[3])} is too old. "
                return 400, json.dumps({"message": f"{said}Minimum supported API is {oldest}"})
        for path, answer in self.answers.items():
            if re.search(path, line):
                return answer
        return None


@contextlib.contextmanager
def _reached(engine: str) -> Iterator[socket.socket]:
    """Connect to the engine; to one at an address as docker does, which has the certificates."""
    if engine.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(engine.removeprefix("unix://"))
            yield connection
        return
    connection, end = socket.socketpair()
    dial = ("docker", "--host", engine, "system", "dial-stdio")
    with end:
        docker = subprocess.Popen(dial, stdin=end.fileno(), stdout=end.fileno())
    with docker, connection:
        yield connection


def certificates(folder: Path) -> ssl.SSLContext:
    """Make an authority and a client's certificate in a folder; gives the context of a server."""
    folder.mkdir(parents=True)
    script = """
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -days 2 -subj /CN=ca
    for name in server client; do
      openssl req -newkey rsa:2048 -nodes -keyout $name-key.pem -out $name.csr -subj /CN=$name
      printf 'subjectAltName=IP:127.0.0.1' > $name.ext
      openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial \
        -out $name.pem -days 2 -extfile $name.ext
    done
    mv client.pem cert.pem; mv client-key.pem key.pem
    """
    subprocess.run(["sh", "-ec", script], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _response(status: int, body: str) -> bytes:
    content = body.encode()
    return (
        b"HTTP/1.1 %d Told\r\nContent-Type: application/json\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (status, len(content), content)
    )


def _exchange(client: socket.socket, engine: socket.socket) -> None:
    """Pass on what both say until the engine has no more to say; one thread, as TLS wants it."""
    others = {client: engine, engine: client}
    while engine in others:
        pending = isinstance(client, ssl.SSLSocket) and client in others and client.pending()
        ready = [client] if pending else select.select(list(others), [], [])[0]
        for one in ready:
            part = one.recv(65536)
            if part:
                others[one].sendall(part)
                continue
            del others[one]
            if one is client:
                engine.shutdown(socket.SHUT_WR)
