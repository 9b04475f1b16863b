"""Nobody talks over a port without the token, least of all a page in a browser."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from para_server.lsp.admission import MAX_UNADMITTED_BYTES, MAX_UNADMITTED_CONNECTIONS
from para_server.lsp.framing import MAX_MESSAGE_BYTES
from tests import wire
from tests.wire import Process, Wire, framed

HELLO = b'{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}'
Serve = Callable[..., Process]


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return tmp_path / "to ken"


@pytest.fixture
def start(environ: dict[str, str], tmp_path: Path) -> Iterator[Serve]:
    started: list[Process] = []

    def begin(*arguments: str, **extra: str) -> Process:
        log = tmp_path / f"stderr{len(started)}"
        own = environ | {"PARA_CONTAINER_ENABLED": "false"} | extra
        started.append(Process(own, log, *arguments))
        return started[-1]

    yield begin
    for process in started:
        process.popen.kill()
        process.popen.wait()


@pytest.fixture
def serve(start: Serve, token_file: Path) -> Serve:
    def begin(how: str = "--tcp", address: str = "127.0.0.1:0") -> Process:
        return start(how, address, "--token-file", str(token_file))

    return begin


def token(file: Path) -> str:
    wire.eventually(file.exists)
    return file.read_text().strip()


def introduced(client: Wire, file: Path) -> dict[str, Any]:
    return client.initialize(initializationOptions={"token": token(file)})


def said(process: Process) -> str:
    return process.stdio().log().strip()


@pytest.mark.parametrize("how", ["--tcp", "--ws"])
def test_without_a_token_file_nothing_listens(start: Serve, how: str) -> None:
    process = start(how, "127.0.0.1:0")
    assert process.exit_code() == 2
    assert "--token-file" in said(process)


def test_a_token_file_is_made_for_its_user_alone(serve: Serve, token_file: Path) -> None:
    one, two = serve(), serve()
    one.port(), two.port()
    status = token_file.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o600, os.geteuid())
    assert len(token(token_file)) >= 32
    assert [file.name for file in token_file.parent.iterdir() if "ken" in file.name] == ["to ken"]
    for process in (one, two):  # which began at the same time
        assert "result" in introduced(process.tcp(), token_file)
        assert token(token_file) not in said(process)


def open_to_others(file: Path) -> None:
    file.write_text("secret\n")
    file.chmod(0o640)


def a_link(file: Path) -> None:
    real = file.with_name("real")
    real.write_text("secret\n")
    real.chmod(0o600)
    file.symlink_to(real)


def a_folder(file: Path) -> None:
    file.mkdir(mode=0o700)


def a_pipe(file: Path) -> None:
    os.mkfifo(file, 0o600)


def empty(file: Path) -> None:
    file.touch(0o600)


def in_no_folder(file: Path) -> None:
    file.symlink_to(file.with_name("gone") / "token")


@pytest.mark.parametrize("lay", [open_to_others, a_link, a_folder, a_pipe, empty, in_no_folder])
def test_a_token_file_that_is_not_ones_own_is_refused(
    serve: Serve, token_file: Path, lay: Callable[[Path], None]
) -> None:
    lay(token_file)
    process = serve()
    assert process.exit_code() == 1
    line = said(process)
    assert "\n" not in line
    assert str(token_file) in line
    assert "secret" not in line


@pytest.mark.root
def test_a_token_file_of_another_user_is_refused(serve: Serve, token_file: Path) -> None:
    token_file.write_text("secret\n")
    token_file.chmod(0o600)
    os.chown(token_file, 12345, 12345)
    process = serve()
    assert process.exit_code() == 1
    assert "another user" in said(process)


@pytest.mark.parametrize("how", ["--tcp", "--ws"])
def test_a_port_that_is_taken_is_one_line(serve: Serve, how: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = serve(how, address)
        assert process.exit_code() == 1
    assert said(process) == f"para-server: Cannot listen on {address}: Address already in use"


def message(method: str, params: object = None, **more: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params, **more}).encode()


LIST = {"command": "para.list", "arguments": []}
BEFORE = {
    "no token": message("initialize", {}, id=1),
    "a wrong one": message("initialize", {"initializationOptions": {"token": "wrong"}}, id=1),
    "half a character": message("initialize", {"initializationOptions": {"token": "\ud800"}}, id=1),
    "a list as token": message("initialize", {"initializationOptions": {"token": [1]}}, id=1),
    "as a notification": message("initialize", {"initializationOptions": {"token": "wrong"}}),
    "a command": message("workspace/executeCommand", LIST, id=1),
    "shutdown": message("shutdown", id=1),
    "exit": message("exit"),
    "a cancellation": message("$/cancelRequest", {"id": 1}),
    "an answer": b'{"jsonrpc": "2.0", "id": 1, "result": null}',
    "a batch": b"[" + HELLO + b"]",
    "no JSON": b"{{",
    "too much": message("initialize", {"padding": "x" * MAX_UNADMITTED_BYTES}, id=1),
}


@pytest.mark.parametrize("first", BEFORE.values(), ids=BEFORE)
def test_whoever_has_no_token_is_refused_and_hung_up_on(
    serve: Serve, token_file: Path, first: bytes
) -> None:
    process = serve()
    stranger = process.tcp()
    right = message("initialize", {"initializationOptions": {"token": token(token_file)}}, id=2)
    with suppress(OSError):  # it may hang up before it has it all
        stranger.raw(framed(first) + framed(right))
    assert stranger.ended()
    assert not [answer for answer in stranger.heard if "result" in answer]
    assert len(stranger.heard) <= 1
    assert "result" in introduced(process.tcp(), token_file)


FOREIGN = {
    "a request": b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "one with a long first line": b"POST /" + b"a" * 9000 + b" HTTP/1.1\r\n",
    "another method": b"PROPFIND",
    "a header of a request": b"Referer: http://127.0.0.1/?content-length:60\r\n\r\n",
    "a header after a length": b"Content-Length: 65\r\nHost: localhost\r\n\r\n",
    "a length within a header": b"Content-Type: a content-length:65\r\n\r\n",
    "a header without end": b"Content-Type: " + b"a" * 9000,
    "many headers": b"Content-Type: a\r\n" * 20,
    "two lengths": b"Content-Length: 65\r\nContent-Length: 1\r\n\r\n",
    "a sign": b"Content-Length: +65\r\n\r\n",
    "a blank line": b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00",
}


@pytest.mark.parametrize("noise", FOREIGN.values(), ids=FOREIGN)
def test_nothing_but_the_header_of_a_message_is_taken(
    serve: Serve, token_file: Path, noise: bytes
) -> None:
    process = serve()
    stranger = process.tcp()
    right = message("initialize", {"initializationOptions": {"token": token(token_file)}}, id=2)
    with suppress(OSError):
        stranger.raw(noise + framed(right))
    assert stranger.ended()
    assert not stranger.heard
    assert "result" in introduced(process.tcp(), token_file)


def test_a_request_line_closes_before_its_end_has_come(serve: Serve) -> None:
    stranger = serve().tcp()
    stranger.raw(b"GET /")
    assert stranger.ended()


def test_after_the_token_headers_are_as_strict_and_messages_may_be_large(
    serve: Serve, token_file: Path
) -> None:
    client = serve().tcp()
    assert "result" in introduced(client, token_file)
    assert (
        client.ask("no/such", {"padding": "x" * (2 * MAX_UNADMITTED_BYTES)})["error"]["code"]
        == -32601
    )
    client.raw(b"GET / HTTP/1.1\r\n\r\n")
    assert client.ended()


def test_those_who_only_hold_the_port_make_room(serve: Serve, token_file: Path) -> None:
    process = serve()
    silent = [process.tcp() for _ in range(MAX_UNADMITTED_CONNECTIONS + 3)]
    assert "result" in introduced(process.tcp(), token_file)
    assert all(stranger.ended() for stranger in silent[:4])
    # the others are closed because they are late
    assert all(stranger.ended() for stranger in silent[4:])


def ws(process: Process, **how: Any) -> ClientConnection:
    connected: ClientConnection = connect(f"ws://127.0.0.1:{process.port()}", **how)
    return connected


def test_websockets_serve_those_who_have_the_token(serve: Serve, token_file: Path) -> None:
    process = serve("--ws")
    right = message("initialize", {"initializationOptions": {"token": token(token_file)}}, id=1)
    with ws(process) as one, ws(process) as two:
        for client in (one, two):
            client.send(right.decode())
            assert "result" in json.loads(client.recv(wire.DEADLINE))
        one.send("{{")
        assert json.loads(one.recv(wire.DEADLINE))["error"]["code"] == -32700
        with suppress(ConnectionClosedError):  # it may hang up before it has it all
            two.send(" " * (MAX_MESSAGE_BYTES + 1))
        with pytest.raises(ConnectionClosedError, match="1009"):
            two.recv(wire.DEADLINE)
        one.send(right.decode())
        assert json.loads(one.recv(wire.DEADLINE))["error"]["code"] == -32600
    process.popen.terminate()
    assert process.exit_code() == 128 + signal.SIGTERM


@pytest.mark.parametrize("first", BEFORE.values(), ids=BEFORE)
def test_websockets_hang_up_on_those_without(serve: Serve, token_file: Path, first: bytes) -> None:
    process = serve("--ws")
    right = message("initialize", {"initializationOptions": {"token": token(token_file)}}, id=2)
    answers = []
    with ws(process) as stranger, suppress(ConnectionClosed):
        stranger.send(first.decode())
        stranger.send(right.decode())
        while True:
            answers.append(json.loads(stranger.recv(wire.DEADLINE)))
    assert len(answers) <= 1
    assert all("error" in answer for answer in answers)


@pytest.mark.parametrize("origin", ["https://evil.test", "http://127.0.0.1", "null"])
def test_websockets_refuse_pages(serve: Serve, origin: str) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        ws(serve("--ws"), origin=Origin(origin))


def test_websockets_unpack_nothing(serve: Serve) -> None:
    with ws(serve("--ws"), compression="deflate") as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers


def upgraded(process: Process, *hosts: str) -> int:
    """Send a handshake with these Host headers, and give the status of the answer."""
    lines = [
        "GET / HTTP/1.1",
        *(f"Host: {host}" for host in hosts),
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    with socket.create_connection(("127.0.0.1", process.port()), wire.DEADLINE) as stranger:
        stranger.sendall("\r\n".join([*lines, "", ""]).encode())
        return int(stranger.recv(1000).split()[1])


def test_websockets_take_only_hosts_of_this_machine(serve: Serve) -> None:
    process = serve("--ws")
    port = process.port()
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "LOCALHOST", f"[::1]:{port}"):
        assert upgraded(process, host) == 101, host
    for host in ("evil.test", f"evil.test:{port}", "localhost.evil.test", "127.0.0.1.evil.test"):
        assert upgraded(process, host) == 403, host
    assert upgraded(process, "localhost", "evil.test") >= 400
    assert upgraded(process) >= 400
