"""The only place that starts git on the host."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from para_server.errors import SETUP_CHECK, ParaError
from para_server.steps import to_end
from para_server.untrusted import printable

# variables that would make git work on another repository than the one it is told
_STRANGE: Final = (
    "GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES "
    "GIT_COMMON_DIR GIT_NAMESPACE GIT_PREFIX GIT_CEILING_DIRECTORIES GIT_CONFIG GIT_CONFIG_COUNT "
    "GIT_CONFIG_PARAMETERS"
).split()
_LIMIT: Final = 256 << 20  # bytes of output; more is nothing that para asks for


class GitFailedError(ParaError):
    """A git command failed; `output` is what it said."""

    def __init__(self, verb: str, output: str) -> None:
        last = printable(output.strip())[-600:] or "no reason given"
        super().__init__("workspace.git-failed", f"git {verb} failed: {last}", SETUP_CHECK)
        self.output = output


async def git(
    folder: Path,
    *arguments: str,
    given: str | None = None,
    plain: bool = False,
    seconds: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run git in a folder and give what it printed; raises GitFailedError.

    `plain` leaves out the user's and the machine's own configuration.
    """
    verb = next((a for a in arguments if not a.startswith("-") and "=" not in a), "")
    surroundings = _environment(plain=plain) | dict(environment or {})
    out = await to_end(_run(folder, arguments, verb, given, surroundings, seconds))
    return out.decode(errors="surrogateescape")


async def git_bytes(folder: Path, arguments: Sequence[str]) -> bytes:
    """Run git and give the bytes that it printed."""
    return await to_end(
        _run(folder, arguments, arguments[0], None, _environment(plain=False), None)
    )


def _environment(*, plain: bool) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _STRANGE}
    kept |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    if plain:
        kept |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return kept


async def _run(
    folder: Path,
    arguments: Sequence[str],
    verb: str,
    given: str | None,
    environment: dict[str, str],
    seconds: float | None,
) -> bytes:
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            *arguments,
            cwd=folder,
            env=environment,
            stdin=asyncio.subprocess.PIPE if given is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LIMIT,
            start_new_session=True,  # Ctrl-C is for para, which ends or undoes what git does
        )
    except FileNotFoundError:
        missing = "the folder is gone" if not folder.is_dir() else "git is not installed"
        raise GitFailedError(verb, missing) from None
    except OSError as error:
        raise GitFailedError(verb, str(error.strerror)) from None
    try:
        async with asyncio.timeout(seconds):
            out, said = await process.communicate(
                given.encode(errors="surrogateescape") if given is not None else None
            )
    except TimeoutError:
        process.kill()
        await process.wait()
        raise GitFailedError(verb, f"it took longer than {seconds} seconds") from None
    if process.returncode != 0:
        raise GitFailedError(verb, said.decode(errors="replace"))
    return out
