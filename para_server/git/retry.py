"""Query git for things that may be absent, without mistaking a temporary failure for absence."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from para_server.git.process import GitFailedError, git

EXIT_NO: Final = 1  # exit code of a git query whose answer is no


async def retry_git(
    folder: Path, *arguments: str, input_text: str | None = None, ignore_config: bool = False
) -> str:
    """Run git and return its output, with one retry; raises GitFailedError.

    There is no retry after exit code 1, the answer no. Some queries answer no with the exit code of
    a failure; a failure that occurs once (out of memory, a locked file) is no answer.
    """
    try:
        return await git(folder, *arguments, input_text=input_text, ignore_config=ignore_config)
    except GitFailedError as error:
        if error.exit_code == EXIT_NO:
            raise
        return await git(folder, *arguments, input_text=input_text, ignore_config=ignore_config)


async def git_succeeds(folder: Path, *arguments: str) -> bool:
    """Return whether a git command succeeds; two failures count as no."""
    try:
        await retry_git(folder, *arguments)
    except GitFailedError:
        return False
    return True
