"""The only place that knows how a person at a terminal calls a command and is told what it did."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import io
import json
import os
import shlex
import shutil
import signal
import stat
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TextIO

from pydantic import BaseModel

import para_server.commands.all  # noqa: F401 # fills the registry
from para_server.cli.overview import overview
from para_server.cli.render import in_words, is_failure, remark, would_be
from para_server.cli.typed_text import terminal_encoding, understood
from para_server.command_line import command_words, format_command_line, parse_arguments
from para_server.concurrency.cancellation import wait_for_other_tasks
from para_server.context import Context
from para_server.core.errors import INVALID_PARAMS, ParaError, Remedy
from para_server.core.models import Session
from para_server.core.untrusted import one_line, printable
from para_server.host import signals, standard_streams
from para_server.registry import COMMANDS, Command, call
from para_server.sessions import reconcile

DONE: Final = 0
CANNOT: Final = 1
WRONG: Final = 2
BUG: Final = 70
CANCELLED: Final = 130

Words = Callable[[BaseModel], str]

_BRINGS: Final = {"para.dispatch", "para.start", "para.resume", "para.recover"}


def main(argv: Sequence[str], context: Context) -> int:
    """Run the command that `argv` names and give the exit code."""
    encoding = terminal_encoding()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # not every terminal has every character
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
    progress = _Progress(sys.stderr)
    try:
        command, rest = _chosen(argv)
        typed, as_json = parse_arguments(command, rest)
        params = understood(typed, context.cwd, encoding)
        asked = replace(context, report=progress.report)
        result = asyncio.run(_stoppable(asked, command, params, progress))
        progress.clear()
        told = would_be if params.get("dryRun") else in_words
        return _told(command, result, told, as_json=as_json)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else DONE
    except ParaError as error:
        progress.clear()
        _tell(f"para: {error.problem.message}")
        for remedy in error.problem.remedies:
            _tell(_remedy(remedy, context))
        return WRONG if error.code == INVALID_PARAMS else CANNOT
    except (asyncio.CancelledError, KeyboardInterrupt):
        progress.clear()
        _tell("para: cancelled")
        return CANCELLED
    except Exception:  # noqa: BLE001 # what nobody expected is told as the bug that it is
        progress.clear()
        _tell(f"{traceback.format_exc()}para: this is a bug in para, please report it")
        return BUG


def _told(command: Command, result: BaseModel, told: Words, *, as_json: bool) -> int:
    code = _print(result, told, as_json=as_json)
    if not as_json and (said := remark(result)) is not None:
        _tell(f"para: {said}")
    failed = is_failure(result) or _brought_nothing(command, result)
    return CANNOT if code == DONE and failed else code


def _brought_nothing(command: Command, result: BaseModel) -> bool:
    """Tell of a session that a command was to bring to work, and that does not."""
    problem = result.problem if isinstance(result, Session) else None
    if problem is None or command.name not in _BRINGS:
        return False
    _tell(f"para: {problem.message}")
    return True


def _chosen(argv: Sequence[str]) -> tuple[Command, Sequence[str]]:
    """Find the command with the most words that `argv` begins with."""
    for count in range(len(argv), 0, -1):
        found = COMMANDS.get(".".join(("para", *argv[:count])))
        if found is not None:
            return found, argv[count:]
    asked = [word for word in argv if not word.startswith("-")]
    below = [c for c in COMMANDS.values() if command_words(c.name)[1 : len(asked) + 1] == asked]
    if below and asked == list(argv):
        sys.stderr.write(overview(asked))
        raise SystemExit(WRONG)
    names = [" ".join(command_words(name)[1:]) for name in COMMANDS]
    near = difflib.get_close_matches(" ".join(asked[:2]), names, n=1) or (
        difflib.get_close_matches(argv[0], names, n=1)
    )
    hint = f"did you mean\n  para {near[0]}" if near else "see\n  para --help"
    sys.stderr.write(f"para: there is no command {printable(shlex.join(argv[:2]))}; {hint}\n")
    raise SystemExit(WRONG)


async def _stoppable(
    context: Context, command: Command, params: dict[str, Any], progress: _Progress
) -> BaseModel:
    """Run a command so that a signal cancels it once: a second one must not break the undoing.

    A third Ctrl-C ends this process: what is left is undone by the next one.
    """
    task = asyncio.current_task()
    assert task is not None
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        if len(received) == 1:
            progress.note("Cancelling, and undoing what was begun")
            task.cancel()
        elif received.count(signal.SIGINT) <= signals.GRACEFUL_INTERRUPTS:
            latest = f", after: {progress.latest}" if progress.latest else ""
            progress.note(f"Still undoing (Ctrl-C again leaves it to the next command){latest}")
        else:
            progress.clear()
            _tell("para: ended before all was undone; the next para command undoes the rest")
            signals.end_process_by(number)

    with signals.handled_signals(asyncio.get_running_loop(), stop):
        try:
            # what hinders the sweep hinders the command too, which can say it better
            with contextlib.suppress(ParaError):
                await reconcile.reconcile_all(context)
            return await call(context, command.name, [params])
        finally:
            await wait_for_other_tasks()


class _Progress:
    """How far the command is: a line each, or on a terminal one line that changes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty() and _obeys(os.environ)
        self._shown = False
        self.latest = ""  # what the command itself reported

    def report(self, message: str, percentage: int | None = None) -> None:
        """Tell how far the command is."""
        self.latest = message
        self.note(message if percentage is None else f"{percentage:3d}% {message}")

    def note(self, message: str) -> None:
        """Show a line of the command line's own."""
        width = shutil.get_terminal_size().columns - 1 if self._live else 400
        line = one_line(message, width)
        self._write(f"\r\x1b[K{line}" if self._live else f"{line}\n")
        self._shown = self._live

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._write("\r\x1b[K")
        self._shown = False

    def _write(self, text: str) -> None:
        # the terminal may be gone while there is still something to undo
        standard_streams.write(self._stream, text)


