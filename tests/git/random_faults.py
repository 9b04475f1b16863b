"""Inject one fault into the end of sessions: of git, the disk, the engine, or a container."""

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
from tests.git.failing_git import FailingGit
from tests.proxy import How, Proxy

GIT_CALLS = 90  # of the ends of a few sessions; each can fail
ENGINE_CALLS = 70
FILE_CHANGES = 100
# a full disk, a read-only folder, a bad disk
DISK_ERRORS = (errno.ENOSPC, errno.EACCES, errno.EIO)
HELPERS = 3  # one-shot containers of one session that can be killed; each retry asks for less
_WAYS: tuple[How, ...] = ("before", "after", "500")


@dataclass(frozen=True)
class Fault:
    """What fails: which call, or how many one-shot containers."""

    of: str
    which: int = 0
    how: How = "before"
    error: int = 0  # errno of a refused change of a file


@dataclass(frozen=True)
class FaultyServices:
    """The git, files and engine of a server, which fail on request."""

    git: FailingGit
    files: FailingFiles
    engine: Proxy

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a server that uses them."""
        return {
            "PATH": self.git.path,
            "PYTHONPATH": self.files.path,
            "DOCKER_HOST": self.engine.address,
        }


def draw_fault(chance: random.Random) -> Fault:
    """Return a random fault, or none."""
    kinds = "nothing git git git-afterwards engine engine helper file file"
    match chance.choice(kinds.split()):
        case "nothing":
            return Fault("nothing")
        case "file":
            which = chance.randint(1, FILE_CHANGES)
            return Fault("file", which, error=chance.choice(DISK_ERRORS))
        case "engine":
            return Fault("engine", chance.randrange(ENGINE_CALLS), chance.choice(_WAYS))
        case "helper":
            return Fault("helper", chance.randint(1, HELPERS))
        case of:
            return Fault(of, chance.randint(1, GIT_CALLS))


@contextlib.contextmanager
def injected_fault(fault: Fault, services: FaultyServices, session: str) -> Iterator[list[str]]:
    """Inject a fault; the list has what happened after the block."""
    happened: list[str] = []
    match fault.of:
        case "nothing":
            yield happened
        case "engine":
            with services.engine.failing(fault.which, fault.how):
                yield happened
            hit = services.engine.hit
            happened += [f"{fault.how} {hit}"] if hit else []
        case "helper":
            with killed_one_shot_containers(session, fault.which) as happened:
                yield happened
        case "file":
            services.files.arm(fault.which, fault.error)
            yield happened
            happened += filter(None, [services.files.disarm()])
        case _:
            services.git.arm(fault.which, after=fault.of == "git-afterwards")
            yield happened
            happened += [fault.of] if services.git.disarm() else []


@contextlib.contextmanager
def killed_one_shot_containers(session: str, count: int) -> Iterator[list[str]]:
    """Kill the first one-shot containers of a session as soon as they run."""
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
        with contextlib.suppress(APIError):  # it had exited
            api.kill(name)
            happened.append("helper")
    api.close()
