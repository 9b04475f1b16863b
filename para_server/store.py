"""The only place that knows where para keeps its files on the host, and what is held with which.

Under PARA_HOME: `sessions/ID.json` the records, `work/ID` the workspaces, `agents/ID` what an
agent's supervisor writes, `bases/NAME` the checkouts that workspaces share, `scratch/ID.HEX` what
is on its way, `logins/AGENT.env` what a login's terminal is handed, `locks/`.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from para_server.disk import COARSE, make_folder, remove_tree, unreadable, written
from para_server.errors import SETUP_CHECK, ParaError
from para_server.locks import PATIENCE, held
from para_server.records import SCHEMA, Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    Held = AbstractAsyncContextManager[None]

_BUILD_PATIENCE: Final = 3600.0  # the same for a checkout that another command makes
_SWEEP_PATIENCE: Final = 5.0  # the same for the clearing up, which the next process does too
MANIFEST: Final = "base.json"  # a folder of bases that has none is no base, or none any more


class Store:
    """The files of one installation of para."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._folders = (home, *(home / part for part in _FOLDERS))
        self.newest = 0.0  # when the latest record of those that `all` gave was written
        self._known: dict[str, tuple[tuple[int, int, int], Record]] = {}
        self._sorted: list[Record] = []
        self._as_of: int | None = None  # the time of the folder of which these are all records

    def prepare(self) -> None:
        """Make the folders, for this user alone; raises store.unreadable."""
        with written(self.home):
            for folder in self._folders:
                make_folder(folder)

    @property
    def records_folder(self) -> Path:
        """Name the folder whose changes are changes of sessions."""
        return self.home / "sessions"

    def workspace(self, session_id: str) -> Path:
        """Name the folder that a session works in."""
        return self.home / "work" / session_id

    def upper(self, session_id: str) -> Path:
        """Name the folder of what a session has of its own, where it shares the rest."""
        return self.workspace(session_id) / "upper"

    def overlay_work(self, session_id: str) -> Path:
        """Name the folder that an overlay file system wants beside it."""
        return self.workspace(session_id) / "work"

    @property
    def bases_folder(self) -> Path:
        """Name the folder of the checkouts that sessions share."""
        return self.home / "bases"

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
            raise unreadable(file, str(error)) from None
        return _parsed(file, text)

    def all(self) -> list[Record]:
        """Read every record, oldest first; one that did not change is the same object again."""
        self.prepare()
        known = {}
        asked = time.time()
        with written(self.records_folder):
            as_of = self.records_folder.stat().st_mtime_ns
            if as_of == self._as_of:
                return list(self._sorted)
            with os.scandir(self.records_folder) as entries:
                files = [entry for entry in entries if entry.name.endswith(".json")]
        for entry in files:
            try:
                told = entry.stat()
            except FileNotFoundError:
                continue
            # a record is renamed into its place, so another one is another file
            stamp = (told.st_ino, told.st_mtime_ns, told.st_size)
            before = self._known.get(entry.name)
            if before is not None and before[0] == stamp:
                known[entry.name] = before
            elif record := self.read(entry.name.removesuffix(".json")):
                known[entry.name] = (stamp, record)
        self._known = known
        self.newest = max((stamp[1] for stamp, _ in known.values()), default=0) / 1e9
        self._sorted = sorted((r for _, r in known.values()), key=lambda r: (r.created_at, r.id))
        # what is renamed into the folder at this very moment need not change its time once more
        self._as_of = as_of if as_of / 1e9 + COARSE < asked else None
        return list(self._sorted)

    def doubt(self) -> None:
        """Look at each record again the next time: one may have been written over in its place."""
        self._as_of = None

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
        for entry in self.bases_folder.iterdir():
            if entry.is_dir() and not (entry / MANIFEST).exists():
                yield entry

    def holding(self, session: str, *, patience: float = PATIENCE) -> Held:
        """Hold a session alone; after `patience` seconds raises session.illegal-transition."""
        return self._lock(f"session-{session}", patience, f"session {session}")

    def holding_repo(self, repo: str) -> Held:
        """Hold the refs of a repository: parallel git commands fail on each other's locks."""
        key = hashlib.sha256(repo.encode()).hexdigest()[:16]
        return self._lock(f"repo-{key}", PATIENCE, repo)

    def holding_names(self) -> Held:
        """Hold the names of all sessions."""
        return self._lock("names", PATIENCE, "the names of sessions")

    def holding_login(self, agent: str) -> Held:
        """Hold the login of an agent."""
        return self._lock(f"login-{agent}", PATIENCE, f"the login of {agent}")

    def holding_sweep(self) -> Held:
        """Hold the clearing up: two at once would each leave to the other what it holds."""
        return self._lock("sweep", _SWEEP_PATIENCE, "what is left over")

    def holding_bases(self) -> Held:
        """Hold the checkouts that sessions share: which there are, and who stands on them."""
        return self._lock("bases", PATIENCE, "the files that sessions share")

    def holding_build(self, repo: str) -> Held:
        """Hold the making of a repository's checkouts: who comes second finds it made."""
        key = hashlib.sha256(repo.encode()).hexdigest()[:16]
        return self._lock(f"build-{key}", _BUILD_PATIENCE, f"the files of {repo}")

    @asynccontextmanager
    async def _lock(self, name: str, patience: float, what: str) -> AsyncIterator[None]:
        self.prepare()
        async with held(self.home / "locks" / f"{name}.lock", patience, what):
            yield

    def _variables(self, agent: str) -> Path:
        return self.home / "logins" / f"{agent}.env"

    def _file(self, session_id: str) -> Path:
        return self.records_folder / f"{session_id}.json"


_FOLDERS: Final = ("sessions", "work", "agents", "bases", "scratch", "logins", "locks")


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
        raise unreadable(file, f"it is not a record ({type(error).__name__})") from None
