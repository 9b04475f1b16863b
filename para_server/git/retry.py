"""Asks git for what may not be there, and takes no failure of git itself for a "no"."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from para_server.git.process import GitFailedError, git

NO: Final = 1  # the exit code with which git says no


async def insist(
    folder: Path, *arguments: str, given: str | None = None, plain: bool = False
) -> str:
    """Run git, and once more where it neither did it nor said no; raises GitFailedError.

    For the questions on which git says no with the exit code of any failure. One that comes once
    (no memory, no process, a file that is locked) says nothing of the repository.
    """
    try:
        return await git(folder, *arguments, given=given, plain=plain)
    except GitFailedError as error:
        if error.exit_code == NO:
            raise
        return await git(folder, *arguments, given=given, plain=plain)


async def is_so(folder: Path, *arguments: str) -> bool:
    """Return what git answers by its exit code; what fails twice is no."""
    try:
        await insist(folder, *arguments)
    except GitFailedError:
        return False
    return True
