"""What a client may rely on, and what no client can break, by the byte."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import para_server.commands.all  # noqa: F401 # fills the table
from para_server.lsp.framing import MAX_MESSAGE_BYTES
from para_server.lsp.protocol import MAX_SENT_BYTES
from para_server.lsp.server import Server
from para_server.registry import COMMANDS
from para_server.sessions.present import MAX_LISTED_PROMPT
from tests import scratch, wire
from tests.scratch import Repository
from tests.wire import Process, Wire, framed

SLOW = """#!/bin/sh
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
        without = {"PARA_CONTAINER_ENABLED": "false"}
        started.append(Process(environ | without, log, *arguments))
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
    """A client that is initialized."""
    connected = process.stdio()
    connected.initialize()
    return connected


class Slow:
    """A command under way: the repository's own hook holds up the checkout, until it is let go."""

    def __init__(self, repo: Repository, folder: Path) -> None:
        self._repo = repo
        self._folder = folder
        self._before = (repo.refs(), repo.git("worktree", "list"))
        folder.mkdir()
        hook = repo.path / ".git" / "hooks" / "post-checkout"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(SLOW.format(folder=folder))
        hook.chmod(0o755)

    def begin(self, client: Wire, progress: str | None = None) -> int:
        params = {"name": "slow", "repo": str(self._repo.path)}
        number = client.command("para.start", params, progress=progress)
        wire.eventually((self._folder / "begun").exists)
        return number

    def git_ended(self) -> None:
        """Wait until the git that runs the hook has ended, and only then let the hook go."""
        told = (self._folder / "begun").read_text().strip()
        wire.eventually(lambda: not Path(f"/proc/{told}").exists())
        self.let_go()

    def let_go(self) -> None:
        (self._folder / "begun").unlink()

    def left_nothing(self, home: Path) -> None:
        assert (self._repo.refs(), self._repo.git("worktree", "list")) == self._before
        assert not list(home.glob("sessions/*.json"))
        assert not list(home.glob("work/*"))


@pytest.fixture
def slow(repo: Repository, tmp_path: Path) -> Slow:
    return Slow(repo, tmp_path / "hook")


def code(answer: dict[str, Any]) -> int | None:
    found = answer.get("error", {}).get("code")
    return found if found is None else int(found)


def alive(client: Wire) -> bool:
    return code(client.ask("no/such")) == -32601


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
def test_malformed_introductions_do_no_harm(process: Process, params: dict[str, Any]) -> None:
    client = process.stdio()
    assert "result" in client.initialize(**params)
    assert code(client.answer(client.command("para.show"))) == -32602
    assert alive(client)


def test_unknown_method_and_command(client: Wire) -> None:
    assert alive(client)
    answer = client.answer(client.command("para.nonsense"))
    assert code(answer) == -32602
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
def test_params_that_do_not_fit(client: Wire, params: object) -> None:
    answer = client.ask("workspace/executeCommand", params)
    assert code(answer) == -32602
    assert answer["error"]["data"]["slug"] == "command.invalid-params"


def test_before_initialize_nothing_is_done(process: Process) -> None:
    client = process.stdio()
    assert code(client.answer(client.command("para.list"))) == -32002
    assert code(client.ask("shutdown")) == -32002
    assert "result" in client.initialize()
    assert code(client.ask("initialize", {})) == -32600


def test_after_shutdown_only_exit_is_done(process: Process) -> None:
    client = process.stdio()
    client.initialize()
    assert client.ask("shutdown")["result"] is None
    assert code(client.answer(client.command("para.list"))) == -32802
    assert code(client.ask("no/such")) == -32600
    client.notify("exit")
    assert process.exit_code() == 0


def test_exit_without_shutdown_is_an_error(process: Process, client: Wire) -> None:
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
def test_what_is_no_message_is_refused(client: Wire, body: bytes, refused: int) -> None:
    client.raw(framed(body))
    assert code(client.answer(None)) == refused
    assert alive(client)


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
def test_noise_is_dropped(client: Wire, noise: bytes) -> None:
    client.raw(noise)
    assert alive(client)


@pytest.mark.parametrize("length", [b"-1", b"abc", b"", b"9" * 30])
def test_wrong_lengths_are_refused(client: Wire, length: bytes) -> None:
    client.raw(b"Content-Length: " + length + b"\r\n\r\n")
    assert code(client.answer(None)) == -32700
    assert alive(client)


