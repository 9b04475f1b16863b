"""The only place that knows how the processes of a user wait for each other, and count together."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import math
import os
import stat
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakValueDictionary

from para_server.core.errors import SHOW_SESSIONS, ParaError
from para_server.host.filesystem import reporting_os_errors, unreadable_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Iterator

_RETRY_SECONDS: Final = 0.01  # seconds between two tries of a lock
LOCK_TIMEOUT: Final = 60.0  # seconds that a command waits for the one before it
_COUNT_LABEL: Final = "the number of containers"
_COUNT_LIFETIME: Final = 2.0  # seconds that a count holds: so late is seen what takes no place here


@asynccontextmanager
async def locked(file: Path, patience: float, what: str) -> AsyncIterator[None]:
    """Hold a lock file alone; after `patience` seconds raises session.illegal-transition."""
    until = asyncio.get_running_loop().time() + patience
    # within this process they wait for each other, and one of them for other processes
    inner = _process_locks.setdefault(file, asyncio.Lock())
    try:
        async with asyncio.timeout_at(until):
            await inner.acquire()
    except TimeoutError:
        raise _busy_error(what) from None
    try:
        descriptor = await _wait_for_lock(file, until, what)
        try:
            yield
        finally:
            os.close(descriptor)
    finally:
        inner.release()


def try_lock(file: Path) -> int | None:
    """Hold a lock file until the descriptor is closed; None where another process holds it."""
    with reporting_os_errors(file):
        file.parent.mkdir(mode=0o700, exist_ok=True)
        return _open_locked(file)


@asynccontextmanager
async def reserve(
    engine: Hashable,
    container: str,
    limit: int,
    listed: Callable[[], Awaitable[Collection[str]]],
) -> AsyncIterator[bool]:
    """Take a place for a container that is about to be made; tells whether there was one.

    It is taken until the block ends, in which the container is made: from then on `listed`, which
    asks the engine for the names of all there are, has it. No lock is held while the engine works:
    who comes counts what is listed and the places that were taken before, and waits for those at
    most a minute; then raises session.illegal-transition. For two seconds after a count nothing is
    asked where even with all places that were taken since there is room.
    """
    folder = _tickets_folder()
    async with locked(folder / "lock", LOCK_TIMEOUT, _COUNT_LABEL):
        mine = _draw_ticket(folder, container)
    try:
        has_room = _estimate_count(engine, mine.number) <= limit
        yield has_room or await _has_room(engine, folder, mine.number, limit, listed)
    finally:
        # first the file: whoever finds it without its lock would believe its maker to be dead
        mine.file.unlink(missing_ok=True)
        os.close(mine.descriptor)


class _Ticket(NamedTuple):
    """A place that is taken: its file is `NUMBER.CONTAINER`, and locked as long as it counts."""

    number: int
    file: Path
    descriptor: int


class _ContainerCount(NamedTuple):
    """How many containers there were, or were to be, once a place was taken; and when."""

    number: int
    most: int
    asked: float


def _estimate_count(engine: Hashable, number: int) -> float:
    """Tell how many containers there are at most once this place is filled."""
    counted = _counts.get(engine)
    if (
        counted is None
        or counted.number >= number
        or time.monotonic() > counted.asked + _COUNT_LIFETIME
    ):
        return math.inf
    return counted.most + number - counted.number


async def _has_room(
    engine: Hashable,
    folder: Path,
    number: int,
    limit: int,
    listed: Callable[[], Awaitable[Collection[str]]],
) -> bool:
    """Count the containers and the places before this one, and wait where those decide."""
    until = time.monotonic() + LOCK_TIMEOUT
    while True:
        # in this order: a place that is given back between the two has its container listed
        asked, before = time.monotonic(), _earlier_containers(folder, number)
        there = set(await listed())
        _counts[engine] = _ContainerCount(number, len(there | before) + 1, asked)
        if len(there | before) < limit:
            return True
        if len(there) >= limit:
            return False
        # one of those before may come to nothing, which leaves its place to this one
        while _earlier_containers(folder, number) == before:
            if time.monotonic() >= until:
                raise _busy_error(_COUNT_LABEL)
            await asyncio.sleep(_RETRY_SECONDS)


def _tickets_folder() -> Path:
    """Name the folder of all places of this user, whatever the home and the engine.

    A place for another engine's container makes nobody fail: it is waited for at most. The first
    folder for temporary files that serves is taken: one may have gone away, and in one that all
    users share somebody else may have been first.
    """
    name = f"para-{os.getuid()}"
    roots = dict.fromkeys(filter(None, (os.environ.get("TMPDIR"), "/tmp", "/var/tmp")))  # noqa: S108 # the folder in it is checked
    refused: OSError | None = None
    for root in roots:
        try:
            return _create_tickets_folder(Path(root) / name)
        except OSError as error:
            refused = refused or error
    why = (refused.strerror if refused else None) or str(refused)
    raise unreadable_error(Path(next(iter(roots))) / name, why)


def _create_tickets_folder(folder: Path) -> Path:
    """Make the folder of places for this user alone; raises OSError where it is another's."""
    for one in (folder, folder / "places"):  # no link by which files of others would be changed
        one.mkdir(mode=0o700, exist_ok=True)
        status = one.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to another user")
        if status.st_mode & 0o022:
            one.chmod(0o700)
    return folder / "places"


