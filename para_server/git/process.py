"""Run git on the host; no other module starts a git process (large output: `bounded_output`)."""

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
from para_server.git.pipes import close_pipes, communicate, kill_group

# Variables that redirect git to another repository or change its output; `git rev-parse
# --local-env-vars` lists most of them. GIT_CONFIG_COUNT stays: it may set safe.directory.
_REDIRECTING_VARIABLES: Final = (
    "GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES "
    "GIT_COMMON_DIR GIT_NAMESPACE GIT_PREFIX GIT_CEILING_DIRECTORIES GIT_CONFIG "
    "GIT_IMPLICIT_WORK_TREE GIT_GRAFT_FILE GIT_NO_REPLACE_OBJECTS GIT_REPLACE_REF_BASE "
    "GIT_SHALLOW_FILE GIT_INTERNAL_SUPER_PREFIX GIT_QUARANTINE_PATH GIT_ATTR_SOURCE "
    "GIT_LITERAL_PATHSPECS GIT_GLOB_PATHSPECS GIT_NOGLOB_PATHSPECS GIT_ICASE_PATHSPECS "
    "GIT_EXTERNAL_DIFF GIT_DIFF_OPTS GIT_DEFAULT_HASH GIT_DEFAULT_REF_FORMAT GIT_TEMPLATE_DIR"
).split()
_CEILING: Final = "GIT_CEILING_DIRECTORIES"
SEARCH_UPWARDS: Final = {_CEILING: ""}  # environment for searching parent folders for a repository
_CONFIG_VARIABLES: Final = ("GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS")
_FULL_DISK_BYTES: Final = 1 << 20  # free bytes below which a disk counts as full
_GRACE_SECONDS: Final = 5.0  # seconds for git to remove its lock files after SIGTERM
_QUICK_COMMANDS: Final = frozenset(
    "rev-parse config for-each-ref check-ref-format symbolic-ref var".split()
)
_QUICK_TIMEOUT: Final = 10.0  # seconds; they usually take a thousandth of this
_MAX_OUTPUT: Final = 256 << 20  # bytes; no command of para needs more
_UNKNOWN_IDENTITY: Final = "Please tell me who you are"
_IDENTITY_REMEDIES: Final = (
    Remedy(title="Set your name: git config --global user.name NAME"),
    Remedy(title="Set your address: git config --global user.email ADDRESS"),
)


class StopHandle:
    """Stop a long-running git process, even when the stop is requested before it starts.

    git gets SIGTERM first, so that it can remove its lock files and stop its child processes.
    """

    def __init__(self, *, tied_to_parent: bool = True) -> None:
        self.tied_to_parent = tied_to_parent  # also stopped when this process exits
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = False

    def attach(self, process: asyncio.subprocess.Process) -> None:
        """Set the process to stop; it is stopped at once if `stop` was called before."""
        self._process = process
        if self._stopped:
            self.stop()

    def stop(self) -> None:
        """Send SIGTERM to the process group, and SIGKILL after the grace period."""
        self._stopped = True
        if self._process is not None:
            self._signal(self._process, signal.SIGTERM)
            later = asyncio.get_running_loop().call_later
            later(_GRACE_SECONDS, self._signal, self._process, signal.SIGKILL)

    def kill_leftovers(self) -> None:
        """Kill the child processes that outlived a stopped process."""
        if self._stopped and self._process is not None:
            kill_group(self._process)

    @staticmethod
    def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)


class GitFailedError(ParaError):
    """A git command failed; `output` is its stderr, `exit_code` is None if it did not exit."""

    def __init__(self, verb: str, output: str, exit_code: int | None = None) -> None:
        last = printable(output.strip())[-600:] or "no reason given"
        remedies: tuple[Remedy, ...] = (CHECK_SETUP,)
        if _UNKNOWN_IDENTITY in output:
            last, remedies = "git does not know your name and e-mail address", _IDENTITY_REMEDIES
        super().__init__("workspace.git-failed", f"git {verb} failed: {last}", *remedies)
        self.output = output
        self.exit_code = exit_code


class GitMissingError(GitFailedError):
    """The git executable is not on the PATH."""

    def __init__(self, verb: str) -> None:
        super().__init__(verb, "git is not installed")
        self.problem = Problem(
            slug="workspace.git-failed",
            message="git is not installed, or not on the PATH",
            remedies=(Remedy(title="Install git", url="https://git-scm.com/downloads"),),
        )


class GitTooSlowError(GitFailedError):
    """A git command was stopped at its timeout."""


