"""Nothing of a session runs before the host has finished with its workspace, nor the host after."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from para_server.core.settings import EngineSettings
from para_server.engine.endpoint import find_address
from tests import engine
from tests.client import Para, eventually
from tests.scratch import Repository

MARKS = "/para-agent/out/marks"
# every program that is not linked statically leaves its name and the time, whatever starts it
LIBRARY = f"""
#include <stdio.h>
#include <time.h>
#include <errno.h>
__attribute__((constructor)) static void mark(void) {{
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  FILE *file = fopen("{MARKS}", "a");
  if (!file) return;
  fprintf(file, "%s %ld.%09ld\\n", program_invocation_short_name, now.tv_sec, now.tv_nsec);
  fclose(file);
}}
"""
PROGRAM = f"""#!/bin/bash
echo "${{0##*/}} $EPOCHREALTIME" >>{MARKS}
[ "${{0##*/}}" = health ] || exec "$@"
"""
SHELL = f"""#!/bin/bash
echo "replaced-shell $EPOCHREALTIME" >>{MARKS}
exec /bin/bash "$@"
"""
RECIPE = """FROM para-base:latest
USER root
COPY library.so /usr/local/lib/library.so
COPY entrypoint health /usr/local/bin/
COPY shell /usr/bin/sh
ENTRYPOINT ["/usr/local/bin/entrypoint"]
HEALTHCHECK --interval=1s --start-period=1s CMD ["/usr/local/bin/health"]
ENV LD_PRELOAD=/usr/local/lib/library.so
USER para
"""
# git as the server finds it: of what it does in a workspace it notes when it was done, and it is
# slow there: a container that is started as soon as it was created overtakes it
GIT = """#!/bin/bash
case $PWD in {work}/*) ;; *) exec {git} "$@" ;; esac
there=0 looks=0
while [ "$1" = read-tree ] && [ $there -lt 20 ] && [ $((looks++)) -lt 60 ]; do
  state=$(docker -H {engine} ps -a --filter label=dev.para.home={home} --format '{{{{.State}}}}')
  [ -z "$state" ] || there=$((there + 1))
  [ "$state" != running ] || break
done
{git} "$@"
code=$?
echo "$EPOCHREALTIME $*" >>{notes}
exit $code
"""


@pytest.fixture
def image(tmp_path: Path, api: Any, home: Path) -> Iterator[str]:
    """Build an image that runs something in every way that an image has."""
    name = f"para-test-order-{os.getpid()}"
    folder = tmp_path / "image"
    folder.mkdir()
    for file, text in (
        ("Dockerfile", RECIPE),
        ("library.c", LIBRARY),
        ("entrypoint", PROGRAM),
        ("health", PROGRAM),
        ("shell", SHELL),
    ):
        (folder / file).write_text(text)
        (folder / file).chmod(0o755)
    compiled = ["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", "library.so", "library.c"]
    subprocess.run(compiled, cwd=folder, check=True)
    docker = ["docker", "-H", find_address(EngineSettings(), os.environ)]
    subprocess.run([*docker, "build", "-q", "-t", name, "."], cwd=folder, check=True)
    yield name
    engine.clear(api, home)
    subprocess.run([*docker, "image", "rm", "-f", name], check=True, capture_output=True)


@pytest.fixture
def slow(tmp_path: Path, home: Path) -> dict[str, str]:
    """Let the server find a git that is slow in workspaces."""
    script = tmp_path / "bin" / "git"
    script.parent.mkdir()
    script.write_text(
        GIT.format(
            work=home / "work",
            git=shutil.which("git"),
            engine=find_address(EngineSettings(), os.environ),
            home=home,
            notes=tmp_path / "notes",
        )
    )
    script.chmod(0o755)
    config = tmp_path / "config" / "config.toml"
    config.parent.mkdir()
    config.write_text('[container.env]\nBASH_ENV = "/para-session/of-every-shell"\n')
    return {"PATH": f"{script.parent}:{os.environ['PATH']}"}


def ran(home: Path, session: str) -> dict[str, float]:
    """Read when each program of a session ran for the first time."""
    marks: dict[str, float] = {}
    for line in (home / "agents" / session / "out" / "marks").read_text().splitlines():
        name, _, when = line.rpartition(" ")
        marks.setdefault(name, float(when))
    return marks


def touched(workspace: Path) -> float:
    """Find when the host made or handed over the last of a workspace's files."""
    return max(
        os.lstat(Path(root) / name).st_ctime
        for root, folders, files in os.walk(workspace)
        for name in (*folders, *files)
    )


async def test_nothing_runs_before_the_workspace_is_whole_and_the_host_stays_out_then(
    servers: Callable[..., Awaitable[Para]],
    repo: Repository,
    api: Any,
    home: Path,
    tmp_path: Path,
    image: str,
    slow: dict[str, str],
) -> None:
    repo.commit(
        "what runs",
        **{
            ".para/setup.sh": f'echo "set-up $EPOCHREALTIME" >>{MARKS}; [ ! -e fails ]\n',
            "of-every-shell": f'echo "every-shell $EPOCHREALTIME" >>{MARKS}\n',
            "fails": "",
        },
    )
    notes = tmp_path / "notes"
    para = await servers(extra=slow)

    async def shows(session: dict[str, Any], *expected: str, filled: bool = True) -> None:
        container = session["container"]["name"]
        marks = home / "agents" / session["id"] / "out" / "marks"
        await eventually(
            lambda: asyncio.to_thread(ran, home, session["id"]),
            lambda seen: set(expected) <= set(seen),
        )
        first = min(ran(home, session["id"]).values())
        if filled:
            assert touched(home / "work" / session["id"]) <= first
        calls = [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []
        assert any("read-tree" in call for call in calls) == filled, calls
        assert all(float(call[0]) <= first for call in calls), calls
        config = api.inspect_container(container)
        assert (config["State"].get("Health") or {}).get("Log", []) == []
        assert not {"entrypoint", "health"} & set(ran(home, session["id"]))
        notes.unlink(missing_ok=True)
        marks.unlink()

    failed = await para.call("para.dispatch", prompt="sleep 600", name="task", image=image)
    assert failed["state"] == "failed", failed
    programs = ("sleep", "bash", "replaced-shell")
    await shows(failed, *programs, "set-up", "every-shell")
    again = await para.call("para.resume", name="task")
    assert again["state"] == "failed", again
    await shows(again, "set-up", filled=False)
    await para.call("para.cancel", name="task")
    recovered = await para.call("para.recover", name="task")
    await shows(recovered, *programs)
    (home / "work" / recovered["id"] / "fails").unlink()
    assert (await para.call("para.resume", name="task"))["state"] == "running"
    (home / "agents" / recovered["id"] / "out" / "marks").unlink()
    await para.call("para.pause", name="task")
    await shows(await para.call("para.resume", name="task"), "sleep", filled=False)
    await para.call("para.finish", name="task", message="work")
    notes.unlink(missing_ok=True)
    (home / "agents" / recovered["id"] / "out" / "marks").unlink(missing_ok=True)
    await shows(await para.call("para.resume", name="task"), "sleep", "set-up")
    await para.call("para.cancel", name="task")
    person = await para.call("para.start", name="person", image=image)
    await shows(person, *programs)
    assert stat.S_ISREG((home / "agents" / person["id"] / "in" / "main.sh").stat().st_mode)
