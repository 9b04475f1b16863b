"""Read and check the prompt of a new session."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from pathlib import Path
from typing import Final

from pydantic_core import to_json

from para_server.concurrency.cancellation import run_in_thread
from para_server.context import Context, parse_path
from para_server.core.errors import Issue, ParaError
from para_server.core.params import DispatchParams
from para_server.record_files import MAX_TEXT

_MAX_PROMPT: Final = 16 << 20  # bytes
_FOLDER_FLAGS: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_BYTE_ORDER_MARK: Final = "\ufeff"
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


async def read_prompt(context: Context, params: DispatchParams) -> str:
    """Return the prompt, or the content of its file; raises command.invalid-params."""
    prompt = params.prompt
    if prompt is None:
        prompt = await _read_prompt_file(context, params.prompt_file or "")
    prompt = prompt.removeprefix(_BYTE_ORDER_MARK)
    if not prompt.strip():
        raise _invalid_params("prompt", "The prompt is empty")
    if "\0" in prompt or len(prompt.encode()) > _MAX_PROMPT:
        raise _invalid_params("prompt", f"A prompt must be text of at most {_MAX_PROMPT >> 20} MiB")
    if len(to_json(prompt)) > MAX_TEXT:
        raise _invalid_params(
            "prompt", "A prompt must be text: this one has millions of control characters"
        )
    return prompt


async def _read_prompt_file(context: Context, given: str) -> str:
    file = parse_path(given)
    if not file.is_absolute():
        if context.cwd is None:
            raise _invalid_params("promptFile", f"{file} is a relative path, but no folder is open")
        file = context.cwd / file
    try:
        content = await run_in_thread(lambda: _read(file))
        return content.decode("utf-16" if content.startswith(_UTF16_MARKS) else "utf-8")
    except UnicodeDecodeError:
        raise _invalid_params("promptFile", f"{file} cannot be read: it is not UTF-8") from None
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise _invalid_params("promptFile", f"{file} cannot be read: {why}") from None


def _read(file: Path) -> bytes:
    descriptor = _open(file)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        content = stream.read(_MAX_PROMPT + 1)
    if len(content) > _MAX_PROMPT:
        raise ValueError(f"it is larger than {_MAX_PROMPT >> 20} MiB")
    return content


def _open(file: Path) -> int:
    """Open a file; links in repositories are refused, because they may lead anywhere."""
    current = os.open(file.anchor, _FOLDER_FLAGS)
    parts = file.parts[1:]
    try:
        for part in parts[:-1]:
            below = _open_part(current, part, _FOLDER_FLAGS)
            os.close(current)
            current = below
        return _open_part(
            current, parts[-1] if parts else ".", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        )
    finally:
        os.close(current)


def _open_part(current: int, part: str, flags: int) -> int:
    no_follow = os.O_NOFOLLOW if _in_repository(current) else 0
    try:
        return os.open(part, flags | no_follow, dir_fd=current)
    except OSError as error:
        if no_follow and error.errno in {errno.ELOOP, errno.ENOTDIR} and _is_link(current, part):
            raise ValueError(f"{part} is a link in a repository, which is not followed") from None
        raise


def _is_link(current: int, part: str) -> bool:
    return stat.S_ISLNK(os.stat(part, dir_fd=current, follow_symlinks=False).st_mode)


def _in_repository(folder: int) -> bool:
    """Return whether a folder or one of its parents is the top of a repository."""
    current = os.dup(folder)
    try:
        while True:
            if _has_git(current):
                return True
            above = os.open("..", _FOLDER_FLAGS, dir_fd=current)
            same = os.path.samestat(os.fstat(above), os.fstat(current))
            os.close(current)
            current = above
            if same:
                return False
    except OSError:  # a parent cannot be opened
        return True
    finally:
        os.close(current)


def _has_git(folder: int) -> bool:
    try:
        os.stat(".git", dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _invalid_params(path: str, message: str) -> ParaError:
    return ParaError("command.invalid-params", message, issues=[Issue(path=path, message=message)])
