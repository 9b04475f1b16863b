"""Read what an agent reports: its state, events and output.

Reports are not trusted: their size is limited, their content is checked, and they prove nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import stat
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic_core import from_json

from para_server.agents.profile import Event
from para_server.agents.profiles import PROFILES
from para_server.core.errors import ParaError
from para_server.core.models import Agent, AgentState
from para_server.core.untrusted import one_line, printable, read_bounded
from para_server.host.filesystem import boot_id, is_kind, remove_tree

MAX_OUTPUT: Final = 8 << 20  # bytes that para.logs returns
_CHUNK: Final = 1 << 16  # characters of output that are made printable at a time
_MAX_STATE: Final = 40 << 10  # bytes; the hook cuts an event at 32 KiB
_MAX_CODE_DIGITS: Final = 9  # of an exit code
_EVENT: Final = "\x1e"  # begins a line of the output that is an event
_EVENTS: Final = re.compile(f"^{_EVENT}(.*)$", re.MULTILINE)
_TIME: Final = re.compile(r"[0-9]{1,10}([.,][0-9]{1,6})?")
_MAX_TIME: Final = 4102444800  # 2100-01-01; later times are invalid
_ENDED_SILENTLY: Final = "its processes ended unexpectedly"
_NOT_RESTARTED: Final = "it was not started again: send it a prompt"
_ACTIVE_STATES: Final = {AgentState.STARTING, AgentState.WORKING, AgentState.WAITING}


def read_state(
    folder: Path, name: str, *, alive: bool, supervised: bool = True, started: bool = True
) -> Agent:
    """Return the reported state of an agent; `alive` is whether its container runs.

    An agent that is no longer supervised, or was not started, is reported as exited.
    """
    report = read_bounded(folder / "out" / "state", _MAX_STATE)
    if report is None:
        if alive and not started:
            return Agent(name=name, state=AgentState.EXITED, detail=_NOT_RESTARTED)
        if alive and not supervised:
            return Agent(name=name, state=AgentState.EXITED, detail=_ENDED_SILENTLY)
        return Agent(name=name, state=AgentState.STARTING if alive else AgentState.EXITED)
    word, seconds, event = [*report.decode(errors="replace").split("\n", 2), "", ""][:3]
    state = AgentState(word) if word in set(AgentState) else AgentState.UNKNOWN
    if not alive and state in _ACTIVE_STATES:
        state = AgentState.EXITED
    since = _since(folder, seconds)
    if not supervised and state in _ACTIVE_STATES:
        return Agent(name=name, state=AgentState.EXITED, detail=_ENDED_SILENTLY, since=since)
    profile = PROFILES.get(name)
    detail = _render_event(event, profile.detail) if profile else event.partition("\n")[0]
    return Agent(name=name, state=state, detail=one_line(detail), since=since)


def read_start(folder: Path) -> tuple[int, str] | None:
    """Return the exit code and output of an agent's start with its container; None before it."""
    report = read_bounded(folder / "out" / "begun", _MAX_STATE)
    if report is None:
        return None
    code, _, text = report.decode(errors="replace").partition("\n")
    is_valid = code.isascii() and code.isdecimal() and len(code) <= _MAX_CODE_DIGITS
    return (int(code) if is_valid else 1), printable(text)


def is_suspended(folder: Path) -> bool:
    """Return whether para ended the agent for a pause and has not started it again."""
    return is_kind(folder, "out/resting", stat.S_ISREG)


def is_supervised(folder: Path | str) -> bool:
    """Return whether the agent can have processes: its supervisor locks a file while it runs."""
    out = f"{folder}/out"
    try:
        descriptor = os.open(f"{out}/alive", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return not _is_older_than_boot(f"{out}/state")
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return True
        if os.read(descriptor, 64).decode(errors="replace").strip() != boot_id():
            # from before the last boot, or of another kernel, whose locks are not visible here
            return not _is_older_than_boot(f"{out}/state")
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # it is locked, or this file system has no locks
        return True
    finally:
        os.close(descriptor)
    return False


def _is_older_than_boot(file: str) -> bool:
    """Return whether a file was last changed before the machine booted."""
    if sys.platform != "linux":
        return False
    try:
        changed = os.lstat(file).st_ctime
    except OSError:
        return False
    return changed < time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def state_stamp(folder: str) -> tuple[int, int, int] | None:
    """Return a value that changes when the agent's state file is replaced; None without a file."""
    try:
        status = os.lstat(f"{folder}/out/state")
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def remove_state(folder: Path) -> None:
    """Remove the state that an earlier run reported, but not its output."""
    for name in ("state", "resting", "begun", "alive"):
        with contextlib.suppress(ParaError):  # a file that can't be removed can't be read either
            remove_tree(folder / "out" / name)


def read_output(folder: Path, name: str, lines: int | None) -> str:
    """Return the last lines of an agent's output and events, made printable.

    All lines up to MAX_OUTPUT are returned if `lines` is None.
    """
    raw = read_bounded(folder / "out" / "output", MAX_OUTPUT, from_end=True) or b""
    if len(raw) < MAX_OUTPUT:
        rest = MAX_OUTPUT - len(raw)
        raw = (read_bounded(folder / "out" / "output.old", rest, from_end=True) or b"") + raw
    text = raw.decode(errors="replace").replace("\r\n", "\n")
    profile = PROFILES.get(name)
    if profile and _EVENT in text:
        text = _render_events(text, profile.line)
    text = _printable_end(text)
    return text if lines is None else _last_lines(text, lines)


def _render_events(text: str, render: Callable[[Event], str]) -> str:
    """Replace events by their texts; `re.sub` would first collect millions of matches."""
    made = io.StringIO()
    position = 0
    for match in _EVENTS.finditer(text):
        made.write(text[position : match.start()])
        made.write(_render_event(match[1], render))
        position = match.end()
    made.write(text[position:])
    return made.getvalue()


def _last_lines(text: str, lines: int) -> str:
    """Return the last lines of a text; splitting it would take many times its memory."""
    position = len(text) - text.endswith("\n")
    for _ in range(lines):
        position = text.rfind("\n", 0, position)
        if position < 0:
            return text
    return text[position + 1 :]


def _printable_end(text: str) -> str:
    """Return the printable end of a text; escaping can make text many times longer."""
    parts: list[str] = []
    room, position = MAX_OUTPUT, len(text)
    while position > 0 and room > 0:
        part = printable(text[max(0, position - _CHUNK) : position])
        parts.append(part[-room:])
        room -= len(part)
        position -= _CHUNK
    return "".join(reversed(parts))


def _render_event(text: str, render: Callable[[Event], str]) -> str:
    """Return the text of an event, which may be cut off or have any content."""
    if not text.startswith("{"):
        return text.partition("\n")[0]
    try:
        # the hook cuts events below this limit; parsed values take many times the memory of text
        event = from_json(text[:_MAX_STATE], allow_partial="trailing-strings")
    except (ValueError, RecursionError):
        return ""
    return render(event) if isinstance(event, dict) else ""


def _since(folder: Path, seconds: str) -> datetime | None:
    """Return the time of a state change, at the latest the time when its file was written."""
    since = _time(seconds)
    with contextlib.suppress(OSError):
        written = datetime.fromtimestamp((folder / "out" / "state").lstat().st_ctime, UTC)
        return min(since, written) if since is not None else written
    return since


def _time(seconds: str) -> datetime | None:
    if not _TIME.fullmatch(seconds):
        return None
    return datetime.fromtimestamp(min(float(seconds.replace(",", ".")), _MAX_TIME), UTC)