def _obeys(environ: Mapping[str, str]) -> bool:
    """Return whether a terminal may be sent control sequences."""
    return environ.get("TERM", "dumb") not in {"", "dumb"} and not environ.get("NO_COLOR")


def _tell(text: str) -> None:
    standard_streams.write(sys.stderr, f"{printable(text)}\n")


def _print(result: BaseModel, told: Words, *, as_json: bool) -> int:
    if as_json:
        text = json.dumps(result.model_dump(mode="json", by_alias=True), indent=2)
        text = text.replace("\x7f", "\\u007f")
    else:
        text = told(result)
        if not _is_file(
            sys.stdout
        ):  # what reads a pipe may write to a terminal: `para diff | head`
            text = "\r\n".join(map(printable, text.split("\r\n")))
    failed = standard_streams.write(
        sys.stdout, text if text.endswith("\n") or not text else f"{text}\n"
    )
    if failed is None:
        return DONE
    _tell(f"para: the command was carried out, but its result could not be written: {failed}")
    return CANNOT


def _is_file(stream: TextIO) -> bool:
    with contextlib.suppress(OSError, ValueError):  # it may be closed, or no file at all
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    return False


def _remedy(remedy: Remedy, context: Context) -> str:
    """Write a remedy as a title and, where it is a command, a line that can be typed."""
    if remedy.setting:
        return f"{remedy.title}:\n  {remedy.setting} in {context.config_home / 'config.toml'}"
    if remedy.url:
        return f"{remedy.title}:\n  {remedy.url}"
    known = COMMANDS.get(remedy.command or "")
    if known is None:
        return remedy.title
    params = dict(remedy.params or {})
    repo = params.get("repo")
    if repo and context.cwd and context.cwd.is_relative_to(repo):
        del params["repo"]
    return f"{remedy.title}:\n  {format_command_line(known, params)}"
