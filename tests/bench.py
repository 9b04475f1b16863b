"""What para costs, against what it would be without para; run by `make bench`.

Absolute times say more about a machine than about para, so each figure is a ratio of two things
that are measured in pairs, in turn, in one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests import client, engine, scratch
from tests.client import Para
from tests.scratch import Repository

IMAGE, NETWORK = "para-base:latest", "bridge"
FILES = 200

BARE_SERVER = """
from pygls.lsp.server import LanguageServer

LanguageServer("bare", "1").start_io()
"""

# A session without para: a worktree, a container around it, and a first word with it. It asks what
# whoever starts several has to ask: does the engine answer, how many run, is the image there?
RECIPE_UP = """
set -e
repo=$1 name=$2 image=$3 network=$4 dir=$5
docker version >/dev/null
[ "$(docker ps --filter name=recipe-session- --format '{{.Names}}' | wc -l)" -lt 1000 ]
docker image inspect "$image" >/dev/null
git -C "$repo" worktree add -q -b "recipe/$name" "$dir/$name"
docker run -dt --name "recipe-session-$name" \\
  --mount "type=bind,source=$dir/$name,target=/para-session" \\
  --network "$network" "$image" sleep infinity >/dev/null
docker exec "recipe-session-$name" true
"""

RECIPE_DOWN = """
repo=$1 name=$2 dir=$3
docker rm -f "recipe-session-$name" >/dev/null
git -C "$repo" worktree remove --force "$dir/$name"
git -C "$repo" branch -D -q "recipe/$name"
"""


@dataclass
class Comparison:
    """Two series that were measured in turn, and how much longer the first may take."""

    title: str
    against: str
    most: float
    ours: list[float]
    theirs: list[float]

    @property
    def ratio(self) -> float:
        """The ratio of the medians."""
        return statistics.median(self.ours) / statistics.median(self.theirs)

    @property
    def pairs(self) -> list[float]:
        """The ratio of each pair."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    @property
    def met(self) -> bool:
        return self.ratio <= self.most


async def compared(
    title: str,
    against: str,
    most: float,
    pairs: int,
    ours: Callable[[], Awaitable[float]],
    theirs: Callable[[], Awaitable[float]],
) -> Comparison:
    """Measure in pairs, each in the other order than the one before; the first does not count."""
    found = Comparison(title, against, most, [], [])
    series = [(ours, found.ours), (theirs, found.theirs)]
    for pair in range(pairs + 1):
        for measure, into in series if pair % 2 else reversed(series):
            seconds = await measure()
            if pair:
                into.append(seconds)
    return found


