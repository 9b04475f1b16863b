"""Test the server byte by byte: requests, cancellation, malformed input, shutdown."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import para_server.commands.all  # noqa: F401 # fills the registry
from para_server.lsp.framing import MAX_MESSAGE_BYTES
from para_server.lsp.protocol import MAX_SENT_BYTES
from para_server.lsp.server import Server
from para_server.registry import COMMANDS
from para_server.sessions.present import MAX_LISTED_PROMPT
from tests import scratch, wire
from tests.scratch import Repository
from tests.wire import Process, Wire, framed

SLOW_HOOK = """#!/bin/sh
echo $PPID > "{folder}/drafted"
mv "{folder}/drafted" "{folder}/begun"
while [ -e "{folder}/begun" ]; do sleep 0.02; done
"""


@pytest.fixture
def serve(
    environ: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []
    log = tmp_path / "stderr"

    def start(*arguments: str) -> Process:
        offline = {"PARA_CONTAINER_ENABLED": "false"}
        started.append(Process(environ | offline, log, *arguments))
        return started[-1]

    yield start
    for process in started:
        process.popen.kill()
        process.popen.wait()
    if getattr(request.node, "failed", False):
        print(log.read_text())


@pytest.fixture
def process(serve: Callable[..., Process]) -> Process:
    return serve()


@pytest.fixture
def client(process: Process) -> Wire:
    """An initialized client."""
    connected = process.stdio()
    connected.initialize()
    return connected


class SlowCommand:
    """A running command: a git hook blocks the checkout until release()."""

    def __init__(self, repo: Repository, folder: Path) -> None:
        self._repo = repo
        self._folder = folder
        self._before = (repo.refs(), repo.git("worktree", "list"))
        folder.mkdir()
        hook = repo.path / ".git" / "hooks" / "post-checkout"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(SLOW_HOOK.format(folder=folder))
        hook.chmod(0o755)

    def start(self, client: Wire, progress: str | None = None) -> int:
        params = {"name": "slow", "repo": str(self._repo.path)}
        number = client.command("para.start", params, progress=progress)
        wire.eventually((self._folder / "begun").exists)
        return number

    def wait_for_git_end(self) -> None:
        """Wait until the git that runs the hook has ended, then release the hook."""
        pid = (self._folder / "begun").read_text().strip()
        wire.eventually(lambda: not Path(f"/proc/{pid}").exists())
        self.release()

    def release(self) -> None:
        (self._folder / "begun").unlink()

    def assert_rolled_back(self, home: Path) -> None:
        assert (self._repo.refs(), self._repo.git("worktree", "list")) == self._before
        assert not list(home.glob("sessions/*.json"))
        assert not list(home.glob("work/*"))


@pytest.fixture
def slow(repo: Repository, tmp_path: Path) -> SlowCommand:
    return SlowCommand(repo, tmp_path / "hook")


def get_error_code(answer: dict[str, Any]) -> int | None:
    error_code = answer.get("error", {}).get("code")
    return error_code if error_code is None else int(error_code)


def is_alive(client: Wire) -> bool:
    return get_error_code(client.ask("no/such")) == -32601


def test_initialize_names_server_and_commands(process: Process) -> None:
    result = process.stdio().initialize()["result"]
    assert result["serverInfo"]["name"] == "para-server"
    advertised = result["capabilities"]["executeCommandProvider"]["commands"]
    assert sorted(advertised) == sorted(COMMANDS)
    assert "textDocumentSync" not in result["capabilities"]


@pytest.mark.parametrize(
    "params",
    [
        {"initializationOptions": 5},
        {"initializationOptions": {"settings": [], "trusted": "yes", "notifications": {}}},
        {"initializationOptions": {"settings": {"container": None}}},
        {"capabilities": [], "workspaceFolders": [None, {"uri": 3}, {"uri": "file://[/x"}]},
        {"rootUri": "file:///a%00b"},
        {"rootUri": "untitled:x", "capabilities": {"workspace": None, "experimental": []}},
    ],
)
def test_malformed_initialize_params_are_ignored(process: Process, params: dict[str, Any]) -> None:
    client = process.stdio()
    assert "result" in client.initialize(**params)
    assert get_error_code(client.answer(client.command("para.show"))) == -32602
    assert is_alive(client)


def test_unknown_method_and_command_are_errors(client: Wire) -> None:
    assert is_alive(client)
    answer = client.answer(client.command("para.nonsense"))
    assert get_error_code(answer) == -32602
    assert answer["error"]["data"]["slug"] == "command.unknown"


@pytest.mark.parametrize(
    "params",
    [
        None,
        [],
        {},
        {"command": 5},
        {"command": "para.show", "arguments": {"name": "x"}},
        {"command": "para.show", "arguments": [1]},
        {"command": "para.show", "arguments": [{}, {}]},
        {"command": "para.show", "arguments": [{"nonsense": 1}]},
        {"command": "para.show", "arguments": [{"name": "../x"}], "workDoneToken": {"a": 1}},
    ],
)
def test_invalid_params_are_errors(client: Wire, params: object) -> None:
    answer = client.ask("workspace/executeCommand", params)
    assert get_error_code(answer) == -32602
    assert answer["error"]["data"]["slug"] == "command.invalid-params"


def test_requests_before_initialize_are_refused(process: Process) -> None:
    client = process.stdio()
    assert get_error_code(client.answer(client.command("para.list"))) == -32002
    assert get_error_code(client.ask("shutdown")) == -32002
    assert "result" in client.initialize()
    assert get_error_code(client.ask("initialize", {})) == -32600


def test_requests_after_shutdown_are_refused(process: Process) -> None:
    client = process.stdio()
    client.initialize()
    assert client.ask("shutdown")["result"] is None
    assert get_error_code(client.answer(client.command("para.list"))) == -32802
    assert get_error_code(client.ask("no/such")) == -32600
    client.notify("exit")
    assert process.exit_code() == 0


def test_exit_without_shutdown_exits_with_1(process: Process, client: Wire) -> None:
    client.notify("exit")
    assert process.exit_code() == 1


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        (b"{{{{", -32700),
        (b"\xff\xfe\xfd", -32700),
        (b"[" * 200_000, -32700),
        (b'{"a":' * 50_000, -32700),
        (b"1" * 10_000, -32700),
        (b"null", -32600),
        (b"[]", -32600),
        (b"{}", -32600),
        (b'{"jsonrpc": "1.0", "method": "exit"}', -32600),
        (b'{"jsonrpc": "2.0", "id": null, "method": "shutdown"}', -32600),
        (b'{"jsonrpc": "2.0", "id": [1], "method": "shutdown"}', -32600),
        (b'{"jsonrpc": "2.0", "id": true, "method": "shutdown"}', -32600),
        (b'{"jsonrpc": "2.0", "method": 5}', -32600),
    ],
)
def test_invalid_messages_are_refused(client: Wire, body: bytes, refused: int) -> None:
    client.raw(framed(body))
    assert get_error_code(client.answer(None)) == refused
    assert is_alive(client)


@pytest.mark.parametrize(
    "noise",
    [
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\x00\xff" * 50_000,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        framed(b'{"jsonrpc": "2.0", "id": 99, "result": 1}'),
        framed(b'{"jsonrpc": "2.0", "id": "x", "error": "?"}'),
        framed(b'{"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 99}}'),
        framed(b'{"jsonrpc": "2.0", "method": "$/cancelRequest", "params": [{}]}'),
        framed(b'{"jsonrpc": "2.0", "method": "window/workDoneProgress/cancel", "params": 3}'),
        framed(b'{"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": {}}'),
        framed(b'{"jsonrpc": "2.0", "method": "workspace/didChangeConfiguration"}'),
        framed(b'{"jsonrpc": "2.0", "method": "workspace/didChangeWorkspaceFolders"}'),
    ],
)
def test_noise_is_ignored(client: Wire, noise: bytes) -> None:
    client.raw(noise)
    assert is_alive(client)


@pytest.mark.parametrize("length", [b"-1", b"abc", b"", b"9" * 30])
def test_invalid_content_lengths_are_refused(client: Wire, length: bytes) -> None:
    client.raw(b"Content-Length: " + length + b"\r\n\r\n")
    assert get_error_code(client.answer(None)) == -32700
    assert is_alive(client)


def test_too_large_message_is_skipped(client: Wire, process: Process) -> None:
    size = MAX_MESSAGE_BYTES + 1
    client.answer(client.command("para.list"))  # loads the modules
    client.raw(b"Content-Length: %d\r\n\r\n" % size)
    assert get_error_code(client.answer(None)) == -32600
    before = get_memory(process)
    sent = 0
    while sent < size:
        part = min(1 << 20, size - sent)
        client.raw(b" " * part)
        sent += part
    assert is_alive(client)
    assert get_memory(process) < before + (MAX_MESSAGE_BYTES >> 1)


def get_memory(process: Process) -> int:
    file = Path(f"/proc/{process.popen.pid}/statm")
    return int(file.read_text().split()[1]) * 4096 if file.exists() else 0


def test_messages_may_arrive_byte_by_byte(client: Wire) -> None:
    one = json.dumps({"jsonrpc": "2.0", "id": "ü", "method": "no/such"}, ensure_ascii=False)
    for byte in framed(one.encode()):
        client.raw(bytes([byte]))
    assert get_error_code(client.answer("ü")) == -32601


def test_every_request_gets_one_response(client: Wire) -> None:
    show = {"command": "para.show", "arguments": []}
    method = "workspace/executeCommand"
    client.send(*({"id": f"r{n}", "method": method, "params": show} for n in range(100)))
    for number in range(100):
        client.until(lambda m, number=number: m.get("id") == f"r{number}")  # type: ignore[misc] # mypy drops the default
    assert is_alive(client)
    answered = [m["id"] for m in client.heard if str(m.get("id")).startswith("r")]
    assert sorted(answered) == sorted({f"r{n}" for n in range(100)})


def test_cancelled_command_is_rolled_back_before_the_response(
    client: Wire, slow: SlowCommand, home: Path
) -> None:
    number = slow.start(client)
    client.notify("$/cancelRequest", {"id": number})
    client.notify("$/cancelRequest", {"id": number})
    assert is_alive(client)  # the cancellation is processed
    assert get_error_code(client.answer(number)) == -32800
    slow.assert_rolled_back(home)


def test_cancelled_progress_ends_before_the_response(
    client: Wire, slow: SlowCommand, home: Path
) -> None:
    number = slow.start(client, progress="t")
    client.notify("window/workDoneProgress/cancel", {"token": "t"})
    assert is_alive(client)
    assert get_error_code(client.answer(number)) == -32800
    slow.assert_rolled_back(home)
    values = [m["params"]["value"] for m in client.heard if m.get("method") == "$/progress"]
    assert (values[0]["kind"], values[0]["cancellable"]) == ("begin", True)
    assert values[0]["title"] == COMMANDS["para.start"].title
    assert values[-1]["kind"] == "end"
    assert [value["kind"] for value in values[1:-1]] == ["report"] * (len(values) - 2)


def test_request_can_be_cancelled_before_its_first_step(
    client: Wire, repo: Repository, home: Path
) -> None:
    params = {"command": "para.start", "arguments": [{"repo": str(repo.path)}], "workDoneToken": 1}
    client.send(
        {"id": "a", "method": "workspace/executeCommand", "params": params},
        {"method": "$/cancelRequest", "params": {"id": "a"}},
        {"id": "b", "method": "workspace/executeCommand", "params": params},
        {"method": "window/workDoneProgress/cancel", "params": {"token": 1}},
    )
    assert [get_error_code(client.answer(number)) for number in "ab"] == [-32800, -32800]
    assert not list(home.glob("sessions/*.json"))


def test_shutdown_cancels_running_commands(client: Wire, slow: SlowCommand, home: Path) -> None:
    number = slow.start(client)
    down = client.request("shutdown")
    assert get_error_code(client.ask("no/such")) == -32600
    assert get_error_code(client.answer(number)) == -32802
    assert client.answer(down)["result"] is None
    slow.assert_rolled_back(home)


def test_git_stops_with_a_killed_server(
    client: Wire, process: Process, serve: Callable[..., Process], slow: SlowCommand, home: Path
) -> None:
    slow.start(client)
    process.popen.kill()
    slow.wait_for_git_end()
    after = serve().stdio()
    after.initialize()
    wire.eventually(lambda: not list(home.glob("sessions/*.json")))
    slow.assert_rolled_back(home)


def test_server_stops_when_stdin_closes(
    client: Wire, process: Process, slow: SlowCommand, home: Path
) -> None:
    slow.start(client)
    process.end_of_input()
    assert process.exit_code() == 0
    slow.assert_rolled_back(home)


def test_server_stops_when_stdin_closes_before_initialize(process: Process) -> None:
    process.end_of_input()
    assert process.exit_code() == 0


def test_server_stops_when_the_editor_is_killed_with_stdin_open(
    process: Process, slow: SlowCommand, home: Path
) -> None:
    with subprocess.Popen(["sleep", "600"]) as editor:
        client = process.stdio()
        client.initialize(processId=editor.pid)
        slow.start(client)
        editor.kill()
    assert process.exit_code() == 0
    slow.assert_rolled_back(home)


def test_unknown_process_id_does_not_stop_the_server(process: Process) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    client = process.stdio()
    client.initialize(processId=gone.pid)
    assert is_alive(client)


def test_long_prompts_are_cut_in_lists(client: Wire, repo: Repository) -> None:
    prompt = "true # " + "x" * 12_000_000
    for number in range(6):
        params = {"name": f"big{number}", "prompt": prompt, "repo": str(repo.path)}
        made = client.answer(client.command("para.dispatch", {**params, "type": "worktree"}))
        assert made["result"]["prompt"] == prompt
    listed = client.answer(client.command("para.list", {}))["result"]["sessions"]
    assert {one["prompt"] for one in listed} == {f"{prompt[: MAX_LISTED_PROMPT - 1]}…"}
    whole = client.answer(client.command("para.show", {"name": "big0", "repo": str(repo.path)}))
    assert whole["result"]["prompt"] == prompt


class RecordingWriter:
    """Records messages in this process, since no request has such a large response."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        self.messages.append(json.loads(data))

    def close(self) -> None:
        """End."""


