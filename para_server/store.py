"""Read, write and lock the files of para under PARA_HOME.

`sessions/ID.json` records, `copies/ID.json` copies of records in case one cannot be read,
`work/ID` workspaces, `agents/ID` reports of an agent's supervisor, `bases/NAME` base checkouts,
`scratch/ID.HEX` temporary files of a session, `logins/AGENT.env` variables for a login's terminal,
`locks/` lock files, `reserve` disk space that is released when the disk is full.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from para_server.concurrency.locks import LOCK_TIMEOUT, locked
from para_server.core.errors import ParaError, Problem
from para_server.core.lifecycle import ENDED_STATES
from para_server.host.disk_reserve import retry_with_reserve
from para_server.host.filesystem import (
    TIMESTAMP_LAG,
    create_private_folder,
    remove_tree,
    reporting_os_errors,
    unreadable_error,
)
from para_server.record_files import read_record, write_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from para_server.core.records import Record

    Lock = AbstractAsyncContextManager[None]

_BUILD_TIMEOUT: Final = 3600.0  # seconds to wait for the checkout of another command
_CLEANUP_TIMEOUT: Final = 5.0  # seconds: the next process removes leftovers, too
_STARTING: Final = {"start", "resume", "recover"}  # these must not use the reserve
CHECKOUT_MANIFEST: Final = "base.json"  # a folder in bases/ without it is incomplete


class Store:
    """The files of one installation of para."""

    def __init__(self, home: Path) -> None:
        self.home = home = Path(os.path.realpath(home))  # as in labels and mounts
        self._folders = (home, *(home / part for part in _FOLDERS))
        self.newest_written_at = 0.0  # seconds; of the records of read_all
        self.unreadable: dict[str, Problem] = {}  # by session id
        self._known: dict[str, tuple[tuple[int, int, int], Record]] = {}
        self._sorted: list[Record] = []
        self._as_of: int | None = None  # mtime of the folder of _sorted

    def owns(self, label: str | None) -> bool:
        """Return whether a label is this home, also through a symlink."""
        mine = str(self.home)
        return label is not None and (label == mine or os.path.realpath(label) == mine)

    def make_folders(self) -> None:
        """Create the folders, accessible to this user only; raises store.unreadable."""
        with reporting_os_errors(self.home):
            for folder in self._folders:
                create_private_folder(folder)

    @property
    def records_folder(self) -> Path:
        """Return the folder of the records; it changes whenever a session does."""
        return self.home / "sessions"

    def workspace(self, session_id: str) -> Path:
        """Return the folder of a session's workspace."""
        return self.home / "work" / session_id

    def upper_folder(self, session_id: str) -> Path:
        """Return the upper layer of a session's overlay."""
        return self.workspace(session_id) / "upper"

    def overlay_work(self, session_id: str) -> Path:
        """Return the work directory that overlayfs needs beside the upper layer."""
        return self.workspace(session_id) / "work"

    @property
    def checkouts_folder(self) -> Path:
        """Return the folder of the base checkouts."""
        return self.home / "bases"

    def agent_folder(self, session_id: str) -> Path:
        """Return the folder that an agent's supervisor writes to; its content is untrusted."""
        return self.home / "agents" / session_id

    def read_record(self, session_id: str) -> Record | None:
        """Return a record, None if there is none; raises store.unreadable and store.too-new."""
        return read_record(self.record_file(session_id), session_id)

    def read_copy(self, session_id: str) -> Record | None:
        """Return the copy of a record, which may be a little older; None if it cannot be read."""
        try:
            return read_record(self._copy(session_id), session_id)
        except ParaError:
            return None

    def read_all(self) -> list[Record]:
        """Return all records, oldest first; those that cannot be read are in `unreadable`."""
        self.make_folders()
        known: dict[str, tuple[tuple[int, int, int], Record]] = {}
        unread: dict[str, Problem] = {}  # not errors: their tracebacks keep the content alive
        started = time.time()
        with reporting_os_errors(self.records_folder):
            as_of = self.records_folder.stat().st_mtime_ns
            if as_of == self._as_of:
                return list(self._sorted)
            with os.scandir(self.records_folder) as entries:
                files = [entry for entry in entries if entry.name.endswith(".json")]
        for entry in files:
            session_id = entry.name.removesuffix(".json")
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            except OSError as error:  # for example a symlink loop
                why = error.strerror or str(error)
                unread[session_id] = unreadable_error(Path(entry.path), why).problem
                continue
            # a record is replaced by rename, so a changed one has another inode
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            before = self._known.get(entry.name)
            if before is not None and before[0] == stamp:
                known[entry.name] = before  # callers compare unchanged records by identity
                continue
            try:
                record = self.read_record(session_id)
            except ParaError as error:
                unread[session_id] = error.problem
                continue
            if record is not None:
                known[entry.name] = (stamp, record)
        self._known, self.unreadable = known, unread
        self.newest_written_at = max((stamp[1] for stamp, _ in known.values()), default=0) / 1e9
        self._sorted = sorted((r for _, r in known.values()), key=lambda r: (r.created_at, r.id))
        # a rename within the lag may keep the folder's mtime; an unreadable file may be repaired
        self._as_of = as_of if as_of / 1e9 + TIMESTAMP_LAG < started and not unread else None
        return list(self._sorted)

    def invalidate_cache(self) -> None:
        """Check each record again in the next read_all: one may have been overwritten in place."""
        self._as_of = None

    def write(self, record: Record) -> Record:
        """Write a record atomically, also in case of a power cut, and return it."""
        self.make_folders()
        content = record.model_dump_json(by_alias=True).encode()
        file = self.record_file(record.id)
        with reporting_os_errors(file):
            permitted = record.doing not in _STARTING
            retry_with_reserve(self.home, lambda: write_file(file, content), permitted=permitted)
        with suppress(OSError):  # the copy is a backup only
            write_file(self._copy(record.id), content, lasting=False)
        return record

    def rename_unreadable(self, session_id: str) -> None:
        """Rename an unreadable record, so that another can take its place."""
        file = self.record_file(session_id)
        with reporting_os_errors(file), suppress(FileNotFoundError):
            file.rename(f"{file}.{secrets.token_hex(4)}.unreadable")

    def remove(self, session_id: str) -> None:
        """Remove the other files of a session, and then its record."""
        remove_tree(self.agent_folder(session_id))
        with reporting_os_errors(self.home):
            self._copy(session_id).unlink(missing_ok=True)
            self.record_file(session_id).unlink(missing_ok=True)

    def make_scratch_folder(self, session_id: str) -> Path:
        """Create and return a temporary folder of a session; the caller removes it."""
        self.make_folders()
        folder = self.home / "scratch" / f"{session_id}.{secrets.token_hex(4)}"
        with reporting_os_errors(folder):
            folder.mkdir(mode=0o700)
        return folder

    def write_login_variables(self, agent: str, variables: Mapping[str, str]) -> Path:
        """Write the variables of a login's terminal to a file that only this user can read."""
        self.make_folders()
        file = self._variables(agent)
        lines = [f"{name}={value}\n" for name, value in variables.items() if "\n" not in value]
        with reporting_os_errors(file):
            file.unlink(missing_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                stream.writelines(lines)
        return file

    def remove_login_variables(self, agent: str) -> None:
        """Remove the variables of a login's terminal."""
        with reporting_os_errors(self.home):
            self._variables(agent).unlink(missing_ok=True)

    def leftovers(self) -> Iterator[Path]:
        """Yield temporary files, incomplete checkouts and files of sessions that have ended."""
        yield from self.records_folder.glob("*.tmp")
        yield from self.copies_folder.glob("*.tmp")
        yield from (self.home / "scratch").iterdir()
        for folder in (self.home / "agents", self.copies_folder):
            for entry in folder.iterdir():
                if self.has_ended(entry.name.partition(".")[0]) and entry.suffix != ".tmp":
                    yield entry
        for entry in self.checkouts_folder.iterdir():
            if entry.is_dir() and not (entry / CHECKOUT_MANIFEST).exists():
                yield entry

    def has_ended(self, session_id: str) -> bool:
        """Return whether a session without a record has certainly ended.

        It has no workspace, and its copy is of an ended session or does not exist.
        """
        if any(map(os.path.lexists, (self.record_file(session_id), self.workspace(session_id)))):
            return False
        copy = self.read_copy(session_id)
        if copy is None:
            return not os.path.lexists(self._copy(session_id))
        return copy.doing is None and copy.state in ENDED_STATES

    def may_be_live(self, session_id: str) -> bool:
        """Return whether a session may need its resources: only its record can exclude that."""
        try:
            record = self.read_record(session_id)
        except ParaError:
            return True
        if record is None:
            return not self.has_ended(session_id)
        return record.state not in ENDED_STATES or record.doing is not None

    def sessions_without_record(self) -> list[str]:
        """Return the ids of sessions that may be active, but have no readable record."""
        self.invalidate_cache()
        self.read_all()
        with reporting_os_errors(self.home):
            names = {one.name for one in (self.home / "work").iterdir() if one.is_dir()}
        names |= {file.stem for file in self.copies_folder.glob("*.json")}
        gone = {name for name in names if not os.path.lexists(self.record_file(name))}
        return sorted({*self.unreadable, *(name for name in gone if not self.has_ended(name))})

    def locked_session(self, session: str, *, timeout: float = LOCK_TIMEOUT) -> Lock:
        """Lock a session; raises session.busy after `timeout` seconds."""
        return self._lock(f"session-{session}", timeout, f"Session {session}")

    def locked_refs(self, repo: str) -> Lock:
        """Lock the refs of a repository: concurrent git commands fail on each other's locks."""
        key = hashlib.sha256(repo.encode()).hexdigest()[:16]
        return self._lock(f"repo-{key}", LOCK_TIMEOUT, f"Repository {repo}")

    def locked_names(self) -> Lock:
        """Lock the names of all sessions."""
        return self._lock("names", LOCK_TIMEOUT, "The list of sessions")

    def locked_login(self, agent: str) -> Lock:
        """Lock the login of an agent."""
        return self._lock(f"login-{agent}", LOCK_TIMEOUT, f"The login of {agent}")

    def locked_cleanup(self) -> Lock:
        """Lock the cleanup: two at once would skip the sessions that the other has locked."""
        return self._lock("sweep", _CLEANUP_TIMEOUT, "The cleanup")

    def locked_base_checkouts(self) -> Lock:
        """Lock the list of base checkouts and of the sessions that use them."""
        return self._lock("bases", LOCK_TIMEOUT, "The list of base checkouts")

    def locked_checkout_build(self, repo: str) -> Lock:
        """Lock the creation of a repository's base checkouts: a second caller finds it created."""
        key = hashlib.sha256(repo.encode()).hexdigest()[:16]
        return self._lock(f"build-{key}", _BUILD_TIMEOUT, f"The base checkout of {repo}")

    @asynccontextmanager
    async def _lock(self, name: str, seconds: float, subject: str) -> AsyncIterator[None]:
        self.make_folders()
        async with locked(self.home / "locks" / f"{name}.lock", seconds, subject):
            yield

    def _variables(self, agent: str) -> Path:
        return self.home / "logins" / f"{agent}.env"

    def record_file(self, session_id: str) -> Path:
        """Return the file of a record."""
        return self.records_folder / f"{session_id}.json"

    @property
    def copies_folder(self) -> Path:
        """Return the folder of the copies of records."""
        return self.home / "copies"

    def _copy(self, session_id: str) -> Path:
        return self.copies_folder / f"{session_id}.json"


_FOLDERS: Final = ("sessions", "copies", "work", "agents", "bases", "scratch", "logins", "locks")
