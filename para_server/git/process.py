"""The only place that starts git on the host; `output` reads what it prints at length."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Final

from para_server.concurrency.cancellation import run_to_end
from para_server.core.errors import CHECK_SETUP, ParaError, Problem, Remedy
from para_server.core.untrusted import printable
from para_server.git.pipes import close_pipes, end_at_once, talk

# variables that would make git work on another repository than the one it is told, or answer in
# another way; `git rev-parse --local-env-vars` lists most of them. What a user says by
# GIT_CONFIG_COUNT stays: a safe.directory may be among it.
_STRANGE: Final = (
    "GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES "
    "GIT_COMMON_DIR GIT_NAMESPACE GIT_PREFIX GIT_CEILING_DIRECTORIES GIT_CONFIG "
    "GIT_IMPLICIT_WORK_TREE GIT_GRAFT_FILE GIT_NO_REPLACE_OBJECTS GIT_REPLACE_REF_BASE "
    "GIT_SHALLOW_FILE GIT_INTERNAL_SUPER_PREFIX GIT_QUARANTINE_PATH GIT_ATTR_SOURCE "
    "GIT_LITERAL_PATHSPECS GIT_GLOB_PATHSPECS GIT_NOGLOB_PATHSPECS GIT_ICASE_PATHSPECS "
    "GIT_EXTERNAL_DIFF GIT_DIFF_OPTS GIT_DEFAULT_HASH GIT_DEFAULT_REF_FORMAT GIT_TEMPLATE_DIR"
).split()
_CEILING: Final = "GIT_CEILING_DIRECTORIES"
UPWARDS: Final = {_CEILING: ""}  # for a git that is to find the repository around its folder
_OWN_CONFIG: Final = ("GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS")
_ROOM: Final = 1 << 20  # bytes: a disk that has no more is full
_GRACE: Final = 5.0  # seconds that git has to take back what it locked
_QUICK: Final = frozenset("rev-parse config for-each-ref check-ref-format symbolic-ref var".split())
_SECONDS: Final = 10.0  # that these have: a thousand times what they take
_LIMIT: Final = 256 << 20  # bytes of output; more is nothing that para asks for


class Leash:
    """Lets a git that may take long be told to stop, also before it has begun.

    It then takes back what it locked, and ends what it started.
    """

    def __init__(self, *, tied: bool = True) -> None:
        self.tied = tied  # ended with this process, too
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = False

    def hold(self, process: asyncio.subprocess.Process) -> None:
        """Take hold of a process, which may have to stop at once."""
        self._process = process
        if self._stopped:
            self.stop()

    def stop(self) -> None:
        """Tell the process, and what it started, to stop; what does not is ended."""
        self._stopped = True
        if self._process is not None:
            self._signal(self._process, signal.SIGTERM)
            later = asyncio.get_running_loop().call_later
            later(_GRACE, self._signal, self._process, signal.SIGKILL)

    def end_rest(self) -> None:
        """End what a process that was told to stop has started, and what has outlived it."""
        if self._stopped and self._process is not None:
            end_at_once(self._process)

    @staticmethod
    def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)


_NOBODY: Final = "Please tell me who you are"
_INTRODUCTIONS: Final = (
    Remedy(title="Set your name: git config --global user.name NAME"),
    Remedy(title="Set your address: git config --global user.email ADDRESS"),
)


class GitFailedError(ParaError):
    """A git command failed; `output` is what it said, `exit_code` is None where it did not end."""

    def __init__(self, verb: str, output: str, exit_code: int | None = None) -> None:
        last = printable(output.strip())[-600:] or "no reason given"
        remedies: tuple[Remedy, ...] = (CHECK_SETUP,)
        if _NOBODY in output:
            last, remedies = "git does not know your name and e-mail address", _INTRODUCTIONS
        super().__init__("workspace.git-failed", f"git {verb} failed: {last}", *remedies)
        self.output = output
        self.exit_code = exit_code


class GitMissingError(GitFailedError):
    """There is no git on the PATH."""

    def __init__(self, verb: str) -> None:
        super().__init__(verb, "git is not installed")
        self.problem = Problem(
            slug="workspace.git-failed",
            message="git is not installed, or not on the PATH",
            remedies=(Remedy(title="Install git", url="https://git-scm.com/downloads"),),
        )


class GitTooSlowError(GitFailedError):
    """A git command was stopped because its time was up."""


async def git(
    folder: Path,
    *arguments: str,
    given: str | None = None,
    source: IO[bytes] | None = None,
    sink: IO[bytes] | None = None,
    plain: bool = False,
    long: bool = False,
    seconds: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run git in a folder and give what it printed; raises GitFailedError.

    `given` is what it reads, or `source` a file to read from where it stands; `sink` is a file
    that it prints into. `plain` leaves out
    the user's and the machine's own configuration. `long` is for what may take
    its time: a cancellation stops it, and so does the end of this process, however it comes.
    What only reads a few files has seconds for it: a pipe may be among them.
    """
    verb = verb_of(arguments)
    surroundings = {**environment_of(plain=plain), **(environment or {})}
    quick = verb in _QUICK and not long
    if quick and seconds is None:
        seconds = _SECONDS
    leash = Leash(tied=long) if long or quick else None
    running = _run(
        folder, arguments, verb, given, surroundings, seconds, leash=leash, source=source, sink=sink
    )
    out = await run_to_end(running, leash.stop if leash is not None else None)
    return out.decode(errors="surrogateescape")