async def git(
    folder: Path,
    *arguments: str,
    input_text: str | None = None,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
    ignore_config: bool = False,
    long_running: bool = False,
    seconds: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run git in a folder and return its output; raises GitFailedError and GitTooSlowError.

    Its stdin is `input_text`, or the file `stdin` from its current position; its stdout goes to the
    file `stdout` where one is set, and the result is empty then. `ignore_config` ignores the user's
    and the system's configuration. A `long_running` command is stopped when the caller is cancelled
    and when this process dies. Commands that read only a few files have a default timeout, since
    one of the files may be a named pipe.
    """
    verb = subcommand_of(arguments)
    variables = {**create_environment(ignore_config=ignore_config), **(environment or {})}
    quick = verb in _QUICK_COMMANDS and not long_running
    if quick and seconds is None:
        seconds = _QUICK_TIMEOUT
    stop_handle = StopHandle(tied_to_parent=long_running) if long_running or quick else None
    running = _run_process(
        folder,
        arguments,
        verb,
        input_text,
        variables,
        seconds,
        stop_handle=stop_handle,
        stdin=stdin,
        stdout=stdout,
    )
    output = await run_to_end(running, stop_handle.stop if stop_handle is not None else None)
    return output.decode(errors="surrogateescape")


def subcommand_of(arguments: Sequence[str]) -> str:
    """Return the git subcommand among arguments, for messages."""
    return next((a for a in arguments if not a.startswith("-") and "=" not in a), "")


@cache
def create_environment(*, ignore_config: bool) -> Mapping[str, str]:
    """Return the environment for git, without variables that redirect it to another repository.

    Cached: the environment of this process does not change.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _REDIRECTING_VARIABLES}
    kept |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    kept |= {"GIT_PAGER": "cat", "GIT_EDITOR": ":", "GIT_SEQUENCE_EDITOR": ":"}
    if ignore_config:
        for name in _CONFIG_VARIABLES:
            kept.pop(name, None)
        kept |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return kept


async def _run_process(
    folder: Path,
    arguments: Sequence[str],
    verb: str,
    input_text: str | None,
    environment: Mapping[str, str],
    seconds: float | None,
    stop_handle: StopHandle | None = None,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
) -> bytes:
    process = await start_process(
        folder,
        ("git", *arguments),
        verb,
        environment,
        stop_handle=stop_handle,
        stdin=asyncio.subprocess.PIPE if input_text is not None else stdin,
        stdout=stdout,
    )
    try:
        async with asyncio.timeout(seconds):
            output, stderr = await communicate(
                process,
                input_text,
                _MAX_OUTPUT,
                stop_handle.kill_leftovers if stop_handle is not None else None,
            )
        if stop_handle is not None:
            stop_handle.kill_leftovers()  # a signing program may run on without these pipes
    except TimeoutError:
        await stop_process(process)
        raise GitTooSlowError(verb, f"it took longer than {seconds:g} seconds") from None
    if len(output) > _MAX_OUTPUT:
        raise GitFailedError(verb, f"it printed more than {_MAX_OUTPUT >> 20} MiB")
    if process.returncode != 0:
        reason = stderr.decode(errors="replace") + describe_full_disk(folder)
        raise GitFailedError(verb, reason, process.returncode)
    return output


async def start_process(
    folder: Path,
    command: Sequence[str],
    verb: str,
    environment: Mapping[str, str],
    *,
    stop_handle: StopHandle | None,
    stdin: IO[bytes] | int | None = None,
    stdout: IO[bytes] | None = None,
) -> asyncio.subprocess.Process:
    """Start a git command and attach it to `stop_handle`; raises GitFailedError.

    git uses the repository of the folder only: by default it does not search the parent folders,
    which may belong to an unrelated repository.
    """
    if shutil.which("git") is None:
        raise GitMissingError(verb)
    try:
        process = await asyncio.create_subprocess_exec(
            *(_tie_to_parent() if stop_handle is not None and stop_handle.tied_to_parent else ()),
            *command,
            cwd=folder,
            env={_CEILING: str(folder.parent), **environment},
            stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
            stdout=asyncio.subprocess.PIPE if stdout is None else stdout,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches only para, which stops git or rolls back
        )
    except FileNotFoundError:
        raise GitFailedError(verb, "the folder does not exist") from None
    except OSError as error:
        raise GitFailedError(verb, str(error.strerror)) from None
    except ValueError as error:  # an argument contains a NUL or a lone surrogate
        raise GitFailedError(verb, str(error)) from None
    if stop_handle is not None:
        stop_handle.attach(process)
    return process


def describe_full_disk(folder: Path) -> str:
    """Return a line that reports a full disk, else ""; git may only name the unwritable file."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return ""
    return "" if disk.f_bavail * disk.f_frsize > _FULL_DISK_BYTES else "\nthe disk is full"


@cache
def _tie_to_parent() -> tuple[str, ...]:
    """Return a command prefix that stops a process when this one dies, or nothing.

    A git that runs on would race with the reconciliation after a killed process.
    """
    return find_usable_prefix("setpriv", "--pdeathsig", "TERM", "--")


def find_usable_prefix(*prefix: str) -> tuple[str, ...]:
    """Return a command prefix if this system can run it, else nothing."""
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):  # not installed, or without these options
        return ()
    return prefix


async def stop_process(process: asyncio.subprocess.Process) -> None:
    """Stop a process group with SIGTERM, and with SIGKILL after the grace period."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    close_pipes(process)
    await process.wait()
