"""Run para in unusual environments: folders, encodings, streams, signals, foreign modules."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests import scratch
from tests.client import Para
from tests.faces.test_command_line import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_USAGE,
    NO_ENGINE,
    PARA,
    Terminal,
)
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
SERVER = str(Path(sys.executable).with_name("para-server"))


@pytest.fixture
def offline(environ: dict[str, str], repo: Repository) -> Terminal:
    """A terminal in the repository, with worktrees and without an engine."""
    return Terminal(environ | NO_ENGINE | {"PARA_CONTAINER_ENABLED": "false"}, repo.path)


def shell(offline: Terminal, line: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line in a shell; `$PARA` is the path of para."""
    done = subprocess.run(
        ["sh", "-c", line],  # the lines are below
        cwd=offline.folder,
        env=offline.environ | {"PARA": PARA} | variables,
        capture_output=True,
        timeout=90,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize(
    ("folder", "repo_option"),
    [("src", ".."), ("", "."), ("..", "repo"), ("..", "./repo/src"), ("", "src")],
)
def test_relative_repo_is_resolved_against_the_current_folder(
    offline: Terminal, folder: str, repo_option: str
) -> None:
    offline.json("start", "--name=here")
    elsewhere = Terminal(offline.environ, offline.folder / folder)
    assert [one["name"] for one in elsewhere.json("list", "--repo", repo_option)["sessions"]] == [
        "here"
    ]
    assert elsewhere.json("show", "here", f"--repo={repo_option}")["repo"] == str(offline.folder)


def test_server_refuses_a_relative_repo(offline: Terminal) -> None:
    request = {"command": "para.list", "arguments": [{"repo": "src"}]}
    messages = [
        {"id": 1, "method": "initialize", "params": {"capabilities": {}}},
        {"id": 2, "method": "workspace/executeCommand", "params": request},
    ]
    sent = b"".join(
        f"Content-Length: {len(text)}\r\n\r\n{text}".encode()
        for text in (json.dumps({"jsonrpc": "2.0", **one}) for one in messages)
    )
    with subprocess.Popen(
        [SERVER],
        cwd=offline.folder,
        env=offline.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(sent)
        server.stdin.flush()
        answer = b""
        while b"an absolute path" not in answer:
            part = os.read(server.stdout.fileno(), 65536)
            assert part, answer
            answer += part
        server.kill()
    assert b"not src" in answer


@pytest.mark.parametrize(
    ("name", "works"),
    [
        ("with space", True),
        ("two\nlines", True),
        ("-x", True),
        ("dots..", True),
        ("caf\udce9", False),
    ],
)
def test_unusual_folder_names_work_or_are_refused(
    environ: dict[str, str], tmp_path: Path, name: str, works: bool
) -> None:
    made = scratch.make(tmp_path / "odd" / name)
    here = Terminal(environ | NO_ENGINE | {"PARA_CONTAINER_ENABLED": "false"}, made.path)
    if not works:
        assert "not UTF-8" in here.run("start", "--name=x", code=EXIT_USAGE).stderr
        assert "not UTF-8" in here.run("list", "--repo", str(made.path), code=EXIT_USAGE).stderr
        return
    if "\n" in name:
        assert "line break" in here.run("start", "--type=container", code=EXIT_FAILED).stderr
    session = here.json("start", "--name=x")
    (Path(session["workspace"]) / "new").write_text("new\n")
    assert session["repo"] == str(made.path)
    assert here.json("finish", "m", "x")["files"] == 1
    assert made.show("para/x:new") == "new"


def latin(folder: Path) -> dict[str, str]:
    """Create a locale with a single-byte encoding and return its variables."""
    place = folder / "locales"
    place.mkdir()
    target = str(place / "en_US.ISO-8859-1")
    subprocess.run(
        ["localedef", "-i", "en_US", "-f", "ISO-8859-1", target], capture_output=True, check=False
    )
    return {"LOCPATH": str(place), "LC_ALL": "en_US.ISO-8859-1"}


def test_prompt_is_decoded_from_the_locale(
    offline: Terminal, tmp_path: Path, repo: Repository
) -> None:
    repo.git("config", "user.name", "Łukasz Żak")
    there = latin(tmp_path)
    done = shell(offline, "$PARA dispatch --name=old 'gr\\374n'", **there)
    assert done.returncode == EXIT_OK, done.stderr
    quoted = b"\x27gr\xfcn\x27"
    line = b"$PARA dispatch --name=new " + quoted
    done = shell(offline, os.fsdecode(line), **there)
    assert done.returncode == EXIT_OK, done.stderr
    assert b"gr\xfcn" in done.stdout
    assert offline.json("show", "new")["prompt"] == "grün"
    assert len(offline.json("list")["sessions"]) == 2
    done = shell(offline, os.fsdecode(b"$PARA dispatch --name=bad " + quoted), LC_ALL="C.UTF-8")
    assert done.returncode == EXIT_USAGE
    assert b"prompt" in done.stderr
    assert len(offline.json("list")["sessions"]) == 2


def test_missing_home_names_the_variables_to_set(offline: Terminal) -> None:
    homeless = "unshare --user --map-user=54321 --map-group=54321 env -u HOME"
    bare = f"{homeless} -u PARA_HOME -u PARA_CONFIG_HOME -u XDG_STATE_HOME"
    if shell(offline, "unshare --user --map-user=54321 true").returncode != 0:
        bare = "env HOME=  -u PARA_HOME"  # without user namespaces
    done = shell(offline, f"{bare} $PARA list")
    assert (done.returncode, b"Set HOME" in done.stderr) == (EXIT_USAGE, True), done.stderr
    assert sorted(one.name for one in offline.folder.iterdir()) == [".git", "README.md", "src"]
    assert shell(offline, f"{homeless} $PARA list").returncode == EXIT_OK


@pytest.mark.parametrize("place", ["~/state", "${userHome}/state"])
def test_para_home_may_start_with_the_user_home(
    offline: Terminal, tmp_path: Path, place: str
) -> None:
    away = {"HOME": str(tmp_path), "PARA_HOME": place}
    assert shell(offline, "$PARA start --name=x", **away).returncode == EXIT_OK
    assert (tmp_path / "state/sessions").is_dir()
    done = shell(offline, "$PARA list", PARA_HOME="~nobody-of-this-name/x")
    assert (done.returncode, b"no user nobody-of-this-name" in done.stderr) == (EXIT_USAGE, True)


def test_spellings_of_para_home_share_the_sessions(
    offline: Terminal, tmp_path: Path, home: Path
) -> None:
    offline.json("start", "--name=x")
    (tmp_path / "link").symlink_to(home)
    for spelling in (str(tmp_path / "link"), f"{home}/../home/", f"{home}/."):
        other = Terminal(offline.environ | {"PARA_HOME": spelling}, offline.folder)
        assert other.json("show", "x")["workspace"] == offline.json("show", "x")["workspace"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("$PARA list 2>&-", EXIT_OK),
        ("$PARA list <&- 2>&-", EXIT_OK),
        ("$PARA list >&-", EXIT_FAILED),
        ("$PARA list >/dev/full", EXIT_FAILED),
        ("$PARA list 2>/dev/full", EXIT_OK),
        ("$PARA show nobody 2>/dev/full", EXIT_USAGE),
        ("$PARA start --name=y 2>/dev/full", EXIT_OK),
        ("$PARA start --name=y >/dev/full", EXIT_FAILED),
        ("$PARA start --name=y >&- 2>&-", EXIT_FAILED),
        ("$PARA --help >/dev/full", EXIT_FAILED),
        ("$PARA --help >&-", EXIT_FAILED),
        ("$PARA start --help >/dev/full", EXIT_FAILED),
        ("$PARA --version", EXIT_OK),
        ("$PARA list | true", EXIT_OK),
    ],
)
def test_unwritable_output_sets_only_the_exit_code(offline: Terminal, line: str, code: int) -> None:
    done = shell(offline, line)
    assert done.returncode == code, done.stderr
    if "--name=y" in line:
        assert [one["name"] for one in offline.json("list")["sessions"]] == ["y"]
    if "start --name=y >/dev/full" in line:
        assert b"could not be written" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_ignored_signal_does_not_stop_a_command(offline: Terminal, number: signal.Signals) -> None:
    """A git hook blocks the command until the signal is sent."""
    hook = offline.folder / ".git/hooks/post-checkout"
    sent, reached = offline.folder.parent / "sent", offline.folder.parent / "reached"
    hook.write_text(f"#!/bin/sh\n: >{reached}\nuntil [ -e {sent} ]; do sleep 0.05; done\n")
    hook.chmod(0o755)
    ignoring = f"trap '' {int(number)}; exec {PARA} start --name=x --json"
    with subprocess.Popen(
        ["sh", "-c", ignoring],
        cwd=offline.folder,
        env=offline.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as running:
        deadline = time.monotonic() + 60
        while not reached.exists():
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.send_signal(number)
        sent.touch()
        out, _ = running.communicate(timeout=60)
    assert running.returncode == EXIT_OK
    assert json.loads(out)["state"] == "running"


async def test_ignored_signal_does_not_stop_a_server(servers: Servers) -> None:
    ignoring = ("sh", "-c", "trap '' HUP; exec \"$@\"", "sh")
    para = await servers(extra=NO_ENGINE | {"PARA_CONTAINER_ENABLED": "false"}, prefix=ignoring)
    os.kill(para.pid, signal.SIGHUP)
    for _ in range(3):
        assert (await para.call("para.list"))["sessions"] == []


@pytest.mark.parametrize(
    "module", "docker types logging re enum pydantic para_server sitecustomize simplejson".split()
)
@pytest.mark.parametrize("how", ["path", "folder"])
def test_modules_of_the_repository_are_not_imported(
    offline: Terminal, tmp_path: Path, module: str, how: str
) -> None:
    ran, source = tmp_path / "ran", offline.folder / "src"
    package = (source if how == "path" else offline.folder) / module
    package.mkdir()
    (package / "__init__.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    path = {"PYTHONPATH": "src"} if how == "path" else {"PYTHONPATH": ""}
    for line in ("$PARA list", "$PARA --version", f"{SERVER} --version"):
        done = shell(offline, line, **path)
        assert (done.returncode, ran.exists()) == (EXIT_OK, False), (line, done.stderr)


@pytest.mark.parametrize("module", ["docker", "pydantic", "logging", "argparse"])
@pytest.mark.parametrize("path", ["", "."])
def test_python_m_does_not_import_modules_of_the_repository(
    offline: Terminal, tmp_path: Path, module: str, path: str
) -> None:
    ran = tmp_path / "ran"
    (offline.folder / module).mkdir()
    (offline.folder / module / "__init__.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    done = shell(offline, f"{sys.executable} -m para_server --version", PYTHONPATH=path)
    assert (done.returncode, ran.exists()) == (EXIT_OK, False), done.stderr


def test_byte_order_mark_is_removed_from_a_prompt(offline: Terminal) -> None:
    texts: dict[str, Any] = {
        "plain": b"do it",
        "marked": b"\xef\xbb\xbfdo it",
        "wide": "do it".encode("utf-16"),
    }
    for name, content in texts.items():
        (offline.folder / f"{name}.md").write_bytes(content)
        made = offline.json("dispatch", f"--prompt-file={name}.md", f"--name={name}")
        assert made["prompt"] == "do it"
    assert offline.json("dispatch", "\ufeffdo it", "--name=typed")["prompt"] == "do it"
    (offline.folder / "bad.md").write_bytes(b"gr\xfcn")
    assert "not UTF-8" in offline.run("dispatch", "--prompt-file=bad.md", code=EXIT_USAGE).stderr


def test_doctor_exits_with_1_if_a_check_fails(offline: Terminal) -> None:
    with_engine = Terminal(offline.environ | {"PARA_CONTAINER_ENABLED": "true"}, offline.folder)
    done = with_engine.run("doctor", code=EXIT_FAILED)
    assert "engine" in done.stdout
