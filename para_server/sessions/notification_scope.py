"""Decide which clients are notified about a session."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from para_server.concurrency import locks
from para_server.core.errors import ParaError
from para_server.git import discovery


class NotificationScope:
    """The sessions that one client is notified about.

    `folders` are the folders that it has open; a client without folders is notified about all
    sessions. Of the clients with `once`, only the first of a repository is notified, until it ends.
    """

    def __init__(self, home: Path, folders: Sequence[Path], *, once: bool) -> None:
        self._home = home
        self._folders = [Path(os.path.realpath(folder)) for folder in folders]
        self._once = once
        self._repositories: dict[Path, Path | None] = {}
        self._locks: dict[str, int] = {}  # descriptors of locks, by repository

    async def includes(self, repo: str) -> bool:
        """Return whether the client is notified about sessions of a repository."""
        if not self._folders:
            return True
        return await self._has_open(Path(repo)) and (not self._once or self._is_first(repo))

    def close(self) -> None:
        """Release the locks, so that another client is notified."""
        for descriptor in self._locks.values():
            os.close(descriptor)
        self._locks.clear()

    async def _has_open(self, repo: Path) -> bool:
        if any(f.is_relative_to(repo) or repo.is_relative_to(f) for f in self._folders):
            return True
        own = await self._repository(repo)  # another work tree of it may be open
        return own is not None and own in [await self._repository(f) for f in self._folders]

    async def _repository(self, folder: Path) -> Path | None:
        if folder not in self._repositories:
            self._repositories[folder] = None
            with suppress(ParaError, OSError):
                self._repositories[folder] = (
                    await discovery.find_repository(folder)
                ).common.resolve()
        return self._repositories[folder]

    def _is_first(self, repo: str) -> bool:
        if repo in self._locks:
            return True
        name = hashlib.sha256(os.fsencode(repo)).hexdigest()[:32]
        try:
            descriptor = locks.try_lock(self._home / "callers" / name)
        except ParaError:  # no lock file can be written: notify twice rather than never
            return True
        if descriptor is not None:
            self._locks[repo] = descriptor
        return descriptor is not None
