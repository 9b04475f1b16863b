"""What an agent may leave in its workspace, against every command that touches the session."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.client import Para, eventually
from tests.hostile.conftest import Bait
from tests.hostile.traps import Trap
from tests.hostile.traps_of_files import TRAPS
from tests.scratch import Repository

SPRUNG = 3.0  # seconds after which naive is taken to wait for ever
WORK = "honest work\n"
HONEST = "echo honest work > commit.txt; git add -A; git commit -qm honest; cp commit.txt work.txt"

ENDLESS = "#!/usr/bin/perl\nwhile (1) { print 0 x 1e6; select undef, undef, undef, 0.1 }"


@dataclass(frozen=True)
class Done:
    """What a script did; no code where it did not end."""

    code: int | None
    output: bytes


def on_host(script: str, folder: Path, bait: Bait, seconds: float | None = None) -> Done:
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env=dict(os.environ) | bait.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return Done(None, process.communicate()[0])
    return Done(process.returncode, output)


def within(api: Any, container: str, script: str, bait: Bait, user: str = "para") -> Done:
    made = api.exec_create(
        container,
        ["bash", "-c", script],
        user=user,
        workdir="/para-session",
        environment=bait.environment(),
    )
    output: bytes = api.exec_start(made["Id"])
    return Done(api.exec_inspect(made["Id"])["ExitCode"], output)


def sprung(trap: Trap, done: Done, bait: Bait) -> bool:
    match trap.springs:
        case "canary":
            return bait.canary.exists()
        case "secret":
            return bait.text.encode() in done.output
        case "hangs":
            return done.code is None
        case "fails":
            return done.code not in {0, None}


def remove(path: Path) -> None:
    subprocess.run(["rm", "-rf", "--", path], check=True)


def springs_on_the_naive(trap: Trap, repo: Repository, bait: Bait) -> None:
    copies = bait.secret.parent / "copies"
    copy = copies / "one"
    copies.mkdir()
    subprocess.run(["git", "clone", "-q", repo.path, copy], check=True)
    config = "git config user.name Ada; git config user.email ada@example.org"
    ready = on_host(f"{config}; {HONEST}", copy, bait)
    assert ready.code == 0, ready
    put = on_host(trap.set, copy, bait)
    assert put.code == 0, put
    done = on_host(trap.naive, copy, bait, SPRUNG)
    assert sprung(trap, done, bait), f"it harms nobody: {done}"
    remove(bait.canary)
    remove(copies)


async def trapped(para: Para, repo: Repository, api: Any, bait: Bait, trap: Trap) -> str:
    """Start a session that did honest work and then set a trap; gives its container."""
    if not trap.within:
        springs_on_the_naive(trap, repo, bait)
    session = await para.call("para.start", name="trap")
    container: str = session["container"]["name"]
    ready = within(api, container, HONEST, bait)
    assert ready.code == 0, ready
    put = within(api, container, trap.set, bait, "root" if trap.root else "para")
    assert put.code == 0, put
    if trap.within:
        done = within(api, container, trap.naive, bait)
        assert sprung(trap, done, bait), f"it harms nobody: {done}"
    return container


async def looked_at(para: Para) -> list[Any]:
    looks = ("show", "logs", "open", "diff")
    shown = [await para.call(f"para.{what}", name="trap") for what in looks]
    changed = [file["path"] for file in shown[-1]["files"]]
    assert "work.txt" in changed, changed
    return [*shown, await para.call("para.list"), await para.call("para.doctor")]


@pytest.mark.slice(6)
@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS.keys())
async def test_finish_brings_the_work_past(
    para: Para, repo: Repository, api: Any, home: Path, bait: Bait, trap: Trap
) -> None:
    before = repo.fingerprint()
    await trapped(para, repo, api, bait, trap)
    shown = await looked_at(para)
    result = await para.call("para.finish", name="trap", message="the rest")
    assert repo.show("para/trap:work.txt") == WORK.strip()
    if trap.whole:
        assert "honest" in repo.git("log", "--all", "--format=%s").splitlines()
    bait.untouched(repo, *shown, result)
    assert repo.fingerprint() == before
    assert not engine.containers(api, home)
    assert not list((home / "work").iterdir())


@pytest.mark.slice(3)
@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS.keys())
async def test_cancel_and_recover_bring_the_work_past(
    para: Para, repo: Repository, api: Any, home: Path, bait: Bait, trap: Trap
) -> None:
    before = repo.fingerprint()
    await trapped(para, repo, api, bait, trap)
    result = await para.call("para.cancel", name="trap")
    assert repo.show(f"{result['archive']}:work.txt") == WORK.strip()
    if trap.whole:
        assert "honest" in repo.git("log", "--all", "--format=%s").splitlines()
    assert not engine.containers(api, home)
    session = await para.call("para.recover", name="trap")
    again = within(api, session["container"]["name"], "cat work.txt", bait)
    assert again == Done(0, WORK.encode())
    bait.untouched(repo, result, session, await looked_at(para))
    assert repo.fingerprint() == before
    await para.call("para.cancel", name="trap")


@pytest.mark.slice(3)
@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS.keys())
async def test_pause_and_resume_bring_the_work_past(
    para: Para, repo: Repository, api: Any, home: Path, bait: Bait, trap: Trap
) -> None:
    before = repo.fingerprint()
    await trapped(para, repo, api, bait, trap)
    shown: list[Any] = []
    for mode in ("save", "freeze"):
        shown.append(await para.call("para.pause", name="trap", mode=mode))
        shown.append(await para.call("para.diff", name="trap"))
        shown.append(await para.call("para.resume", name="trap"))
    await para.call("para.pause", name="trap")
    shown.append(await para.call("para.finish", name="trap", message="the rest"))
    assert repo.show("para/trap:work.txt") == WORK.strip()
    bait.untouched(repo, *shown)
    assert repo.fingerprint() == before
    assert not engine.containers(api, home)
    assert not engine.images(api, home)
    assert not list((home / "work").iterdir())


async def test_a_session_can_make_no_device(para: Para, api: Any, bait: Bait) -> None:
    session = await para.call("para.start", name="trap")
    made = within(api, session["container"]["name"], "mknod zero c 1 5", bait, "root")
    assert made.code != 0
    assert b"Operation not permitted" in made.output


async def test_programs_that_never_end_hold_nobody_up(
    servers: Callable[..., Awaitable[Para]], repo: Repository, api: Any, bait: Bait
) -> None:
    para = await servers(extra={"PARA_ENGINE_TIMEOUT": "5"})
    await para.call("para.dispatch", prompt=f"{HONEST}; sleep 600", name="trap")
    session = await para.agent("trap", "working")
    container = session["container"]["name"]
    await eventually(
        lambda: asyncio.to_thread(within, api, container, "test -f work.txt", bait),
        lambda done: done.code == 0,
    )
    put = "cat > /tmp/x; chmod +x /tmp/x; for one in tmux sh bash; do cp /tmp/x /usr/bin/$one.x;"
    put = f"echo '{ENDLESS}' | ({put} mv /usr/bin/$one.x /usr/bin/$one; done)"
    assert within(api, container, put, bait, "root").code == 0
    await para.fails("engine.timeout", "para.send", name="trap", text="hello")
    paused = await para.call("para.pause", name="trap")
    assert paused["state"] == "paused"
    await para.fails("engine.timeout", "para.resume", name="trap", prompt="more")
    assert (await para.call("para.show", name="trap"))["state"] == "paused"
    result = await para.call("para.cancel", name="trap")
    assert repo.show(f"{result['archive']}:work.txt") == WORK.strip()


async def test_taking_work_out_ends_with_its_limit_and_loses_nothing(
    servers: Callable[..., Awaitable[Para]], repo: Repository, api: Any, bait: Bait
) -> None:
    para = await servers(extra={"PARA_GIT_MAXSECONDS": "6", "PARA_GIT_MAX_SECONDS": "6"})
    session = await para.call("para.start", name="trap")
    container = session["container"]["name"]
    endless = f"{HONEST}; truncate -s 900G endless"
    assert within(api, container, endless, bait).code == 0
    for command, params in (("finish", {"message": "x"}), ("cancel", {}), ("diff", {})):
        failed = await para.fails("workspace.timeout", f"para.{command}", name="trap", **params)
        assert "longer than 6 seconds" in failed.message
        assert failed.remedies[0]["setting"] == "git.maxSeconds"
    assert (await para.call("para.show", name="trap"))["state"] == "running"
    assert set(repo.refs()) == {"refs/heads/main", f"refs/para/base/{session['id']}"}
    assert within(api, container, "rm endless", bait).code == 0
    result = await para.call("para.cancel", name="trap")
    assert repo.show(f"{result['archive']}:work.txt") == WORK.strip()


async def test_work_that_weighs_too_much_stays_where_it_is(
    servers: Callable[..., Awaitable[Para]], repo: Repository, api: Any, bait: Bait
) -> None:
    para = await servers(extra={"PARA_GIT_MAX_BUNDLE": "2m"})
    session = await para.call("para.start", name="trap")
    container = session["container"]["name"]
    heavy = f"{HONEST}; head -c 8M /dev/urandom > heavy; {shlex.join(['git', 'status', '-s'])}"
    assert within(api, container, heavy, bait).code == 0
    failed = await para.fails("workspace.too-large", "para.finish", name="trap", message="x")
    assert failed.remedies[0]["setting"] == "git.maxBundle"
    assert (await para.call("para.show", name="trap"))["state"] == "running"
    assert set(repo.refs()) == {"refs/heads/main", f"refs/para/base/{session['id']}"}
    assert within(api, container, "rm heavy", bait).code == 0
    await para.call("para.finish", name="trap", message="x")
    assert repo.show("para/trap:work.txt") == WORK.strip()
