"""Ctrl-C at a terminal, at every moment of a command: it ends, and nothing is left half done."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from para_server.concurrency.cancellation import wait_for_other_tasks
from para_server.concurrency.singleflight import single_flight
from tests import engine
from tests.faces.test_command_line import NO_ENGINE
from tests.scratch import Repository

PARA = str(Path(sys.executable).with_name("para"))
LONGEST = 60.0  # seconds that a command may take, undoing included
KILLED, DONE, CANCELLED = -signal.SIGINT, 0, 130
CTRL_C = b"\x03"


class Ended(NamedTuple):
    """How a command ended, and what appeared on the terminal."""

    code: int
    shown: str


def interrupted(
    environ: dict[str, str], folder: Path, argv: list[str], moments: list[float]
) -> Ended:
    """Run para on a terminal, and press Ctrl-C there at moments after its start."""
    child, screen = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execve(PARA, [PARA, *argv], environ)  # noqa: S606 # that is the point
    began, shown, left = time.monotonic(), b"", list(moments)
    try:
        while True:
            wait = 0.1 if not left else min(0.1, max(0.0, began + left[0] - time.monotonic()))
            if select.select([screen], [], [], wait)[0]:
                try:
                    part = os.read(screen, 65536)
                except OSError:  # how Linux says that the other side is gone
                    break
                shown += part
            if left and time.monotonic() >= began + left[0]:
                left.pop(0)
                os.write(screen, CTRL_C)
            assert time.monotonic() < began + LONGEST, f"{argv} at {moments} hangs: {shown!r}"
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(screen)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(code, shown.decode(errors="replace"))


def moments(first: float, last: float, count: int) -> Iterator[float]:
    """Spread some moments evenly."""
    yield from (first + (last - first) * i / (count - 1) for i in range(count))


def test_ctrl_c_at_any_moment_ends_a_command_without_a_container(
    environ: dict[str, str], repo: Repository, home: Path
) -> None:
    environ |= NO_ENGINE | {"PARA_CONTAINER_ENABLED": "false"}
    before = repo.fingerprint()
    for moment in moments(0.05, 1.0, 12):
        ended = interrupted(environ, repo.path, ["start", "--name=fix"], [moment])
        assert ended.code in {KILLED, DONE, CANCELLED}, (moment, ended)
        assert "Traceback" not in ended.shown, moment
        begun = [one["name"] for one in _json(environ, repo, "list")["sessions"]]
        # a signal that comes as the process closes finds the command carried out
        assert begun == ["fix"] if ended.code == DONE else ended.code == KILLED or not begun
        if begun:
            _para(environ, repo, "cancel", "fix")
        assert list((home / "work").glob("*")) == [], (moment, ended)
    assert repo.fingerprint() == before
    assert repo.refs("refs/heads").keys() == {"refs/heads/main"}


def test_ctrl_c_at_any_moment_ends_pause_and_resume(
    environ: dict[str, str], repo: Repository, api: Any, home: Path
) -> None:
    _para(environ, repo, "dispatch", "echo kept >kept; sleep 600", "--name=fix")
    for moment in moments(0.25, 1.3, 4):
        for verb, state in (("pause", "paused"), ("resume", "running")):
            ended = interrupted(environ, repo.path, [verb, "fix"], [moment, moment + 0.2])
            assert ended.code in {KILLED, DONE, CANCELLED}, (verb, moment, ended)
            assert "Traceback" not in ended.shown, (verb, moment)
            now = _json(environ, repo, "show", "fix")["state"]
            assert now in {"running", "paused"}, (verb, moment, ended)
            assert ended.code != DONE or now == state
            if now != state:
                _para(environ, repo, verb, "fix")
    _para(environ, repo, "finish", "the rest", "fix")
    assert repo.show("para/fix:kept") == "kept"
    assert engine.containers(api, home) == []


def test_ctrl_c_as_git_begins_ends_the_command(
    environ: dict[str, str], repo: Repository, tmp_path: Path
) -> None:
    git = shutil.which("git")
    for which in range(1, 13):
        folder = tmp_path / f"bin{which}"
        folder.mkdir()
        # the real git, as whose WHICH-th call begins Ctrl-C comes
        script = folder / "git"
        script.write_text(
            f"#!/bin/sh\necho >>{folder}/calls\n"
            f'[ $(wc -l <{folder}/calls) = {which} ] && kill -INT $PPID\nexec {git} "$@"\n'
        )
        script.chmod(0o755)
        path = f"{folder}:{environ['PATH']}"
        more = {"PATH": path, "PARA_CONTAINER_ENABLED": "false"} | NO_ENGINE
        done = subprocess.run(
            [PARA, "start", f"--name=fix{which}"],
            cwd=repo.path,
            env=environ | more,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        assert done.returncode in {DONE, CANCELLED}, done
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("turns", range(4))
def test_a_process_that_begins_as_its_asker_leaves_is_awaited(turns: int) -> None:
    """Interrupt between any two turns of the loop in which a process is started."""

    @single_flight
    async def asked() -> int:
        process = await asyncio.create_subprocess_exec(
            "git", "--version", stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        return len(out)

    async def leaving() -> int:
        asking = asyncio.ensure_future(asked())
        for _ in range(turns + 1):
            await asyncio.sleep(0)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        left = asyncio.all_tasks() - {asyncio.current_task()}
        async with asyncio.timeout(LONGEST):
            await wait_for_other_tasks()
        assert all(task.done() and not task.cancelled() for task in left)
        return len(left)

    assert asyncio.run(leaving()) > 0


def test_a_third_ctrl_c_ends_a_command_that_cannot_end(
    environ: dict[str, str], repo: Repository, home: Path
) -> None:
    # a hook that never ends, and that no signal but one ends
    hook = repo.path / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntrap '' TERM INT\n: >{repo.path}/.git/hook\nsleep 600 & wait\n")
    hook.chmod(0o755)
    environ |= NO_ENGINE | {"PARA_CONTAINER_ENABLED": "false"}
    process = subprocess.Popen(
        [PARA, "start", "--name=fix"],
        cwd=repo.path,
        env=environ,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while not (repo.path / ".git" / "hook").exists():
        assert process.poll() is None
        time.sleep(0.01)
    assert process.stderr is not None
    says = process.stderr
    process.send_signal(signal.SIGINT)
    _until(says, "Cancelling")
    process.send_signal(signal.SIGINT)
    _until(says, "Ctrl-C again")
    process.send_signal(signal.SIGINT)
    rest = says.read()
    assert process.wait(LONGEST) == KILLED
    assert "the next para command completes it" in rest
    hook.unlink()
    assert "No sessions" in _para(environ, repo, "list")
    assert repo.refs("refs/heads").keys() == {"refs/heads/main"}
    assert list((home / "work").glob("*")) == []


def _until(stream: Any, text: str) -> None:
    for line in stream:
        if text in line:
            return
    raise AssertionError(f"it never said {text}")


def _para(environ: dict[str, str], repo: Repository, *argv: str) -> str:
    done = subprocess.run(
        [PARA, *argv],
        cwd=repo.path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert done.returncode == DONE, done
    return done.stdout


def _json(environ: dict[str, str], repo: Repository, *argv: str) -> Any:
    return json.loads(_para(environ, repo, *argv, "--json"))
