"""The only place that knows where para keeps its files on the host, and what is held with which.

Under PARA_HOME: `sessions/ID.json` the records, `copies/ID.json` a copy of each for the day on
which it cannot be read, `work/ID` the workspaces, `agents/ID` what an agent's supervisor writes,
`bases/NAME` the checkouts that workspaces share, `scratch/ID.HEX` what is on its way,
`logins/AGENT.env` what a login's terminal is handed, `locks/`, `reserve` the room that
a full disk still has.
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
from para_server.host import disk_reserve
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

    Held = AbstractAsyncContextManager[None]

_BUILD_TIMEOUT: Final = 3600.0  # the same for a checkout that another command makes
_CLEANUP_TIMEOUT: Final = 5.0  # the same for the clearing up, which the next process does too
_STARTING: Final = {"start", "resume", "recover"}  # what may not take the last room there is
CHECKOUT_MANIFEST: Final = (
    "base.json"  # a folder of bases that has none is no base, or none any more
)


class Store:
    """The files of one installation of para."""

    def __init__(self, home: Path) -> None:
        self.home = home = Path(os.path.realpath(home))  # labels and mounts have one spelling
        self._folders = (home, *(home / part for part in _FOLDERS))
        self.newest_written_at = 0.0  # when the latest record of those that `all` gave was written
        self.unreadable: dict[str, Problem] = {}  # why which records could not be read, by session
        self._known: dict[str, tuple[tuple[int, int, int], Record]] = {}
        self._sorted: list[Record] = []
        self._as_of: int | None = None  # the time of the folder of which these are all records

    def owns(self, label: str | None) -> bool:
        """Tell whether a label names this home, however it is spelt."""
        mine = str(self.home)
        return label is not None and (label == mine or os.path.realpath(label) == mine)

    def make_folders(self) -> None:
        """Make the folders, for this user alone; raises store.unreadable."""
        with reporting_os_errors(self.home):
            for folder in self._folders:
                create_private_folder(folder)

    @property
    def records_folder(self) -> Path:
        """Name the folder whose changes are changes of sessions."""
        return self.home / "sessions"

    def workspace(self, session_id: str) -> Path:
        """Name the folder that a session works in."""
        return self.home / "work" / session_id

    def upper_folder(self, session_id: str) -> Path:
        """Name the folder of what a session has of its own, where it shares the rest."""
        return self.workspace(session_id) / "upper"

    def overlay_work(self, session_id: str) -> Path:
        """Name the folder that an overlay file system wants beside it."""
        return self.workspace(session_id) / "work"

    @property
    def checkouts_folder(self) -> Path:
        """Name the folder of the checkouts that sessions share."""
        return self.home / "bases"

    def agent_folder(self, session_id: str) -> Path:
        """Name the folder that an agent's supervisor writes to; not to be trusted."""
        return self.home / "agents" / session_id

    def read_record(self, session_id: str) -> Record | None:
        """Read a record; raises store.unreadable and store.too-new."""
        return read_record(self.record_file(session_id), session_id)

    def read_copy(self, session_id: str) -> Record | None:
        """Read the copy of a record, which may be a little older; None where there is none."""
        try:
            return read_record(self._copy(session_id), session_id)
        except ParaError:
            return None

    def read_all(self) -> list[Record]:
        """Read every record, oldest first; one that did not change is the same object again.

        One that cannot be read is passed over, and named in `unread`.
        """
        self.make_folders()
        known: dict[str, tuple[tuple[int, int, int], Record]] = {}
        unread: dict[str, Problem] = {}  # an error would keep what was read when it was raised
        asked = time.time()
        with reporting_os_errors(self.records_folder):
            as_of = self.records_folder.stat().st_mtime_ns
            if as_of == self._as_of:
                return list(self._sorted)
            with os.scandir(self.records_folder) as entries:
                files = [entry for entry in entries if entry.name.endswith(".json")]
        for entry in files:
            session_id = entry.name.removesuffix(".json")
            try:
                told = entry.stat()
            except FileNotFoundError:
                continue
            except OSError as error:  # a link to itself
                why = error.strerror or str(error)
                unread[session_id] = unreadable_error(Path(entry.path), why).problem
                continue
            # a record is renamed into its place, so another one is another file
            stamp = (told.st_ino, told.st_mtime_ns, told.st_size)
            before = self._known.get(entry.name)
            if before is not None and before[0] == stamp:
                known[entry.name] = before
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
        # what is renamed into the folder at this very moment need not change its time once more,
        # and what could not be read may become readable where it is
        settled = as_of / 1e9 + TIMESTAMP_LAG < asked and not unread
        self._as_of = as_of if settled else None
        return list(self._sorted)

    def invalidate_cache(self) -> None:
        """Look at each record again the next time: one may have been written over in its place."""
        self._as_of = None

    def write(self, record: Record) -> Record:
        """Write a record so that it is there whole or not at all, also after a power cut."""
        self.make_folders()
        content = record.model_dump_json(by_alias=True).encode()
        file = self.record_file(record.id)
        with reporting_os_errors(file):
            may = record.doing not in _STARTING
            disk_reserve.retry_with_reserve(
                self.home, lambda: write_file(file, content), may_use_it=may
            )
        with suppress(OSError):  # the copy is for bad days, and no reason to fail on a good one
            write_file(self._copy(record.id), content, lasting=False)
        return record

    def rename_unreadable(self, session_id: str) -> None:
        """Give a record that cannot be read another name, beside the one that takes its place."""
        file = self.record_file(session_id)
        with reporting_os_errors(file), suppress(FileNotFoundError):
            file.rename(f"{file}.{secrets.token_hex(4)}.unreadable")

    def remove(self, session_id: str) -> None:
        """Remove what stands beside a record, and then the record itself."""
        remove_tree(self.agent_folder(session_id))
        with reporting_os_errors(self.home):
            self._copy(session_id).unlink(missing_ok=True)
            self.record_file(session_id).unlink(missing_ok=True)

    def make_scratch_folder(self, session_id: str) -> Path:
        """Make a folder for what is on its way out of a session; its maker removes it."""
        self.make_folders()
        folder = self.home / "scratch" / f"{session_id}.{secrets.token_hex(4)}"
        with reporting_os_errors(folder):
            folder.mkdir(mode=0o700)
        return folder

    def write_login_variables(self, agent: str, variables: Mapping[str, str]) -> Path:
        """Write what a login's terminal is handed, out of everybody's sight; a line each."""
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
        """Remove what a login's terminal was handed."""
        with reporting_os_errors(self.home):
            self._variables(agent).unlink(missing_ok=True)

    def leftovers(self) -> Iterator[Path]:
        """Find drafts, and what is left of sessions that are provably over."""
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
        """Tell whether a session without a record is provably over.

        It has no files any more, and either its copy says so or para has forgotten it.
        """
        if any(map(os.path.lexists, (self.record_file(session_id), self.workspace(session_id)))):
            return False
        copy = self.read_copy(session_id)
        if copy is None:
            return not os.path.lexists(self._copy(session_id))
        return copy.doing is None and copy.state in ENDED_STATES

    def may_be_live(self, session_id: str) -> bool:
        """Tell whether a session may need what it has: only its record can say that it does not."""
        try:
            record = self.read_record(session_id)
        except ParaError:
            return True
        if record is None:
            return not self.has_ended(session_id)
        return record.state not in ENDED_STATES or record.doing is not None

    def sessions_without_record(self) -> list[str]:
        """Name the sessions that may live, but whose record is gone or cannot be read."""
        self.invalidate_cache()
        self.read_all()
        with reporting_os_errors(self.home):
            names = {one.name for one in (self.home / "work").iterdir() if one.is_dir()}
        names |= {file.stem for file in self.copies_folder.glob("*.json")}
        gone = {name for name in names if not os.path.lexists(self.record_file(name))}
        return sorted({*self.unreadable, *(name for name in gone if not self.has_ended(name))})

    def locked_session(self, session: str, *, patience: float = LOCK_TIMEOUT) -> Held:
        """Hold a session alone; after `patience` seconds raises session.illegal-transition."""
        return self._lock(f"session-{session}", patience, f"session {session}")

    def locked_refs(self, repo: str) -> Held:
        """Hold the refs of a repository: parallel git commands fail on each other's locks."""
        key = hashlib.sha256(repo.encode()).hexdigest()[:16]
        return self._lock(f"repo-{key}", LOCK_TIMEOUT, repo)

    def locked_names(self) -> Held:
        """Hold the names of all sessions."""
        return self._lock("names", LOCK_TIMEOUT, "the names of sessions")

    def locked_login(self, agent: str) -> Held:
        """Hold the login of an agent."""
        return self._lock(f"login-{agent}", LOCK_TIMEOUT, f"the login of {agent}")

    def locked_cleanup(self) -> Held:
        """Hold the clearing up: two at once would each leave to the other what it holds."""
        return self._lock("sweep", _CLEANUP_TIMEOUT, "what is left over")

    def locked_base_checkouts(self) -> Held:
        """Hold the checkouts that sessions share: which there are, and who stands on them."""
        return self._lock("bases", LOCK_TIMEOUT, "the files that sessions share")

    def locked_checkout_build(self, repo: str) -> Held:
        """Hold the making of a repository's checkouts: who comes second finds it made."""
        key = hashlib.sha256(repo.encode()).hexdigest()[:16]
        return self._lock(f"build-{key}", _BUILD_TIMEOUT, f"the files of {repo}")

    @asynccontextmanager
    async def _lock(self, name: str, patience: float, what: str) -> AsyncIterator[None]:
        self.make_folders()
        async with locked(self.home / "locks" / f"{name}.lock", patience, what):
            yield

    def _variables(self, agent: str) -> Path:
        return self.home / "logins" / f"{agent}.env"

    def record_file(self, session_id: str) -> Path:
        """Name the file of a record."""
        return self.records_folder / f"{session_id}.json"

    @property
    def copies_folder(self) -> Path:
        """Name the folder of the copies of the records."""
        return self.home / "copies"

    def _copy(self, session_id: str) -> Path:
        return self.copies_folder / f"{session_id}.json"


_FOLDERS: Final = ("sessions", "copies", "work", "agents", "bases", "scratch", "logins", "locks")
