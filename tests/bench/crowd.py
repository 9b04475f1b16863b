"""What many sessions at once cost: from several processes, against the engine alone."""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path

from tests import engine
from tests.bench.dispatching import FEW
from tests.bench.measure import Figure, compared, timed
from tests.bench.place import IMAGE, NETWORK, Place, run
from tests.bench.rivals import Floor
from tests.bench.serving import PARA, Talk

PROCESSES = (1, 2, 4, 8)
JUDGED = 4  # processes, with all sessions; the others show how it grows
_THREADS = 8  # of each process, as many as para has


async def figures(place: Place, pairs: int, sessions: int) -> list[Figure]:
    """Measure how many sessions a second there are; the same number of bare containers beside."""
    repo = str(place.repo(FEW).path)
    async with place.server() as para:
        model = await para.call("para.start", name="model", repo=repo)
        floor = Floor(place, model)
        found = []
        for processes in PROCESSES:
            judged = processes == JUDGED
            number = sessions if judged else max(processes, sessions // 4)
            title = f"{number} sessions at once, {processes} processes"
            least = 0.85 if judged else None
            figure = Figure(title, "create + start alike", least=least, unit="/s")
            found.append(
                await compared(
                    figure,
                    pairs if judged else 2,
                    partial(_ours, place, repo, processes, number),
                    partial(_theirs, place, floor, processes, number),
                )
            )
        await para.call("para.cancel", name="model", repo=repo)
    return found


async def _ours(place: Place, repo: str, processes: int, number: int) -> float:
    names = [place.name() for _ in range(number)]
    parts = [names[turn::processes] for turn in range(processes)]
    options = {"notifications": True}
    with ExitStack() as stack:
        servers = [stack.enter_context(Talk(PARA, place.environ, options)) for _ in parts]

        async def each(command: str, **params: str) -> None:
            calls = [_calls(command, part, repo=repo, **params) for part in parts]
            await asyncio.gather(
                *(
                    asyncio.to_thread(server.ask_all, "workspace/executeCommand", one)
                    for server, one in zip(servers, calls, strict=True)
                )
            )

        async with timed() as watch:
            await each("para.start", network=NETWORK, image=IMAGE)
        await each("para.cancel")
    return number / watch.taken * 1000


def _calls(command: str, names: list[str], **params: str) -> list[object]:
    return [{"command": command, "arguments": [{"name": name, **params}]} for name in names]


async def _theirs(place: Place, floor: Floor, processes: int, number: int) -> float:
    """Let as many processes make as many containers of the same parameters, and nothing else."""
    config = place.folder / "bare.json"
    config.write_text(json.dumps(floor.config))
    names = [place.name() for _ in range(number)]
    parts = [names[turn::processes] for turn in range(processes)]
    argv = (sys.executable, "-m", "tests.bench.crowd", str(config))
    try:
        async with AsyncExitStack() as stack:
            workers = [
                await asyncio.create_subprocess_exec(
                    *argv, *part, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
                )
                for part in parts
            ]
            for worker in workers:  # all are up before the first begins, as para's servers are
                assert worker.stdout is not None
                await worker.stdout.readline()
            async with timed() as watch:
                told = await asyncio.gather(*(worker.communicate(b"\n") for worker in workers))
            assert [worker.returncode for worker in workers] == [0] * processes, told
            await stack.aclose()
    finally:
        await run("docker", "rm", "--force", *names, quiet=False)
    return number / watch.taken * 1000


def work(config: Path, names: list[str]) -> None:
    """Make and start containers side by side, once the word is given: one process of several."""
    wanted = json.loads(config.read_text())

    def one(name: str) -> None:
        api = engine.connect()
        api.create_container_from_config(wanted, name)
        api.start(name)
        api.close()

    engine.connect().close()
    with ThreadPoolExecutor(_THREADS) as threads:
        print("ready", flush=True)
        sys.stdin.readline()
        list(threads.map(one, names))


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2:])