def _draw_ticket(folder: Path, container: str) -> _Ticket:
    """Take the next place, and clear away those of the dead; nobody else draws meanwhile."""
    with reporting_os_errors(folder):
        with (folder / "drawn").open("ab") as drawn:  # its length is how many were ever taken
            last = drawn.tell()
            drawn.truncate(last + 1)  # nothing is written, which a full disk would not let
        for number, file in _all_tickets(folder):
            if _is_locked(file):
                last = max(last, number)
            else:
                file.unlink(missing_ok=True)
        file = folder / f"{last + 1}.{container}"
        draft = folder / "draft"
        descriptor = _open_locked(draft)
        assert descriptor is not None, "nobody else draws"
        try:
            draft.rename(file)  # there it is locked from its beginning
        except OSError:
            os.close(descriptor)
            raise
    return _Ticket(last + 1, file, descriptor)


def _earlier_containers(folder: Path, number: int) -> set[str]:
    """Name the containers that places were taken for before this one, and that may still come."""
    with reporting_os_errors(folder):
        return {
            file.name.partition(".")[2]
            for other, file in _all_tickets(folder)
            if other < number and _is_locked(file)
        }


def _all_tickets(folder: Path) -> Iterator[tuple[int, Path]]:
    for file in folder.iterdir():
        number, _, container = file.name.partition(".")
        if container and number.isdecimal():
            yield int(number), file


def _is_locked(file: Path) -> bool:
    """Tell whether the process that took a place still has it: the kernel gives it back."""
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


async def _wait_for_lock(file: Path, until: float, what: str) -> int:
    while True:
        with reporting_os_errors(file):
            descriptor = _open_locked(file)
        if descriptor is not None:
            return descriptor
        if asyncio.get_running_loop().time() >= until:
            raise _busy_error(what)
        await asyncio.sleep(_RETRY_SECONDS)


def _open_locked(file: Path) -> int | None:
    """Lock a file until the descriptor is closed; None where another process has it.

    The kernel drops a lock with its holder, so nobody waits for the dead.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


def _busy_error(what: str) -> ParaError:
    message = f"Another command is at work on {what}"
    return ParaError("session.illegal-transition", message, SHOW_SESSIONS)


_counts: Final[dict[Hashable, _ContainerCount]] = {}  # by engine
_process_locks: Final[WeakValueDictionary[Path, asyncio.Lock]] = WeakValueDictionary()