def test_a_message_that_is_too_large_is_skipped(client: Wire, process: Process) -> None:
    size = MAX_MESSAGE_BYTES + 1
    client.answer(client.command("para.list"))  # it has loaded all that it needs
    client.raw(b"Content-Length: %d\r\n\r\n" % size)
    assert code(client.answer(None)) == -32600
    before = memory(process)
    sent = 0
    while sent < size:
        part = min(1 << 20, size - sent)
        client.raw(b" " * part)
        sent += part
    assert alive(client)
    assert memory(process) < before + (MAX_MESSAGE_BYTES >> 1)


def memory(process: Process) -> int:
    file = Path(f"/proc/{process.popen.pid}/statm")
    return int(file.read_text().split()[1]) * 4096 if file.exists() else 0


def test_messages_may_come_in_any_pieces(client: Wire) -> None:
    one = json.dumps({"jsonrpc": "2.0", "id": "ü", "method": "no/such"}, ensure_ascii=False)
    for byte in framed(one.encode()):
        client.raw(bytes([byte]))
    assert code(client.answer("ü")) == -32601


def test_every_request_is_answered_once(client: Wire) -> None:
    show = {"command": "para.show", "arguments": []}
    method = "workspace/executeCommand"
    client.send(*({"id": f"r{n}", "method": method, "params": show} for n in range(100)))
    for number in range(100):
        client.until(lambda m, number=number: m.get("id") == f"r{number}")  # type: ignore[misc] # mypy drops the default
    assert alive(client)
    answered = [m["id"] for m in client.heard if str(m.get("id")).startswith("r")]
    assert sorted(answered) == sorted({f"r{n}" for n in range(100)})


def test_cancelled_commands_are_rolled_back_before_the_answer(
    client: Wire, slow: Slow, home: Path
) -> None:
    number = slow.begin(client)
    client.notify("$/cancelRequest", {"id": number})
    client.notify("$/cancelRequest", {"id": number})
    assert alive(client)  # the cancellation was read
    assert code(client.answer(number)) == -32800
    slow.left_nothing(home)


def test_progress_can_be_cancelled_and_ends_before_the_answer(
    client: Wire, slow: Slow, home: Path
) -> None:
    number = slow.begin(client, progress="t")
    client.notify("window/workDoneProgress/cancel", {"token": "t"})
    assert alive(client)
    assert code(client.answer(number)) == -32800
    slow.left_nothing(home)
    told = [m["params"]["value"] for m in client.heard if m.get("method") == "$/progress"]
    assert (told[0]["kind"], told[0]["cancellable"]) == ("begin", True)
    assert told[0]["title"] == COMMANDS["para.start"].title
    assert told[-1]["kind"] == "end"
    assert [value["kind"] for value in told[1:-1]] == ["report"] * (len(told) - 2)


def test_cancelled_before_its_first_step(client: Wire, repo: Repository, home: Path) -> None:
    params = {"command": "para.start", "arguments": [{"repo": str(repo.path)}], "workDoneToken": 1}
    client.send(
        {"id": "a", "method": "workspace/executeCommand", "params": params},
        {"method": "$/cancelRequest", "params": {"id": "a"}},
        {"id": "b", "method": "workspace/executeCommand", "params": params},
        {"method": "window/workDoneProgress/cancel", "params": {"token": 1}},
    )
    assert [code(client.answer(number)) for number in "ab"] == [-32800, -32800]
    assert not list(home.glob("sessions/*.json"))


def test_shutdown_stops_what_runs(client: Wire, slow: Slow, home: Path) -> None:
    number = slow.begin(client)
    down = client.request("shutdown")
    assert code(client.ask("no/such")) == -32600
    assert code(client.answer(number)) == -32802
    assert client.answer(down)["result"] is None
    slow.left_nothing(home)


def test_git_does_not_outlive_a_server_that_was_killed(
    client: Wire, process: Process, serve: Callable[..., Process], slow: Slow, home: Path
) -> None:
    slow.begin(client)
    process.popen.kill()
    slow.git_ended()
    after = serve().stdio()
    after.initialize()
    wire.eventually(lambda: not list(home.glob("sessions/*.json")))
    slow.left_nothing(home)


def test_the_editor_dies(client: Wire, process: Process, slow: Slow, home: Path) -> None:
    slow.begin(client)
    process.end_of_input()
    assert process.exit_code() == 0
    slow.left_nothing(home)


def test_the_editor_dies_at_once(process: Process) -> None:
    process.end_of_input()
    assert process.exit_code() == 0


