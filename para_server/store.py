"""The only place that knows where para keeps its files on the host, and who may touch them when.

Under PARA_HOME: `sessions/ID.json` the records, `work/ID` the workspaces, `agents/ID` what an
agent's supervisor writes, `scratch/ID.HEX` what is on its way, `logins/AGENT.env` what a login's
terminal is handed, `locks/`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout
from pydantic import ValidationError

from para_server.errors import SETUP_CHECK, SHOW_SESSIONS, ParaError
from para_server.records import SCHEMA, Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

_RETRY: Final = 0.01  # seconds between two tries of a lock
PATIENCE: Final = 60.0  # seconds that a command waits for the one before it


class Store:
    """The files of one installation of para."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def prepare(self) -> None:
        """Make the folders, for this user alone; raises store.unreadable."""
        with written(self.home):
            for folder in (self.home, *(self.home / part for part in _FOLDERS)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def records_folder(self) -> Path:
        """Name the folder whose changes are changes of sessions."""
        return self.home / "sessions"

    def workspace(self, session_id: str) -> Path:
        """Name the folder that a session works in."""
        return self.home / "work" / session_id

    def agent_folder(self, session_id: str) -> Path:
        """Name the folder that an agent's supervisor writes to; not to be trusted."""
        return self.home / "agents" / session_id

    def read(self, session_id: str) -> Record | None:
        """Read a record; raises store.unreadable and store.too-new."""
        file = self._file(session_id)
        try:
            text = file.read_text()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _unreadable(file, str(error)) from None
        return _parsed(file, text)

    def all(self) -> list[Record]:
        """Read every record, oldest first."""
        self.prepare()
        found = [self.read(file.stem) for file in self.records_folder.glob("*.json")]
        return sorted((r for r in found if r), key=lambda r: (r.created_at, r.id))

    def write(self, record: Record) -> Record:
        """Write a record so that it is there whole or not at all, also after a power cut."""
        self.prepare()
        file = self._file(record.id)
        draft = file.with_name(f"{record.id}.{secrets.token_hex(4)}.tmp")
        with written(file):
            try:
                descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w") as stream:
                    stream.write(record.model_dump_json(by_alias=True))
                    stream.flush()
                    os.fsync(descriptor)
                draft.replace(file)
                _sync_folder(file.parent)
            finally:
                draft.unlink(missing_ok=True)
        return record

    def forget(self, session_id: str) -> None:
        """Remove a record and what stands beside it."""
        with written(self.home):
            self._file(session_id).unlink(missing_ok=True)
        remove_tree(self.agent_folder(session_id))

    def scratch(self, session_id: str) -> Path:
        """Make a folder for what is on its way out of a session; its maker removes it."""
        self.prepare()
        folder = self.home / "scratch" / f"{session_id}.{secrets.token_hex(4)}"
        with written(folder):
            folder.mkdir(mode=0o700)
        return folder

    def write_variables(self, agent: str, variables: Mapping[str, str]) -> Path:
        """Write what a login's terminal is handed, out of everybody's sight; a line each."""
        self.prepare()
        file = self._variables(agent)
        lines = [f"{name}={value}\n" for name, value in variables.items() if "\n" not in value]
        with written(file):
            file.unlink(missing_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                stream.writelines(lines)
        return file

    def forget_variables(self, agent: str) -> None:
        """Remove what a login's terminal was handed."""
        with written(self.home):
            self._variables(agent).unlink(missing_ok=True)

    def strays(self) -> Iterator[Path]:
        """Find drafts, workspaces and folders of sessions that have no record."""
        known = {file.stem for file in self.records_folder.glob("*.json")}
        yield from self.records_folder.glob("*.tmp")
        for part in ("work", "agents", "scratch"):
            for entry in (self.home / part).iterdir():
                if entry.name.partition(".")[0] not in known or part == "scratch":
                    yield entry

    @asynccontextmanager
    async def holding(self, session: str, *, patience: float = PATIENCE) -> AsyncIterator[None]:
        """Hold a session alone; after `patience` seconds raises session.illegal-transition."""
        async with self._lock(f"session-{session}", patience, f"session {session}"):
            yield

    @asynccontextmanager
    async def holding_repo(self, repo: str) -> AsyncIterator[None]:
        """Hold the refs of a repository: parallel git commands fail on each other's locks."""
        key = hashlib.sha256(repo.encode()).hexdigest()[:16]
        async with self._lock(f"repo-{key}", PATIENCE, repo):
            yield

    @asynccontextmanager
    async def holding_names(self) -> AsyncIterator[None]:
        """Hold the names of all sessions."""
        async with self._lock("names", PATIENCE, "the names of sessions"):
            yield

    @asynccontextmanager
    async def holding_login(self, agent: str) -> AsyncIterator[None]:
        """Hold the login of an agent."""
        async with self._lock(f"login-{agent}", PATIENCE, f"the login of {agent}"):
            yield

    @asynccontextmanager
    async def holding_limit(self) -> AsyncIterator[None]:
        """Hold the number of containers, also against other homes of this user."""
        folder = Path(tempfile.gettempdir()) / f"para-{os.getuid()}"
        with written(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        async with _held(folder / "limit.lock", PATIENCE, "the number of containers"):
            yield

    @asynccontextmanager
    async def _lock(self, name: str, patience: float, what: str) -> AsyncIterator[None]:
        self.prepare()
        async with _held(self.home / "locks" / f"{name}.lock", patience, what):
            yield

    def _variables(self, agent: str) -> Path:
        return self.home / "logins" / f"{agent}.env"

    def _file(self, session_id: str) -> Path:
        return self.records_folder / f"{session_id}.json"


_FOLDERS: Final = ("sessions", "work", "agents", "scratch", "logins", "locks")


@asynccontextmanager
async def _held(file: Path, patience: float, what: str) -> AsyncIterator[None]:
    # the kernel drops a lock with its holder, so nobody waits for the dead
    lock = FileLock(file, thread_local=False, mode=0o600)
    clock = asyncio.get_running_loop().time
    until = clock() + patience
    while True:
        try:
            with written(file):
                lock.acquire(blocking=False)
            break
        except Timeout:
            if clock() >= until:
                raise ParaError(
                    "session.illegal-transition",
                    f"Another command is at work on {what}",
                    SHOW_SESSIONS,
                ) from None
        await asyncio.sleep(_RETRY)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into store.unreadable."""
    try:
        yield
    except Timeout:
        raise  # an OSError too, but a lock that another holds is no trouble with the disk
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None


def remove_tree(folder: Path) -> None:
    """Remove a folder, following nothing out of it; what is not there is removed already."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(folder, onerror=_ignore_missing)
    except RecursionError:
        _raise_contents(folder)
        remove_tree(folder)


def _raise_contents(folder: Path) -> None:
    """Move each folder of a deep tree right below its top: no name stays too long to be given."""
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        waiting = [entry.name for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False)]
        while waiting:
            inner = os.open(waiting.pop(), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
            try:
                for entry in list(os.scandir(inner)):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(secrets.token_hex(8))
                        os.rename(entry.name, waiting[-1], src_dir_fd=inner, dst_dir_fd=top)
            finally:
                os.close(inner)
    except OSError as error:
        raise _unreadable(folder, error.strerror or str(error)) from None
    finally:
        os.close(top)


def _ignore_missing(
    _function: object, path: str, info: tuple[type[BaseException], BaseException, object]
) -> None:
    if not isinstance(info[1], FileNotFoundError):
        raise _unreadable(Path(path), str(info[1]))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parsed(file: Path, text: str) -> Record:
    try:
        raw = json.loads(text)
        version = raw.get("version")
        if isinstance(version, int) and version > SCHEMA:
            raise ParaError(
                "store.too-new", f"{file} was written by a newer para: update this one", SETUP_CHECK
            )
        return Record.model_validate(raw, by_alias=True)
    except (ValidationError, ValueError, AttributeError) as error:
        raise _unreadable(file, f"it is not a record ({type(error).__name__})") from None


def _unreadable(path: Path, why: str) -> ParaError:
    return ParaError("store.unreadable", f"{path} cannot be read or written: {why}", SETUP_CHECK)
