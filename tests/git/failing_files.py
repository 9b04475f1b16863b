"""A server in which one chosen change of a file fails."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Python imports sitecustomize before para. A change that is refused here was not made, as on a full
# disk or in a read-only folder.
HOOK = """
import errno, fcntl, os, sys

FUSE = {fuse!r}
CHANGES = {{"os." + name for name in (
    "rename remove rmdir mkdir link symlink truncate chmod chown utime".split())}}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
counting = False

def refuse(event, arguments):
    global counting
    opens = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
    if counting or not (opens or event in CHANGES) or not os.path.exists(FUSE):
        return
    path = os.fsdecode(arguments[0]) if not isinstance(arguments[0], int) else ""
    if path.endswith(".pyc") or "/__pycache__" in path or path.startswith("/dev/"):
        return
    counting = True
    try:
        with open(FUSE + ".lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with open(FUSE) as file:
                left, number, _ = file.read().split(" ", 2)
            if left == "0":
                return
            with open(FUSE, "w") as file:
                file.write(f"{{int(left) - 1}} {{number}} {{event}} {{path}}")
    except FileNotFoundError:
        return
    finally:
        counting = False
    if left == "1":
        raise OSError(int(number), os.strerror(int(number)), path)

sys.addaudithook(refuse)
"""


class FailingFiles:
    """Refuse one change of a file in servers that have `path` as their PYTHONPATH."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._file = folder / "fuse"
        self.path = str(folder)
        (folder / "sitecustomize.py").write_text(HOOK.format(fuse=str(self._file)))

    def arm(self, changes: int, error: int) -> None:
        """Set a later change to fail with an errno."""
        with self._locked():
            self._file.write_text(f"{changes} {error} -")

    def disarm(self) -> str:
        """Stop failing, and return the change that failed, or ""."""
        with self._locked():
            left, _, last = self._file.read_text().split(" ", 2)
            self._file.unlink()
        return last if left == "0" else ""

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with Path(f"{self._file}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