def initialized_after(argv: list[str], environ: dict[str, str]) -> float:
    """Start a server and tell the seconds until it has answered `initialize`."""
    params: dict[str, object] = {"processId": os.getpid(), "rootUri": None, "capabilities": {}}
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    body = json.dumps(request).encode()
    began = time.perf_counter()
    with subprocess.Popen(
        argv,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        process.stdin.flush()
        length = 0
        while (line := process.stdout.readline()).strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        answer = json.loads(process.stdout.read(length))
        took = time.perf_counter() - began
        process.kill()
    assert "capabilities" in answer["result"], answer
    return took


async def initialize(pairs: int, environ: dict[str, str]) -> Comparison:
    """Compare the start of para-server with that of a server that does nothing."""

    async def para() -> float:
        return initialized_after([sys.executable, "-m", "para_server"], environ)

    async def bare() -> float:
        return initialized_after([sys.executable, "-c", BARE_SERVER], environ)

    return await compared("initialize", "a bare pygls server", 1.15, pairs, para, bare)


async def dispatch(pairs: int, para: Para, repo: Repository, folder: Path) -> Comparison:
    """Compare a dispatch with the commands that a person would type."""
    names = (f"bench-{number}" for number in range(2 * pairs + 2))

    async def dispatched() -> float:
        name = next(names)
        began = time.perf_counter()
        session = await para.call("para.dispatch", name=name, prompt="sleep 600", network=NETWORK)
        took = time.perf_counter() - began
        assert session["state"] == "running", session
        await para.call("para.cancel", name=name)
        return took

    async def typed() -> float:
        name = f"{next(names)}-{os.getpid()}"
        began = time.perf_counter()
        try:
            await shell(RECIPE_UP, str(repo.path), name, IMAGE, NETWORK, str(folder))
            return time.perf_counter() - began
        finally:
            await shell(RECIPE_DOWN, str(repo.path), name, str(folder))

    title = f"para.dispatch, {FILES} files"
    return await compared(title, "git worktree add, docker run", 1.3, pairs, dispatched, typed)


async def shell(script: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script, "recipe", *arguments, stderr=subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise SystemExit(f"The recipe failed: {said.decode(errors='replace').strip()}")


def command_lines(runs: int, environ: dict[str, str]) -> dict[str, list[float]]:
    """Measure what a person waits for at a terminal."""
    para = str(Path(sys.executable).with_name("para"))
    found: dict[str, list[float]] = {}
    for _ in range(runs):
        for arguments in (["--help"], ["list"]):
            began = time.perf_counter()
            subprocess.run([para, *arguments], env=environ, check=True, capture_output=True)
            found.setdefault(" ".join(["para", *arguments]), []).append(time.perf_counter() - began)
    return found


def report(console: Console, comparisons: list[Comparison], lines: dict[str, list[float]]) -> None:
    table = Table(title="Medians, and the range from the fastest to the slowest, in milliseconds")
    for title in ("what", "para", "against", "it takes", "ratio", "of the pairs", "at most", ""):
        table.add_column(title, justify="left" if title in {"what", "against"} else "right")
    for one in comparisons:
        table.add_row(
            f"{one.title}, {len(one.ours)} pairs",
            spread(one.ours, 1000, 0),
            one.against,
            spread(one.theirs, 1000, 0),
            f"{one.ratio:.2f}",
            spread(one.pairs, 1, 2),
            f"{one.most:.2f}",
            "[green]met[/]" if one.met else "[bold red]missed[/]",
        )
    for name, seconds in lines.items():
        table.add_row(f"{name}, {len(seconds)} runs", spread(seconds, 1000, 0))
    console.print(table)


def spread(values: list[float], factor: float, digits: int) -> str:
    low, middle, high = (factor * f(values) for f in (min, statistics.median, max))
    return f"{middle:.{digits}f} [dim]({low:.{digits}f}-{high:.{digits}f})[/]"


async def measured(arguments: argparse.Namespace) -> bool:
    console = Console(width=None if sys.stdout.isatty() else 160)
    api = engine.connect()
    with tempfile.TemporaryDirectory(prefix="para-bench-") as temporary:
        folder = Path(temporary)
        home = folder / "home"
        environ = {k: v for k, v in os.environ.items() if not k.startswith("PARA_")} | {
            "PARA_HOME": str(home),
            "PARA_CONFIG_HOME": str(folder / "config"),
            "PARA_AGENT_NAME": "command",
            "PARA_CONTAINER_MAX_RUNNING": "1000",  # others may be at work on this engine
            "PARA_CONTAINER_IMAGE": IMAGE,
        }
        repo = scratch.make(folder / "repo")
        repo.commit(**{f"src/part{n % 10}/file{n}.txt": f"{n}\n" * 40 for n in range(FILES - 2)})
        try:
            console.print(f"Measuring initialize, {arguments.starts} pairs")
            comparisons = [await initialize(arguments.starts, environ)]
            console.print(f"Measuring para.dispatch, {arguments.dispatches} pairs")
            para = await client.connect(environ, [repo.path])
            try:
                comparisons.append(await dispatch(arguments.dispatches, para, repo, folder))
            finally:
                await client.disconnect(para)
            lines = command_lines(arguments.starts, environ)
        finally:
            engine.clear(api, home)
            api.close()
    report(console, comparisons, lines)
    return all(one.met for one in comparisons)


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.bench", description=__doc__)
    parser.add_argument("--starts", type=int, default=15, help="pairs of server starts")
    parser.add_argument("--dispatches", type=int, default=9, help="pairs of dispatches")
    arguments = parser.parse_args()
    if shutil.which("docker") is None:
        raise SystemExit("The benchmark compares with the docker command line: install docker-cli")
    sys.exit(0 if asyncio.run(measured(arguments)) else 1)


if __name__ == "__main__":
    main()
