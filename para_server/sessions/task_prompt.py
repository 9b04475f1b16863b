"""Read the task that a new session is given."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from pathlib import Path
from typing import Final

from pydantic_core import to_json

from para_server.concurrency.cancellation import run_in_thread
from para_server.context import Context, path_of
from para_server.core.errors import Issue, ParaError
from para_server.core.params import DispatchParams
from para_server.record_files import LARGEST_TEXT

_LARGEST: Final = 16 << 20  # bytes; a task, not a data set
_PASSING: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_MARK: Final = "\ufeff"
_WIDE: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


async def prompt_of(context: Context, params: DispatchParams) -> str:
    """Return the prompt, or what its file holds; raises command.invalid-params."""
    prompt = params.prompt
    if prompt is None:
        prompt = await _from_file(context, params.prompt_file or "")
    prompt = prompt.removeprefix(_MARK)
    if not prompt.strip():
        raise _wrong("prompt", "The prompt is empty")
    if "\0" in prompt or len(prompt.encode()) > _LARGEST:
        raise _wrong("prompt", f"A prompt is text of at most {_LARGEST >> 20} MiB")
    if len(to_json(prompt)) > LARGEST_TEXT:
        raise _wrong("prompt", "A prompt is text: this one has millions of control characters")
    return prompt


async def _from_file(context: Context, given: str) -> str:
    file = path_of(given)
    if not file.is_absolute():
        if context.cwd is None:
            raise _wrong("promptFile", f"{file} is relative, and no folder is open")
        file = context.cwd / file
    try:
        content = await run_in_thread(lambda: _read(file))
        return content.decode("utf-16" if content.startswith(_WIDE) else "utf-8")
    except UnicodeDecodeError:
        raise _wrong("promptFile", f"{file} cannot be read: it is not UTF-8") from None
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise _wrong("promptFile", f"{file} cannot be read: {why}") from None


def _read(file: Path) -> bytes:
    descriptor = _opened(file)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no file")
        content = stream.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST >> 20} MiB")
    return content


def _opened(file: Path) -> int:
    """Open a file; a link is followed only outside of repositories: theirs may lead anywhere."""
    here = os.open(file.anchor, _PASSING)
    parts = file.parts[1:]
    try:
        for part in parts[:-1]:
            below = _step(here, part, _PASSING)
            os.close(here)
            here = below
        return _step(here, parts[-1] if parts else ".", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(here)


def _step(here: int, part: str, flags: int) -> int:
    unfollowed = os.O_NOFOLLOW if _in_repository(here) else 0
    try:
        return os.open(part, flags | unfollowed, dir_fd=here)
    except OSError as error:
        if unfollowed and error.errno in {errno.ELOOP, errno.ENOTDIR} and _is_link(here, part):
            raise ValueError(f"{part} is a link in a repository, which is not followed") from None
        raise


def _is_link(here: int, part: str) -> bool:
    return stat.S_ISLNK(os.stat(part, dir_fd=here, follow_symlinks=False).st_mode)


def _in_repository(folder: int) -> bool:
    """Return whether a folder, or one above it, is the top of a repository."""
    here = os.dup(folder)
    try:
        while True:
            if _has_git(here):
                return True
            above = os.open("..", _PASSING, dir_fd=here)
            same = os.path.samestat(os.fstat(above), os.fstat(here))
            os.close(here)
            here = above
            if same:
                return False
    except OSError:  # one above it may not be passed through
        return True
    finally:
        os.close(here)


def _has_git(folder: int) -> bool:
    try:
        os.stat(".git", dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _wrong(path: str, message: str) -> ParaError:
    return ParaError("command.invalid-params", message, issues=[Issue(path=path, message=message)])
