"""One step of the end of sessions that fails: of git, the disk, the engine, a helper container."""

from __future__ import annotations

import contextlib
import errno
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docker.errors import APIError

from para_server.core.names import HELPER_PREFIX
from tests import engine
from tests.git.failing_files import FailingFiles
from tests.git.fuse import Fuse
from tests.proxy import How, Proxy

GIT_CALLS = 90  # that the ends of a few sessions may make: each may be the one that fails
ENGINE_CALLS = 70
FILE_CHANGES = 100
# a full disk, a read-only folder, a bad disk
DISK_ERRORS = (errno.ENOSPC, errno.EACCES, errno.EIO)
HELPERS = 3  # of one session that may be killed: with each, less is asked of the next
_WAYS: tuple[How, ...] = ("before", "after", "500")


@dataclass(frozen=True)
class Mishap:
    """What fails: which call, or how many helpers."""

    of: str
    which: int = 0
    how: How = "before"
    error: int = 0  # of the system, where a change of a file is refused


@dataclass(frozen=True)
class Breakable:
    """What stands between a server and the world, and fails when it is told to."""

    git: Fuse
    files: FailingFiles
    engine: Proxy

    @property
    def environ(self) -> dict[str, str]:
        """Lead a server through all of it."""
        return {
            "PATH": self.git.path,
            "PYTHONPATH": self.files.path,
            "DOCKER_HOST": self.engine.address,
        }


def drawn(chance: random.Random) -> Mishap:
    """Draw one, or none."""
    kinds = "nothing git git git-afterwards engine engine helper file file"
    match chance.choice(kinds.split()):
        case "nothing":
            return Mishap("nothing")
        case "file":
            which = chance.randint(1, FILE_CHANGES)
            return Mishap("file", which, error=chance.choice(DISK_ERRORS))
        case "engine":
            return Mishap("engine", chance.randrange(ENGINE_CALLS), chance.choice(_WAYS))
        case "helper":
            return Mishap("helper", chance.randint(1, HELPERS))
        case of:
            return Mishap(of, chance.randint(1, GIT_CALLS))


@contextlib.contextmanager
def befalling(mishap: Mishap, breakable: Breakable, session: str) -> Iterator[list[str]]:
    """Let it happen meanwhile; what did is listed afterwards."""
    happened: list[str] = []
    match mishap.of:
        case "nothing":
            yield happened
        case "engine":
            with breakable.engine.failing(mishap.which, mishap.how):
                yield happened
            hit = breakable.engine.hit
            happened += [f"{mishap.how} {hit}"] if hit else []
        case "helper":
            with killed_helpers(session, mishap.which) as happened:
                yield happened
        case "file":
            breakable.files.burn(mishap.which, mishap.error)
            yield happened
            happened += filter(None, [breakable.files.out()])
        case _:
            breakable.git.burn(mishap.which, after=mishap.of == "git-afterwards")
            yield happened
            happened += [mishap.of] if breakable.git.out() else []


@contextlib.contextmanager
def killed_helpers(session: str, count: int) -> Iterator[list[str]]:
    """Kill the first helpers of a session as soon as they run."""
    happened: list[str] = []
    api = engine.connect()
    stream = api.events(filters={"event": "start", "type": "container"}, decode=True)
    watching = threading.Thread(target=_kill, args=(stream, session, count, happened))
    watching.start()
    try:
        yield happened
    finally:
        stream.close()
        watching.join()
        api.close()


def _kill(stream: Any, session: str, count: int, happened: list[str]) -> None:
    api = engine.connect()
    for event in stream:
        name = event["Actor"]["Attributes"]["name"]
        if not name.startswith(f"{HELPER_PREFIX}{session}.") or len(happened) >= count:
            continue
        with contextlib.suppress(APIError):  # it was faster
            api.kill(name)
            happened.append("helper")
    api.close()
