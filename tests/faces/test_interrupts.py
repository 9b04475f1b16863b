"""Interrupt commands with Ctrl-C at any time: they end and roll back."""

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
TIMEOUT_S = 60.0  # of a command with its rollback
EXIT_BY_SIGNAL, EXIT_OK, EXIT_CANCELLED = -signal.SIGINT, 0, 130
CTRL_C = b"\x03"


class Outcome(NamedTuple):
    """The exit code of a command and its output on the terminal."""

    code: int
    output: str


def run_with_interrupts(
    environ: dict[str, str], folder: Path, argv: list[str], times: list[float]
) -> Outcome:
    """Run para on a terminal and press Ctrl-C at times, in seconds after its start."""
    child, screen = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execve(PARA, [PARA, *argv], environ)  # noqa: S606 # that is the point
    started, output, remaining = time.monotonic(), b"", list(times)
    try:
        while True:
            wait = (
                0.1
                if not remaining
                else min(0.1, max(0.0, started + remaining[0] - time.monotonic()))
            )
            if select.select([screen], [], [], wait)[0]:
                try:
                    part = os.read(screen, 65536)
                except OSError:  # the end of the output on Linux
                    break
                output += part
            if remaining and time.monotonic() >= started + remaining[0]:
                remaining.pop(0)
                os.write(screen, CTRL_C)
            assert time.monotonic() < started + TIMEOUT_S, f"{argv} at {times} hangs: {output!r}"
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(screen)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Outcome(code, output.decode(errors="replace"))


def times(first: float, last: float, count: int) -> Iterator[float]:
    """Return evenly spaced times."""
    yield from (first + (last - first) * i / (count - 1) for i in range(count))


def test_start_rolls_back_on_interrupt_at_any_time(
    environ: dict[str, str], repo: Repository, home: Path
) -> None:
    environ |= NO_ENGINE | {"PARA_CONTAINER_ENABLED": "false"}
    before = repo.fingerprint()
    for at in times(0.05, 1.0, 12):
        outcome = run_with_interrupts(environ, repo.path, ["start", "--name=fix"], [at])
        assert outcome.code in {EXIT_BY_SIGNAL, EXIT_OK, EXIT_CANCELLED}, (at, outcome)
        assert "Traceback" not in outcome.output, at
        names = [one["name"] for one in _json(environ, repo, "list")["sessions"]]
        # a signal while the process exits comes after the command has succeeded
        assert (
            names == ["fix"]
            if outcome.code == EXIT_OK
            else outcome.code == EXIT_BY_SIGNAL or not names
        )
        if names:
            _para(environ, repo, "cancel", "fix")
        assert list((home / "work").glob("*")) == [], (at, outcome)
    assert repo.fingerprint() == before
    assert repo.refs("refs/heads").keys() == {"refs/heads/main"}


def test_pause_and_resume_survive_interrupts_at_any_time(
    environ: dict[str, str], repo: Repository, api: Any, home: Path
) -> None:
    _para(environ, repo, "dispatch", "echo kept >kept; sleep 600", "--name=fix")
    for at in times(0.25, 1.3, 4):
        for verb, state in (("pause", "paused"), ("resume", "running")):
            outcome = run_with_interrupts(environ, repo.path, [verb, "fix"], [at, at + 0.2])
            assert outcome.code in {EXIT_BY_SIGNAL, EXIT_OK, EXIT_CANCELLED}, (verb, at, outcome)
            assert "Traceback" not in outcome.output, (verb, at)
            now = _json(environ, repo, "show", "fix")["state"]
            assert now in {"running", "paused"}, (verb, at, outcome)
            assert outcome.code != EXIT_OK or now == state
            if now != state:
                _para(environ, repo, verb, "fix")
    _para(environ, repo, "finish", "the rest", "fix")
    assert repo.show("para/fix:kept") == "kept"
    assert engine.containers(api, home) == []


def test_interrupt_at_the_start_of_git_ends_the_command(
    environ: dict[str, str], repo: Repository, tmp_path: Path
) -> None:
    git = shutil.which("git")
    for number in range(1, 13):
        folder = tmp_path / f"bin{number}"
        folder.mkdir()
        # a git that sends Ctrl-C to para at its NUMBER-th call
        script = folder / "git"
        script.write_text(
            f"#!/bin/sh\necho >>{folder}/calls\n"
            f'[ $(wc -l <{folder}/calls) = {number} ] && kill -INT $PPID\nexec {git} "$@"\n'
        )
        script.chmod(0o755)
        path = f"{folder}:{environ['PATH']}"
        more = {"PATH": path, "PARA_CONTAINER_ENABLED": "false"} | NO_ENGINE
        done = subprocess.run(
            [PARA, "start", f"--name=fix{number}"],
            cwd=repo.path,
            env=environ | more,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode in {EXIT_OK, EXIT_CANCELLED}, done
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("turns", range(4))
def test_process_of_a_cancelled_caller_is_awaited(turns: int) -> None:
    """Cancel the caller after each turn of the loop in which a process is started."""

    @single_flight
    async def run_git() -> int:
        process = await asyncio.create_subprocess_exec(
            "git", "--version", stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        return len(out)

    async def cancel_caller() -> int:
        caller = asyncio.ensure_future(run_git())
        for _ in range(turns + 1):
            await asyncio.sleep(0)
        caller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await caller
        remaining = asyncio.all_tasks() - {asyncio.current_task()}
        async with asyncio.timeout(TIMEOUT_S):
            await wait_for_other_tasks()
        assert all(task.done() and not task.cancelled() for task in remaining)
        return len(remaining)

    assert asyncio.run(cancel_caller()) > 0


def test_third_interrupt_ends_a_blocked_command(
    environ: dict[str, str], repo: Repository, home: Path
) -> None:
    # a hook that only SIGKILL stops
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
    stderr = process.stderr
    process.send_signal(signal.SIGINT)
    _read_until(stderr, "Cancelling")
    process.send_signal(signal.SIGINT)
    _read_until(stderr, "Ctrl-C again")
    process.send_signal(signal.SIGINT)
    rest = stderr.read()
    assert process.wait(TIMEOUT_S) == EXIT_BY_SIGNAL
    assert "the next para command completes it" in rest
    hook.unlink()
    assert "No sessions" in _para(environ, repo, "list")
    assert repo.refs("refs/heads").keys() == {"refs/heads/main"}
    assert list((home / "work").glob("*")) == []


def _read_until(stream: Any, text: str) -> None:
    for line in stream:
        if text in line:
            return
    raise AssertionError(f"no output contains {text}")


def _para(environ: dict[str, str], repo: Repository, *argv: str) -> str:
    done = subprocess.run(
        [PARA, *argv],
        cwd=repo.path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == EXIT_OK, done
    return done.stdout


def _json(environ: dict[str, str], repo: Repository, *argv: str) -> Any:
    return json.loads(_para(environ, repo, *argv, "--json"))
