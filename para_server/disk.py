"""The only place that removes folders, and tells what the disk refuses."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import Timeout

from para_server.errors import SETUP_CHECK, ParaError


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into store.unreadable."""
    try:
        yield
    except Timeout:
        raise  # an OSError too, but a lock that another holds is no trouble with the disk
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from None


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
        raise unreadable(folder, error.strerror or str(error)) from None
    finally:
        os.close(top)


def _ignore_missing(
    _function: object, path: str, info: tuple[type[BaseException], BaseException, object]
) -> None:
    if isinstance(info[1], FileNotFoundError):
        return
    try:
        os.rmdir(path)  # noqa: PTH106 # one that may not be looked into can be empty nevertheless
    except OSError:
        raise unreadable(Path(path), str(info[1])) from None


def unreadable(path: Path, why: str) -> ParaError:
    """Make the error that names what cannot be read or written."""
    return ParaError("store.unreadable", f"{path} cannot be read or written: {why}", SETUP_CHECK)
