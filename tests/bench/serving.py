"""What it costs to have a server, and how soon it answers and tells."""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from tests.bench.dispatching import FEW
from tests.bench.measure import Figure, compared, repeated, timed
from tests.bench.place import Place
from tests.bench.rivals import BARE_SERVER

KNOWN = (1, 10, 50, 500)  # sessions
PARA = [sys.executable, "-m", "para_server"]
_BARE = [sys.executable, "-c", BARE_SERVER]


class Talk:
    """A server process and the plainest client: nothing of the client's is in the figures."""

    def __init__(self, argv: list[str], environ: dict[str, str], options: object = None) -> None:
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            argv,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._id = 0
        params: dict[str, Any] = {"processId": os.getpid(), "rootUri": None, "capabilities": {}}
        self.initialize = self.ask("initialize", params | {"initializationOptions": options})
        self.initialized_after = (time.perf_counter() - self.began) * 1000
        self.send({"method": "initialized", "params": {}})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def send(self, message: dict[str, object]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self.process.stdin.flush()

    def hear(self) -> bytes:
        assert self.process.stdout is not None
        length = 0
        while (line := self.process.stdout.readline()).strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return self.process.stdout.read(length)

    def ask(self, method: str, params: object) -> bytes:
        """Ask, and give the answer as it came."""
        self._id += 1
        self.send({"id": self._id, "method": method, "params": params})
        mark = b'"id": %d,' % self._id
        while mark not in (heard := self.hear())[:60]:
            pass
        return heard

    def ask_all(self, method: str, params: Sequence[object]) -> None:
        """Ask all at once, and wait until each is answered well."""
        first = self._id + 1
        for one in params:
            self._id += 1
            self.send({"id": self._id, "method": method, "params": one})
        missing = set(range(first, self._id + 1))
        while missing:
            heard = self.hear()
            answer = re.match(rb'{"jsonrpc": "2.0", "id": (\d+), "(result|error)"', heard)
            if answer:
                assert answer[2] == b"result", heard
                missing.remove(int(answer[1]))

    @property
    def resident(self) -> float:
        """Tell the megabytes of memory that the process has."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1000

    @property
    def seconds_of_cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/schedstat").read_text().split()
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        told = [int((one / "schedstat").read_text().split()[0]) for one in threads]
        return (sum(told) if fields else 0) / 1e9


async def figures(place: Place, pairs: int) -> list[Figure]:
    """Measure starts, memory, idleness, `para.list`, notifications, the command line."""
    repo = str(place.repo(FEW).path)

    async def initialized(argv: list[str]) -> float:
        with Talk(argv, place.environ) as talk:
            return talk.initialized_after

    found = [
        await compared(
            Figure("initialize", "a bare pygls server", 1.10),
            2 * pairs,
            lambda: initialized(PARA),
            lambda: initialized(_BARE),
        )
    ]
    for known in KNOWN:
        home = _known(place, repo, known)
        found += _of_many(place, home, known, pairs)
    found.append(await _told(place, repo, max(20, pairs)))
    found += await _command_line(place, 2 * pairs)
    return found


def _known(place: Place, repo: str, number: int) -> Path:
    """Make a home that knows so many sessions, saved ones: they need no container."""
    home = place.folder / f"home-{number}"
    (home / "sessions").mkdir(parents=True)
    for one in range(number):
        key, now = f"known-{one}-abcdef", datetime.now(UTC).isoformat()
        told = home / "agents" / key / "out" / "state"
        told.parent.mkdir(parents=True)
        told.write_text("done\n1700000000\nexit code 0\n")
        record = {
            "id": key,
            "name": f"known-{one}",
            "type": "container",
            "state": "paused",
            "repo": repo,
            "base": "0" * 40,
            "branch": f"para/known-{one}",
            "agent": "command",
            "image": "para-base:latest",
            "prompt": "what there is to do " * 5,
            "createdAt": now,
            "updatedAt": now,
        }
        (home / "sessions" / f"{key}.json").write_text(json.dumps(record))
    return home


def _of_many(place: Place, home: Path, known: int, pairs: int) -> list[Figure]:
    environ = place.environ | {"PARA_HOME": str(home)}
    with Talk(PARA, environ) as para, Talk(_BARE, place.environ) as bare:
        call = {"command": "para.list", "arguments": []}
        listed = Figure(f"para.list, {known} sessions")
        for turn in range(6 * pairs):
            began = time.perf_counter()
            answer = para.ask("workspace/executeCommand", call)
            taken = (time.perf_counter() - began) * 1000
            assert answer.count(b'"createdAt"') == known
            if turn >= pairs:
                listed.ours.append(taken)
        memory = Figure(f"memory, {known} sessions", "bare pygls", extra=True, unit="MB")
        memory.ours, memory.theirs = [para.resident], [bare.resident]
        if known != max(KNOWN):
            return [listed, memory]
        listed.most, memory.most = 5, 30
        time.sleep(3)  # what a start brings with it is over
        idle, seconds = Figure("CPU while idle", unit="%", most=0.1), 10
        before = para.seconds_of_cpu
        time.sleep(seconds)
        idle.ours = [(para.seconds_of_cpu - before) / seconds * 100]
        return [listed, memory, idle]


async def _told(place: Place, repo: str, times: int) -> Figure:
    """Measure from the death of a container to the notification, as 19 of 20 are at most."""
    figure = Figure("docker stop to notification, p95", most=50)
    async with place.server() as para:
        session = await para.call("para.start", name="told", repo=repo)
        container = session["container"]["id"]
        loop = asyncio.get_running_loop()
        events = place.api.events(decode=True, filters={"container": container, "event": "die"})
        taken = []
        for _ in range(times):
            died = loop.run_in_executor(None, next, events)
            stopped = asyncio.create_task(asyncio.to_thread(place.api.stop, container, timeout=3))
            seen = len(para.changes)
            await para.until(lambda change: _state(change) == "failed")
            heard = time.time_ns()
            taken.append((heard - (await died)["timeNano"]) / 1e6)
            await stopped
            assert len(para.changes) > seen
            await para.call("para.resume", name="told", repo=repo)
            para.changes.clear()
        events.close()
        await para.call("para.cancel", name="told", repo=repo)
    figure.ours = [statistics.quantiles(taken, n=20)[-1]]
    return figure


def _state(change: dict[str, object]) -> str:
    sessions = change["sessions"]
    assert isinstance(sessions, list)
    return next((str(one["state"]) for one in sessions if one["name"] == "told"), "")


async def _command_line(place: Place, runs: int) -> list[Figure]:
    para = str(Path(sys.executable).with_name("para"))
    found = []
    for words, most in (("--help", 150), ("list", 350)):

        async def called(words: str = words) -> float:
            async with timed() as watch:
                subprocess.run([para, words], env=place.environ, check=True, capture_output=True)  # noqa: ASYNC221 # nothing else is to be done
            return watch.taken

        figure = Figure(f"para {words}, whole process", most=most)
        found.append(await repeated(figure, runs, called))
    return found
