"""Lock files between the processes of a user, and reserve containers under a common limit."""

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

_RETRY_SECONDS: Final = 0.01  # between two attempts to lock a file
LOCK_TIMEOUT: Final = 60.0  # seconds that a command waits for another one
_COUNT_LABEL: Final = "The count of containers"
_COUNT_LIFETIME: Final = 2.0  # seconds; containers of other programs are noticed this late


@asynccontextmanager
async def locked(file: Path, seconds: float, subject: str) -> AsyncIterator[None]:
    """Lock a file exclusively; raises session.illegal-transition after `seconds`.

    `subject` starts the error message, which says that it is busy.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    # the tasks of this process wait for each other, and one of them for other processes
    inner = _process_locks.setdefault(file, asyncio.Lock())
    try:
        async with asyncio.timeout_at(deadline):
            await inner.acquire()
    except TimeoutError:
        raise _busy_error(subject) from None
    try:
        descriptor = await _wait_for_lock(file, deadline, subject)
        try:
            yield
        finally:
            os.close(descriptor)
    finally:
        inner.release()


def try_lock(file: Path) -> int | None:
    """Return a descriptor that locks a file until it is closed; None if another process has it."""
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
    """Reserve a container that the block creates; yields whether the limit permits it.

    A ticket file counts until the block ends; by then `listed`, which returns the names of all
    containers of the engine, includes the new one. No lock is kept while the engine works: a caller
    counts the listed containers and the earlier tickets, and waits for those tickets for at most
    LOCK_TIMEOUT seconds, then raises session.busy. For two seconds after a count the
    engine is not asked if the limit permits even all tickets that were created since.
    """
    folder = _tickets_folder()
    async with locked(folder / "lock", LOCK_TIMEOUT, _COUNT_LABEL):
        ticket = _create_ticket(folder, container)
    try:
        permitted = _estimate_count(engine, ticket.number) <= limit
        yield permitted or await _has_room(engine, folder, ticket.number, limit, listed)
    finally:
        # the file goes first: without its lock it would look like one of a killed process
        ticket.file.unlink(missing_ok=True)
        os.close(ticket.descriptor)


class _Ticket(NamedTuple):
    """A reservation: the file is `NUMBER.CONTAINER`, and locked for as long as it counts."""

    number: int
    file: Path
    descriptor: int


class _ContainerCount(NamedTuple):
    """The largest number of containers at the time of a ticket, and when the engine was asked."""

    number: int
    maximum: int
    asked_at: float


def _estimate_count(engine: Hashable, number: int) -> float:
    """Return the largest number of containers that there can be with this ticket."""
    last = _counts.get(engine)
    if last is None or last.number >= number:
        return math.inf
    if time.monotonic() > last.asked_at + _COUNT_LIFETIME:
        return math.inf
    return last.maximum + number - last.number


async def _has_room(
    engine: Hashable,
    folder: Path,
    number: int,
    limit: int,
    listed: Callable[[], Awaitable[Collection[str]]],
) -> bool:
    """Return whether the containers and the earlier tickets leave room; wait if those decide."""
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        # in this order: a ticket that is removed between the two has its container listed
        asked_at, earlier = time.monotonic(), _earlier_containers(folder, number)
        existing = set(await listed())
        _counts[engine] = _ContainerCount(number, len(existing | earlier) + 1, asked_at)
        if len(existing | earlier) < limit:
            return True
        if len(existing) >= limit:
            return False
        # an earlier caller may fail, which leaves room for this one
        while _earlier_containers(folder, number) == earlier:
            if time.monotonic() >= deadline:
                raise _busy_error(_COUNT_LABEL)
            await asyncio.sleep(_RETRY_SECONDS)


def _tickets_folder() -> Path:
    """Return the folder of this user's tickets, the same for every PARA_HOME and engine.

    A ticket for another engine makes no caller fail, only wait. The first usable folder for
    temporary files is taken: one may be gone, and in a shared one the name may be another user's.
    """
    name = f"para-{os.getuid()}"
    roots = dict.fromkeys(filter(None, (os.environ.get("TMPDIR"), "/tmp", "/var/tmp")))  # noqa: S108 # the folder in it is checked
    first_error: OSError | None = None
    for root in roots:
        try:
            return _create_tickets_folder(Path(root) / name)
        except OSError as error:
            first_error = first_error or error
    reason = (first_error.strerror if first_error else None) or str(first_error)
    raise unreadable_error(Path(next(iter(roots))) / name, reason)


def _create_tickets_folder(folder: Path) -> Path:
    """Create a folder that only this user can write; raises OSError if another user owns it."""
    for one in (folder, folder / "places"):  # a link would lead to files of others
        one.mkdir(mode=0o700, exist_ok=True)
        status = one.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to another user")
        if status.st_mode & 0o022:
            one.chmod(0o700)
    return folder / "places"


def _create_ticket(folder: Path, container: str) -> _Ticket:
    """Create the next ticket and remove those of ended processes; the caller has the lock."""
    with reporting_os_errors(folder):
        with (folder / "drawn").open("ab") as counter:  # its length is the last number
            last = counter.tell()
            counter.truncate(last + 1)  # works on a full disk, unlike a write
        for number, file in _all_tickets(folder):
            if _is_locked(file):
                last = max(last, number)
            else:
                file.unlink(missing_ok=True)
        file = folder / f"{last + 1}.{container}"
        draft = folder / "draft"
        descriptor = _open_locked(draft)
        assert descriptor is not None, "the caller has the lock"
        try:
            draft.rename(file)  # so it is locked from the start
        except OSError:
            os.close(descriptor)
            raise
    return _Ticket(last + 1, file, descriptor)


def _earlier_containers(folder: Path, number: int) -> set[str]:
    """Return the containers of earlier tickets, which may still be created."""
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
    """Return whether the process of a ticket runs: the kernel releases the lock of an ended one."""
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


async def _wait_for_lock(file: Path, deadline: float, subject: str) -> int:
    while True:
        with reporting_os_errors(file):
            descriptor = _open_locked(file)
        if descriptor is not None:
            return descriptor
        if asyncio.get_running_loop().time() >= deadline:
            raise _busy_error(subject)
        await asyncio.sleep(_RETRY_SECONDS)


def _open_locked(file: Path) -> int | None:
    """Return a descriptor that locks a file until it is closed; None if another process has it.

    The kernel releases the lock when the process ends.
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


def _busy_error(subject: str) -> ParaError:
    message = f"{subject} is busy: another command is running"
    return ParaError("session.busy", message, SHOW_SESSIONS)


_counts: Final[dict[Hashable, _ContainerCount]] = {}  # by engine
_process_locks: Final[WeakValueDictionary[Path, asyncio.Lock]] = WeakValueDictionary()
