"""Where para is called from, and by whom: folders, encodings, streams, signals, foreign modules."""

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
from tests.faces.test_command_line import CANNOT, DONE, NO_ENGINE, PARA, WRONG, Terminal
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
SERVER = str(Path(sys.executable).with_name("para-server"))


@pytest.fixture
def alone(environ: dict[str, str], repo: Repository) -> Terminal:
    """Sit in the repository, where containers are not wanted and no engine is."""
    return Terminal(environ | NO_ENGINE | {"PARA_CONTAINER_ENABLED": "false"}, repo.path)


def shell(alone: Terminal, line: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of a shell, in which `$PARA` is the command."""
    done = subprocess.run(
        ["sh", "-c", line],  # the lines are below
        cwd=alone.folder,
        env=alone.environ | {"PARA": PARA} | variables,
        capture_output=True,
        timeout=90,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize(
    ("folder", "said"),
    [("src", ".."), ("", "."), ("..", "repo"), ("..", "./repo/src"), ("", "src")],
)
def test_a_relative_folder_is_taken_from_where_one_is(
    alone: Terminal, folder: str, said: str
) -> None:
    alone.json("start", "--name=here")
    elsewhere = Terminal(alone.environ, alone.folder / folder)
    assert [one["name"] for one in elsewhere.json("list", "--repo", said)["sessions"]] == ["here"]
    assert elsewhere.json("show", "here", f"--repo={said}")["repo"] == str(alone.folder)


def test_a_relative_folder_is_refused_where_nobody_is_anywhere(alone: Terminal) -> None:
    asked = {"command": "para.list", "arguments": [{"repo": "src"}]}
    messages = [
        {"id": 1, "method": "initialize", "params": {"capabilities": {}}},
        {"id": 2, "method": "workspace/executeCommand", "params": asked},
    ]
    sent = b"".join(
        f"Content-Length: {len(text)}\r\n\r\n{text}".encode()
        for text in (json.dumps({"jsonrpc": "2.0", **one}) for one in messages)
    )
    with subprocess.Popen(
        [SERVER], cwd=alone.folder, env=alone.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
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
def test_odd_names_of_folders_work_or_are_refused_by_name(
    environ: dict[str, str], tmp_path: Path, name: str, works: bool
) -> None:
    made = scratch.make(tmp_path / "odd" / name)
    here = Terminal(environ | NO_ENGINE | {"PARA_CONTAINER_ENABLED": "false"}, made.path)
    if not works:
        assert "not UTF-8" in here.run("start", "--name=x", code=WRONG).stderr
        assert "not UTF-8" in here.run("list", "--repo", str(made.path), code=WRONG).stderr
        return
    if "\n" in name:
        assert "line break" in here.run("start", "--type=container", code=CANNOT).stderr
    session = here.json("start", "--name=x")
    (Path(session["workspace"]) / "new").write_text("new\n")
    assert session["repo"] == str(made.path)
    assert here.json("finish", "m", "x")["files"] == 1
    assert made.show("para/x:new") == "new"


def latin(folder: Path) -> dict[str, str]:
    """Make a locale whose terminals write one byte per letter."""
    place = folder / "locales"
    place.mkdir()
    target = str(place / "en_US.ISO-8859-1")
    subprocess.run(
        ["localedef", "-i", "en_US", "-f", "ISO-8859-1", target], capture_output=True, check=False
    )
    return {"LOCPATH": str(place), "LC_ALL": "en_US.ISO-8859-1"}


def test_a_prompt_of_another_locale_is_read_by_all(
    alone: Terminal, tmp_path: Path, repo: Repository
) -> None:
    repo.git("config", "user.name", "Łukasz Żak")
    there = latin(tmp_path)
    done = shell(alone, "$PARA dispatch --name=old 'gr\\374n'", **there)
    assert done.returncode == DONE, done.stderr
    asked = b"\x27gr\xfcn\x27"
    line = b"$PARA dispatch --name=new " + asked
    done = shell(alone, os.fsdecode(line), **there)
    assert done.returncode == DONE, done.stderr
    assert b"gr\xfcn" in done.stdout
    assert alone.json("show", "new")["prompt"] == "grün"
    assert len(alone.json("list")["sessions"]) == 2
    done = shell(alone, os.fsdecode(b"$PARA dispatch --name=bad " + asked), LC_ALL="C.UTF-8")
    assert done.returncode == WRONG
    assert b"prompt" in done.stderr
    assert len(alone.json("list")["sessions"]) == 2


def test_who_has_no_home_is_told_what_to_set(alone: Terminal) -> None:
    homeless = "unshare --user --map-user=54321 --map-group=54321 env -u HOME"
    bare = f"{homeless} -u PARA_HOME -u PARA_CONFIG_HOME -u XDG_STATE_HOME"
    if shell(alone, "unshare --user --map-user=54321 true").returncode != 0:
        bare = "env HOME=  -u PARA_HOME"  # no namespaces for this user
    done = shell(alone, f"{bare} $PARA list")
    assert (done.returncode, b"Set HOME" in done.stderr) == (WRONG, True), done.stderr
    assert sorted(one.name for one in alone.folder.iterdir()) == [".git", "README.md", "src"]
    assert shell(alone, f"{homeless} $PARA list").returncode == DONE


@pytest.mark.parametrize("place", ["~/state", "${userHome}/state"])
def test_places_may_begin_at_the_home_of_a_user(
    alone: Terminal, tmp_path: Path, place: str
) -> None:
    away = {"HOME": str(tmp_path), "PARA_HOME": place}
    assert shell(alone, "$PARA start --name=x", **away).returncode == DONE
    assert (tmp_path / "state/sessions").is_dir()
    done = shell(alone, "$PARA list", PARA_HOME="~nobody-of-this-name/x")
    assert (done.returncode, b"no user nobody-of-this-name" in done.stderr) == (WRONG, True)


def test_two_spellings_of_a_home_are_one(alone: Terminal, tmp_path: Path, home: Path) -> None:
    alone.json("start", "--name=x")
    (tmp_path / "link").symlink_to(home)
    for spelling in (str(tmp_path / "link"), f"{home}/../home/", f"{home}/."):
        other = Terminal(alone.environ | {"PARA_HOME": spelling}, alone.folder)
        assert other.json("show", "x")["workspace"] == alone.json("show", "x")["workspace"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("$PARA list 2>&-", DONE),
        ("$PARA list <&- 2>&-", DONE),
        ("$PARA list >&-", CANNOT),
        ("$PARA list >/dev/full", CANNOT),
        ("$PARA list 2>/dev/full", DONE),
        ("$PARA show nobody 2>/dev/full", WRONG),
        ("$PARA start --name=y 2>/dev/full", DONE),
        ("$PARA start --name=y >/dev/full", CANNOT),
        ("$PARA start --name=y >&- 2>&-", CANNOT),
        ("$PARA --help >/dev/full", CANNOT),
        ("$PARA --help >&-", CANNOT),
        ("$PARA start --help >/dev/full", CANNOT),
        ("$PARA --version", DONE),
        ("$PARA list | true", DONE),
    ],
)
def test_what_cannot_be_written_shows_in_the_exit_code_alone(
    alone: Terminal, line: str, code: int
) -> None:
    done = shell(alone, line)
    assert done.returncode == code, done.stderr
    if "--name=y" in line:
        assert [one["name"] for one in alone.json("list")["sessions"]] == ["y"]
    if "start --name=y >/dev/full" in line:
        assert b"was carried out" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_is_ignored_ends_nothing(alone: Terminal, number: signal.Signals) -> None:
    """The command waits for a hook of git, which waits until the signal was sent."""
    hook = alone.folder / ".git/hooks/post-checkout"
    sent, reached = alone.folder.parent / "sent", alone.folder.parent / "reached"
    hook.write_text(f"#!/bin/sh\n: >{reached}\nuntil [ -e {sent} ]; do sleep 0.05; done\n")
    hook.chmod(0o755)
    ignoring = f"trap '' {int(number)}; exec {PARA} start --name=x --json"
    with subprocess.Popen(
        ["sh", "-c", ignoring],
        cwd=alone.folder,
        env=alone.environ,
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
    assert running.returncode == DONE
    assert json.loads(out)["state"] == "running"


async def test_a_server_goes_on_where_a_signal_is_ignored(servers: Servers) -> None:
    ignoring = ("sh", "-c", "trap '' HUP; exec \"$@\"", "sh")
    para = await servers(extra=NO_ENGINE | {"PARA_CONTAINER_ENABLED": "false"}, prefix=ignoring)
    os.kill(para.pid, signal.SIGHUP)
    for _ in range(3):
        assert (await para.call("para.list"))["sessions"] == []


@pytest.mark.parametrize(
    "module", "docker types logging re enum pydantic para_server sitecustomize simplejson".split()
)
@pytest.mark.parametrize("how", ["path", "folder"])
def test_modules_of_a_project_are_not_run(
    alone: Terminal, tmp_path: Path, module: str, how: str
) -> None:
    ran, source = tmp_path / "ran", alone.folder / "src"
    package = (source if how == "path" else alone.folder) / module
    package.mkdir()
    (package / "__init__.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    path = {"PYTHONPATH": "src"} if how == "path" else {"PYTHONPATH": ""}
    for line in ("$PARA list", "$PARA --version", f"{SERVER} --version"):
        done = shell(alone, line, **path)
        assert (done.returncode, ran.exists()) == (DONE, False), (line, done.stderr)


@pytest.mark.parametrize("module", ["docker", "pydantic", "logging", "argparse"])
@pytest.mark.parametrize("path", ["", "."])
def test_modules_of_a_project_are_not_run_by_the_module(
    alone: Terminal, tmp_path: Path, module: str, path: str
) -> None:
    ran = tmp_path / "ran"
    (alone.folder / module).mkdir()
    (alone.folder / module / "__init__.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    done = shell(alone, f"{sys.executable} -m para_server --version", PYTHONPATH=path)
    assert (done.returncode, ran.exists()) == (DONE, False), done.stderr


def test_a_byte_order_mark_is_no_part_of_a_prompt(alone: Terminal) -> None:
    texts: dict[str, Any] = {
        "plain": b"do it",
        "marked": b"\xef\xbb\xbfdo it",
        "wide": "do it".encode("utf-16"),
    }
    for name, content in texts.items():
        (alone.folder / f"{name}.md").write_bytes(content)
        made = alone.json("dispatch", f"--prompt-file={name}.md", f"--name={name}")
        assert made["prompt"] == "do it"
    assert alone.json("dispatch", "\ufeffdo it", "--name=typed")["prompt"] == "do it"
    (alone.folder / "bad.md").write_bytes(b"gr\xfcn")
    assert "not UTF-8" in alone.run("dispatch", "--prompt-file=bad.md", code=WRONG).stderr


def test_the_exit_code_says_that_a_check_failed(alone: Terminal) -> None:
    with_engine = Terminal(alone.environ | {"PARA_CONTAINER_ENABLED": "true"}, alone.folder)
    done = with_engine.run("doctor", code=CANNOT)
    assert "engine" in done.stdout