def verb_of(arguments: Sequence[str]) -> str:
    """Return the name of the git command, for messages."""
    return next((a for a in arguments if not a.startswith("-") and "=" not in a), "")


@cache
def environment_of(*, plain: bool) -> Mapping[str, str]:
    """Return the environment of a git that works on the repository that it is given."""
    # made once: nobody changes the environment of this process
    kept = {name: value for name, value in os.environ.items() if name not in _STRANGE}
    kept |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    kept |= {"GIT_PAGER": "cat", "GIT_EDITOR": ":", "GIT_SEQUENCE_EDITOR": ":"}
    if plain:
        for name in _OWN_CONFIG:
            kept.pop(name, None)
        kept |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return kept


async def _run(
    folder: Path,
    arguments: Sequence[str],
    verb: str,
    given: str | None,
    environment: Mapping[str, str],
    seconds: float | None,
    leash: Leash | None = None,
    source: IO[bytes] | None = None,
    sink: IO[bytes] | None = None,
) -> bytes:
    process = await started(
        folder,
        ("git", *arguments),
        verb,
        environment,
        leash=leash,
        stdin=asyncio.subprocess.PIPE if given is not None else source,
        stdout=sink,
    )
    try:
        async with asyncio.timeout(seconds):
            out, said = await talk(
                process, given, _LIMIT, leash.end_rest if leash is not None else None
            )
        if leash is not None:
            leash.end_rest()  # a signing program has none of the pipes that were read
    except TimeoutError:
        await ended(process)
        raise GitTooSlowError(verb, f"it took longer than {seconds:g} seconds") from None
    if len(out) > _LIMIT:
        raise GitFailedError(verb, f"it printed more than {_LIMIT >> 20} MiB")
    if process.returncode != 0:
        why = said.decode(errors="replace") + full_disk(folder)
        raise GitFailedError(verb, why, process.returncode)
    return out


async def started(
    folder: Path,
    command: Sequence[str],
    verb: str,
    environment: Mapping[str, str],
    *,
    leash: Leash | None,
    stdin: IO[bytes] | int | None = None,
    stdout: IO[bytes] | None = None,
) -> asyncio.subprocess.Process:
    """Start a git command; a `leash` lets it be stopped before it ends. Raises GitFailedError.

    It works in the repository of its folder, and where there is none in none: a repository that
    happens to be around it is another one.
    """
    if shutil.which("git") is None:
        raise GitMissingError(verb)
    try:
        process = await asyncio.create_subprocess_exec(
            *(_tied() if leash is not None and leash.tied else ()),
            *command,
            cwd=folder,
            env={_CEILING: str(folder.parent), **environment},
            stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
            stdout=asyncio.subprocess.PIPE if stdout is None else stdout,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for para, which ends or undoes what git does
        )
    except FileNotFoundError:
        raise GitFailedError(verb, "the folder is gone") from None
    except OSError as error:
        raise GitFailedError(verb, str(error.strerror)) from None
    except ValueError as error:  # what somebody gave has a NUL or a lone surrogate in it
        raise GitFailedError(verb, str(error)) from None
    if leash is not None:
        leash.hold(process)
    return process


def full_disk(folder: Path) -> str:
    """Say so where a disk is full: git itself may only tell which file it could not write."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return ""
    return "" if disk.f_bavail * disk.f_frsize > _ROOM else "\nthe disk is full"


@cache
def _tied() -> tuple[str, ...]:
    """Have the kernel tell a process to stop when this one ends, where that can be had.

    A git that works on would race whoever clears up after a process that was killed.
    """
    return usable("setpriv", "--pdeathsig", "TERM", "--")


def usable(*prefix: str) -> tuple[str, ...]:
    """Return a command that starts another one, or nothing where this system has no such."""
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):  # not every system's can do that
        return ()
    return prefix


async def ended(process: asyncio.subprocess.Process) -> None:
    """End a process and what it started: by a signal that it can handle, then by one that not."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE)
        os.killpg(process.pid, signal.SIGKILL)
    close_pipes(process)
    await process.wait()