async def test_too_large_response_is_an_error() -> None:
    writer = RecordingWriter()
    protocol = Server(lambda: pytest.fail("no command runs"), writer, asyncio.Event()).protocol
    protocol.notify("para/sessionsChanged", "x" * MAX_SENT_BYTES)
    assert not writer.messages
    protocol._respond(1, "result", "x" * MAX_SENT_BYTES)
    (answer,) = writer.messages
    assert (answer["id"], get_error_code(answer)) == (1, -32803)
    assert str(MAX_SENT_BYTES) in answer["error"]["message"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_roll_back_running_commands(
    client: Wire, process: Process, slow: SlowCommand, home: Path, number: signal.Signals
) -> None:
    request = slow.start(client)
    process.popen.send_signal(number)
    assert get_error_code(client.answer(request)) == -32802
    assert process.exit_code() == 128 + number
    slow.assert_rolled_back(home)


def test_settings_are_requested_before_the_first_command(
    process: Process, repo: Repository
) -> None:
    client = process.stdio()
    client.initialize(
        capabilities={"workspace": {"configuration": True}},
        workspaceFolders=[{"uri": repo.path.as_uri(), "name": "repo"}],
    )
    number = client.command("para.start", {"name": "x"})
    request = client.until(lambda m: m.get("method") == "workspace/configuration")
    assert request["params"]["items"] == [{"section": "para"}]
    settings = {"git": {"branchPrefix": "mine/", "objects": None}, "agent": None, "server": {}}
    client.send({"id": request["id"], "result": [settings]})
    assert client.answer(number)["result"]["branch"] == "mine/x"


def test_each_folder_has_its_own_settings(
    process: Process, repo: Repository, tmp_path: Path
) -> None:
    other = scratch.make(tmp_path / "other")
    (tmp_path / "link").symlink_to(repo.path)
    folders = [(tmp_path / "link").as_uri(), (other.path / "..").as_uri()]
    client = process.stdio()
    client.initialize(
        capabilities={"workspace": {"configuration": True}},
        workspaceFolders=[{"uri": uri, "name": "x"} for uri in folders],
    )
    request = client.until(lambda m: m.get("method") == "workspace/configuration")
    scoped = [{"scopeUri": uri, "section": "para"} for uri in folders]
    assert request["params"]["items"] == [{"section": "para"}, *scoped]
    prefixes = ("all/", "one/", "two/")
    client.send({"id": request["id"], "result": [{"git.branchPrefix": one} for one in prefixes]})
    branches = [
        client.answer(client.command("para.start", {"name": "x", "repo": str(path)}))["result"]
        for path in (repo.path, other.path)
    ]
    assert [one["branch"] for one in branches] == ["one/x", "two/x"]


def test_changes_are_sent_on_request(process: Process, repo: Repository) -> None:
    client = process.stdio()
    client.initialize(
        initializationOptions={"notifications": True},
        workspaceFolders=[{"uri": repo.path.as_uri(), "name": "repo"}],
    )
    client.until(lambda m: m.get("method") == "para/sessionsChanged")
    number = client.command("para.start", {"name": "x"})
    client.until(
        lambda m: (
            m.get("method") == "para/sessionsChanged"
            and [s["state"] for s in m["params"]["sessions"]] == ["running"]
        )
    )
    assert [m for m in client.heard if m.get("id") == number] or client.answer(number)


def test_tcp_serves_several_clients(
    serve: Callable[..., Process], slow: SlowCommand, home: Path, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    process = serve("--tcp", "127.0.0.1:0", "--token-file", str(token_file))
    one, two = process.tcp(), process.tcp()
    for client in (one, two):
        client.initialize(initializationOptions={"token": token_file.read_text().strip()})
    number = slow.start(one)
    two.notify("exit")
    assert two.ended()
    process.popen.terminate()
    assert get_error_code(one.answer(number)) == -32802
    assert process.exit_code() == 128 + signal.SIGTERM
    slow.assert_rolled_back(home)
