"""Run one command from the command line: parse, execute, print the result or the error."""

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
from para_server.cli.overview import format_overview
from para_server.cli.render import get_empty_note, is_failure, render, render_dry_run
from para_server.cli.typed_text import decode_params, terminal_encoding
from para_server.command_line import command_words, format_command_line, parse_arguments
from para_server.concurrency.cancellation import wait_for_other_tasks
from para_server.context import Context
from para_server.core.errors import INVALID_PARAMS, ParaError, Remedy
from para_server.core.models import Session
from para_server.core.untrusted import one_line, printable
from para_server.host import signals, standard_streams
from para_server.registry import COMMANDS, Command, call
from para_server.sessions import reconcile

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERNAL: Final = 70
EXIT_CANCELLED: Final = 130

Renderer = Callable[[BaseModel], str]

_AGENT_STARTERS: Final = {"para.dispatch", "para.start", "para.resume", "para.recover"}


def main(argv: Sequence[str], context: Context) -> int:
    """Run the command in `argv` and return the exit code."""
    encoding = terminal_encoding()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # not every encoding has every character
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
    progress = _Progress(sys.stderr)
    try:
        command, rest = _find_command(argv)
        typed, as_json = parse_arguments(command, rest)
        params = decode_params(typed, context.cwd, encoding)
        context = replace(context, report=progress.report)
        result = asyncio.run(_run_until_signal(context, command, params, progress))
        progress.clear()
        renderer = render_dry_run if params.get("dryRun") else render
        return _report_result(command, result, renderer, as_json=as_json)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_OK
    except ParaError as error:
        progress.clear()
        _print_error(f"para: {error.problem.message}")
        for remedy in error.problem.remedies:
            _print_error(_format_remedy(remedy, context))
        return EXIT_USAGE if error.code == INVALID_PARAMS else EXIT_FAILED
    except (asyncio.CancelledError, KeyboardInterrupt):
        progress.clear()
        _print_error("para: cancelled")
        return EXIT_CANCELLED
    except Exception:  # noqa: BLE001 # reported as an internal error
        progress.clear()
        _print_error(f"{traceback.format_exc()}para: internal error, please report it")
        return EXIT_INTERNAL


def _report_result(
    command: Command, result: BaseModel, renderer: Renderer, *, as_json: bool
) -> int:
    code = _print_result(result, renderer, as_json=as_json)
    if not as_json and (note := get_empty_note(result)) is not None:
        _print_error(f"para: {note}")
    failed = is_failure(result) or _report_problem(command, result)
    return EXIT_FAILED if code == EXIT_OK and failed else code


def _report_problem(command: Command, result: BaseModel) -> bool:
    """Print the problem of a session that the command should have started; return whether any."""
    problem = result.problem if isinstance(result, Session) else None
    if problem is None or command.name not in _AGENT_STARTERS:
        return False
    _print_error(f"para: {problem.message}")
    return True


def _find_command(argv: Sequence[str]) -> tuple[Command, Sequence[str]]:
    """Return the command with the longest name at the start of `argv`, and the other arguments."""
    for count in range(len(argv), 0, -1):
        command = COMMANDS.get(".".join(("para", *argv[:count])))
        if command is not None:
            return command, argv[count:]
    typed = [word for word in argv if not word.startswith("-")]
    group = [c for c in COMMANDS.values() if command_words(c.name)[1 : len(typed) + 1] == typed]
    if group and typed == list(argv):
        sys.stderr.write(format_overview(typed))
        raise SystemExit(EXIT_USAGE)
    names = [" ".join(command_words(name)[1:]) for name in COMMANDS]
    similar = difflib.get_close_matches(" ".join(typed[:2]), names, n=1) or (
        difflib.get_close_matches(argv[0], names, n=1)
    )
    hint = f"did you mean\n  para {similar[0]}" if similar else "see\n  para --help"
    sys.stderr.write(f"para: there is no command {printable(shlex.join(argv[:2]))}; {hint}\n")
    raise SystemExit(EXIT_USAGE)


async def _run_until_signal(
    context: Context, command: Command, params: dict[str, Any], progress: _Progress
) -> BaseModel:
    """Run a command until its end or a signal; later signals do not interrupt the rollback.

    The third Ctrl-C ends this process; the next command then reconciles what is left.
    """
    task = asyncio.current_task()
    assert task is not None
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        if len(received) == 1:
            progress.note("Cancelling, rolling back")
            task.cancel()
        elif received.count(signal.SIGINT) <= signals.GRACEFUL_INTERRUPTS:
            latest = f", after: {progress.latest}" if progress.latest else ""
            progress.note(
                f"Still rolling back (Ctrl-C again leaves it to the next command){latest}"
            )
        else:
            progress.clear()
            _print_error("para: stopped before the rollback; the next para command completes it")
            signals.end_process_by(number)

    with signals.handled_signals(asyncio.get_running_loop(), stop):
        try:
            # the command reports the same problem with more context
            with contextlib.suppress(ParaError):
                await reconcile.reconcile_all(context)
            return await call(context, command.name, [params])
        finally:
            await wait_for_other_tasks()


class _Progress:
    """Progress on stderr: one line per report, or on a terminal one line that is replaced."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty() and _has_control_sequences(os.environ)
        self._shown = False
        self.latest = ""  # the command's latest report

    def report(self, message: str, percentage: int | None = None) -> None:
        """Show the command's progress."""
        self.latest = message
        self.note(message if percentage is None else f"{percentage:3d}% {message}")

    def note(self, message: str) -> None:
        """Show a line that is not the command's own."""
        width = shutil.get_terminal_size().columns - 1 if self._live else 400
        line = one_line(message, width)
        self._write(f"\r\x1b[K{line}" if self._live else f"{line}\n")
        self._shown = self._live

    def clear(self) -> None:
        """Erase the line."""
        if self._shown:
            self._write("\r\x1b[K")
        self._shown = False

    def _write(self, text: str) -> None:
        # the terminal may be gone while the rollback still runs
        standard_streams.write(self._stream, text)


def _has_control_sequences(environ: Mapping[str, str]) -> bool:
    """Return whether the terminal supports control sequences."""
    return environ.get("TERM", "dumb") not in {"", "dumb"} and not environ.get("NO_COLOR")


def _print_error(text: str) -> None:
    standard_streams.write(sys.stderr, f"{printable(text)}\n")


def _print_result(result: BaseModel, renderer: Renderer, *, as_json: bool) -> int:
    if as_json:
        text = json.dumps(result.model_dump(mode="json", by_alias=True), indent=2)
        text = text.replace("\x7f", "\\u007f")
    else:
        text = renderer(result)
        # a pipe may lead to a terminal too: `para diff | head`
        if not _is_regular_file(sys.stdout):
            text = "\r\n".join(map(printable, text.split("\r\n")))
    error = standard_streams.write(
        sys.stdout, text if text.endswith("\n") or not text else f"{text}\n"
    )
    if error is None:
        return EXIT_OK
    _print_error(f"para: the command succeeded, but its result could not be written: {error}")
    return EXIT_FAILED


def _is_regular_file(stream: TextIO) -> bool:
    with contextlib.suppress(OSError, ValueError):  # closed, or without a descriptor
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    return False


def _format_remedy(remedy: Remedy, context: Context) -> str:
    """Return a remedy's title, with the command line, setting or URL if it has one."""
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
