"""No text of a session, a repository or an engine is markup, or without bounds, on any face."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests import wire
from tests.scratch import Repository
from tests.wire import Process, Wire

PARA = str(Path(sys.executable).with_name("para"))
LINK = "[Answer](command:workbench.action.terminal.sendSequence)"
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
TAINT = f"{LINK} $(alert) <b>bold</b> \x1b]0;title\x07\x1b[2J\x9b31m \u202eleft\u200b\ufeff"
QUOTED = "$'" + "".join(f"\\U{ord(character):08x}" for character in TAINT) + "'"  # for bash
FOR_PEOPLE = {"message", "title", "tooltip", "detail"}  # fields that clients show as they are
LONGEST = 4000

# an agent that says it in its state, its output and a file's name, in lines of ten megabytes too
AGENT = f"""
mkdir -p .vscode
say={QUOTED}
long=$(head -c 10M /dev/zero | tr '\\0' x)
echo "$say" >".vscode/${{say//\\//}}.json"
echo "$say" >"a ${{say//\\//}}"
echo "$say"; echo "$long"
printf 'waiting\\n%s\\n%s %s' "$(date +%s)" "$say" "$long" >/para-agent/out/state.new
mv /para-agent/out/state.new /para-agent/out/state
sleep 600
"""
SETUP = f'say={QUOTED}; echo "$say"; echo "$say$(head -c 10M /dev/zero | tr \'\\0\' x)"\n'


def for_people(value: object, name: str = "") -> Iterator[str]:
    """Find all that a client shows as it is."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from for_people(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from for_people(inner, name)
    elif isinstance(value, str) and name in FOR_PEOPLE:
        yield value


def tame(text: str) -> bool:
    hidden = {c for c in text if c not in "\n\t" and unicodedata.category(c) in HIDDEN}
    return not hidden and "](" not in text and len(text) <= LONGEST


def wild(messages: list[dict[str, Any]]) -> list[str]:
    return [text[:200] for text in for_people(messages) if not tame(text)]


@pytest.fixture
def client(environ: dict[str, str], repo: Repository, api: Any, tmp_path: Path) -> Iterator[Wire]:
    assert api.ping()
    process = Process(environ, tmp_path / "stderr")
    connected = process.stdio()
    connected.initialize(
        rootUri=repo.path.as_uri(), initializationOptions={"notifications": True, "trusted": True}
    )
    yield connected
    process.end_of_input()
    process.exit_code()


def asked(client: Wire, command: str, **params: object) -> dict[str, Any]:
    return client.answer(client.command(command, params, progress=f"p-{command}"))


@pytest.fixture
def session(client: Wire, repo: Repository) -> dict[str, Any]:
    """Have an agent at work that says it wherever it can."""
    repo.commit("set-up", **{".para/setup.sh": SETUP, "agent.sh": AGENT})
    made = asked(client, "para.dispatch", prompt="bash agent.sh", name="trap", agent="command")
    client.until(lambda m: bool(m.get("params", {}).get("attention")))
    found: dict[str, Any] = made["result"]
    return found


@pytest.mark.usefixtures("session")
def test_clients_are_sent_nothing_that_acts(client: Wire, repo: Repository) -> None:
    for command in ("show", "list", "stats", "logs", "diff", "open", "doctor"):
        assert "result" in asked(client, f"para.{command}", **named(command))
    odd = "x$(alert)](\u202eleft\u200b"
    repo.git("branch", odd)
    assert odd in asked(client, "para.branches")["result"]["branches"]
    refused = [
        asked(client, "para.show", name=TAINT),
        asked(client, "para.start", name="other", base=TAINT),
        asked(client, "para.start", name="other", base=f"{odd}{'x' * 10_000_000}"),
        asked(client, "para.start", name=TAINT),
        asked(client, TAINT),
    ]
    assert [answer for answer in refused if "error" not in answer] == []
    client.notify(
        "workspace/didChangeConfiguration",
        {"settings": {"para": {"container": {"image": f"{LINK}\x1b[2J\u202e"}}}},
    )
    refused.append(asked(client, "para.start", name="other"))
    assert "error" in refused[-1]
    client.notify("workspace/didChangeConfiguration", {"settings": {"para": {}}})
    done = asked(client, "para.finish", name="trap", message="m")
    assert any(".vscode/" in path for path in done["result"]["autoRunFiles"])

    (event,) = [e for m in client.heard for e in m.get("params", {}).get("attention", [])][:1]
    assert event["message"].startswith("trap waits for you: [Answer] (command:")
    progress = [m for m in client.heard if m.get("method") == "$/progress"]
    assert any("[Answer] (command:" in text for text in for_people(progress))
    assert len(list(for_people(client.heard))) > 50
    assert wild(client.heard) == []
    logs = [m["result"]["text"] for m in client.heard if "text" in m.get("result", {})]
    assert not any(c in text for text in logs for c in "\x1b\x07\x9b\u202e\u200b")


def named(command: str) -> dict[str, Any]:
    return {"name": "trap"} if command not in {"list", "doctor"} else {}


def on_a_terminal(environ: dict[str, str], folder: Path, *argv: str) -> str:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [PARA, *argv], cwd=folder, env=environ, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        seen = b""
        with suppress(OSError):  # nobody writes to it any more
            while part := os.read(ours, 1 << 16):
                seen += part
        assert process.wait(wire.DEADLINE) in {0, 1, 2}
    os.close(ours)
    return seen.decode()


def through_a_pipe(environ: dict[str, str], folder: Path, *argv: str) -> str:
    done = subprocess.run(
        [PARA, *argv],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.stdout.decode()


ACTS = ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\u202e", "\u200b", "\ufeff")
LINES = [
    *(["show", "trap"], ["list"], ["diff", "trap"], ["stats", "trap"], ["logs", "trap"]),
    *(["list", "--json"], ["diff", "trap", "--json"], ["logs", "trap", "--json"]),
    *(["show", TAINT], ["start", "--base", TAINT], [TAINT], ["file", TAINT, "trap"]),
]


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("run", [on_a_terminal, through_a_pipe])
def test_the_command_line_writes_nothing_that_acts(
    environ: dict[str, str], repo: Repository, run: Callable[..., str]
) -> None:
    for argv in LINES:
        seen = run(environ | {"TERM": "xterm"}, repo.path, *argv)
        assert seen, argv
        assert not [code for code in ACTS if code in seen], argv


@pytest.mark.usefixtures("session")
def test_a_patch_in_a_file_is_as_it_is(
    environ: dict[str, str], repo: Repository, tmp_path: Path
) -> None:
    with (tmp_path / "patch").open("wb") as file:
        subprocess.run([PARA, "diff", "trap"], cwd=repo.path, env=environ, stdout=file, check=True)
    assert TAINT in (tmp_path / "patch").read_text()
    repo.git("apply", str(tmp_path / "patch"))


@pytest.mark.parametrize("extra", [{"TERM": "dumb"}, {"TERM": ""}, {"NO_COLOR": "1"}])
def test_a_terminal_that_obeys_no_codes_is_sent_none(
    environ: dict[str, str], repo: Repository, extra: dict[str, str]
) -> None:
    without = {"PARA_CONTAINER_ENABLED": "false", "TERM": "xterm"} | extra
    seen = on_a_terminal(environ | without, repo.path, "start", "--name", "plain")
    assert "plain  running" in seen
    assert "\x1b" not in seen
    assert json.loads(through_a_pipe(environ | without, repo.path, "list", "--json"))["sessions"]