def test_the_editor_is_killed_while_something_of_it_keeps_stdin_open(
    process: Process, slow: Slow, home: Path
) -> None:
    with subprocess.Popen(["sleep", "600"]) as editor:
        client = process.stdio()
        client.initialize(processId=editor.pid)
        slow.begin(client)
        editor.kill()
    assert process.exit_code() == 0
    slow.left_nothing(home)


def test_a_process_id_of_elsewhere_ends_nothing(process: Process) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    client = process.stdio()
    client.initialize(processId=gone.pid)
    assert alive(client)


def test_long_prompts_neither_end_the_server_nor_fill_its_lists(
    client: Wire, repo: Repository
) -> None:
    prompt = "true # " + "x" * 12_000_000
    for number in range(6):
        params = {"name": f"big{number}", "prompt": prompt, "repo": str(repo.path)}
        made = client.answer(client.command("para.dispatch", {**params, "type": "worktree"}))
        assert made["result"]["prompt"] == prompt
    listed = client.answer(client.command("para.list", {}))["result"]["sessions"]
    assert {one["prompt"] for one in listed} == {f"{prompt[: MAX_LISTED_PROMPT - 1]}…"}
    whole = client.answer(client.command("para.show", {"name": "big0", "repo": str(repo.path)}))
    assert whole["result"]["prompt"] == prompt


class Kept:
    """Where a server writes to, within this process: no request makes an answer that large."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        self.messages.append(json.loads(data))

    def close(self) -> None:
        """End."""


async def test_what_is_too_large_to_be_sent_is_an_error() -> None:
    kept = Kept()
    protocol = Server(lambda: pytest.fail("no command runs"), kept, asyncio.Event()).protocol
    protocol.notify("para/sessionsChanged", "x" * MAX_SENT_BYTES)
    assert not kept.messages
    protocol._respond(1, "result", "x" * MAX_SENT_BYTES)
    (answer,) = kept.messages
    assert (answer["id"], code(answer)) == (1, -32803)
    assert str(MAX_SENT_BYTES) in answer["error"]["message"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_roll_back(
    client: Wire, process: Process, slow: Slow, home: Path, number: signal.Signals
) -> None:
    request = slow.begin(client)
    process.popen.send_signal(number)
    assert code(client.answer(request)) == -32802
    assert process.exit_code() == 128 + number
    slow.left_nothing(home)


def test_settings_are_asked_for_before_the_first_command(
    process: Process, repo: Repository
) -> None:
    client = process.stdio()
    client.initialize(
        capabilities={"workspace": {"configuration": True}},
        workspaceFolders=[{"uri": repo.path.as_uri(), "name": "repo"}],
    )
    number = client.command("para.start", {"name": "x"})
    asked = client.until(lambda m: m.get("method") == "workspace/configuration")
    assert asked["params"]["items"] == [{"section": "para"}]
    settings = {"git": {"branchPrefix": "mine/", "objects": None}, "agent": None, "server": {}}
    client.send({"id": asked["id"], "result": [settings]})
    assert client.answer(number)["result"]["branch"] == "mine/x"


def test_each_of_several_folders_has_settings_of_its_own(
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
    asked = client.until(lambda m: m.get("method") == "workspace/configuration")
    scoped = [{"scopeUri": uri, "section": "para"} for uri in folders]
    assert asked["params"]["items"] == [{"section": "para"}, *scoped]
    prefixes = ("all/", "one/", "two/")
    client.send({"id": asked["id"], "result": [{"git.branchPrefix": one} for one in prefixes]})
    branches = [
        client.answer(client.command("para.start", {"name": "x", "repo": str(path)}))["result"]
        for path in (repo.path, other.path)
    ]
    assert [one["branch"] for one in branches] == ["one/x", "two/x"]


def test_changes_are_told_to_those_who_want_them(process: Process, repo: Repository) -> None:
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
    serve: Callable[..., Process], slow: Slow, home: Path, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    process = serve("--tcp", "127.0.0.1:0", "--token-file", str(token_file))
    one, two = process.tcp(), process.tcp()
    for client in (one, two):
        client.initialize(initializationOptions={"token": token_file.read_text().strip()})
    number = slow.begin(one)
    two.notify("exit")
    assert two.ended()
    process.popen.terminate()
    assert code(one.answer(number)) == -32802
    assert process.exit_code() == 128 + signal.SIGTERM
    slow.left_nothing(home)
