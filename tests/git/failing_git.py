"""A git command that fails once, at a chosen call."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Several may run at once: each counts its call under a lock, and runs git without the lock.
SHIM = """#!/bin/sh
if [ -e '{fuse}' ]; then
    exec 9>>'{fuse}.lock'
    flock 9
    n=0
    [ ! -e '{fuse}' ] || read -r n <'{fuse}'
    [ "$n" = 0 ] || echo $((n - 1)) >'{fuse}'
    exec 9>&-
    if [ "$n" = 1 ]; then
        [ ! -e '{fuse}.after' ] || '{git}' "$@" || exit
        echo 'made to fail' >&2
        exit 128
    fi
fi
exec '{git}' "$@"
"""


class FailingGit:
    """A git command that fails once, at a chosen call; `path` is a PATH with it in front."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._file = folder / "fuse"
        self.path = f"{folder}:{os.environ['PATH']}"
        shim = folder / "git"
        shim.write_text(SHIM.format(fuse=self._file, git=shutil.which("git")))
        shim.chmod(0o755)

    def arm(self, calls: int, *, after: bool = False) -> None:
        """Set a later call to fail, before or `after` it ran."""
        with self._locked():
            self._file.write_text(f"{calls}\n")
            mark = Path(f"{self._file}.after")
            mark.touch() if after else mark.unlink(missing_ok=True)

    def disarm(self) -> bool:
        """Stop failing, and return whether a call failed."""
        with self._locked():
            burnt = self._file.read_text() == "0\n"
            self._file.unlink()
        return burnt

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with Path(f"{self._file}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
