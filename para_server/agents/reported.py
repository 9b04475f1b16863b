"""The only place that reads what an agent says of itself: its state, its events, its output.

All of it comes from an untrusted party: it is bounded, checked and a claim, not a proof.
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

MAX_OUTPUT: Final = 8 << 20  # bytes of output that para.logs can give
_CHUNK: Final = 1 << 16  # characters of it that are made fit to be shown at once
_MAX_STATE: Final = 40 << 10  # bytes; the hook cuts an event at 32 KiB
_MAX_CODE_DIGITS: Final = 9  # of an exit code
_EVENT: Final = "\x1e"  # what a line of the output begins with that is an event
_EVENTS: Final = re.compile(f"^{_EVENT}(.*)$", re.MULTILINE)
_TIME: Final = re.compile(r"[0-9]{1,10}([.,][0-9]{1,6})?")
_MAX_TIME: Final = 4102444800  # 2100-01-01: what claims to be later is no time
_ENDED_SILENTLY: Final = "its processes ended without a word"
_NOT_RESTARTED: Final = "it was not started again: send it what to do"
_ACTIVE_STATES: Final = {AgentState.STARTING, AgentState.WORKING, AgentState.WAITING}


def read_state(
    folder: Path, name: str, *, alive: bool, supervised: bool = True, started: bool = True
) -> Agent:
    """Read what the agent says of itself; `alive` is whether its container runs.

    What is not supervised any more says nothing: its processes went without a word. One that was
    not `begun` says nothing either.
    """
    claim = read_bounded(folder / "out" / "state", _MAX_STATE)
    if claim is None:
        if alive and not started:
            return Agent(name=name, state=AgentState.EXITED, detail=_NOT_RESTARTED)
        if alive and not supervised:
            return Agent(name=name, state=AgentState.EXITED, detail=_ENDED_SILENTLY)
        return Agent(name=name, state=AgentState.STARTING if alive else AgentState.EXITED)
    word, seconds, told = [*claim.decode(errors="replace").split("\n", 2), "", ""][:3]
    said = AgentState(word) if word in set(AgentState) else AgentState.UNKNOWN
    if not alive and said in _ACTIVE_STATES:
        said = AgentState.EXITED
    since = _since(folder, seconds)
    if not supervised and said in _ACTIVE_STATES:
        return Agent(name=name, state=AgentState.EXITED, detail=_ENDED_SILENTLY, since=since)
    known = PROFILES.get(name)
    detail = _render_event(told, known.detail) if known else told.partition("\n")[0]
    return Agent(name=name, state=said, detail=one_line(detail), since=since)


def read_start(folder: Path) -> tuple[int, str] | None:
    """Read how the start of an agent went that began with its container: exit code and words."""
    claim = read_bounded(folder / "out" / "begun", _MAX_STATE)
    if claim is None:
        return None
    code, _, said = claim.decode(errors="replace").partition("\n")
    known = code.isascii() and code.isdecimal() and len(code) <= _MAX_CODE_DIGITS
    return (int(code) if known else 1), printable(said)


def is_suspended(folder: Path) -> bool:
    """Tell whether the agent was ended by para, and not started again."""
    return is_kind(folder, "out/resting", stat.S_ISREG)


def is_supervised(folder: Path | str) -> bool:
    """Tell whether the agent may have processes: they are gone where nobody holds their lock."""
    out = f"{folder}/out"
    try:
        descriptor = os.open(f"{out}/alive", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return not _is_older_than_boot(f"{out}/state")
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return True
        if os.read(descriptor, 64).decode(errors="replace").strip() != boot_id():
            # of another kernel, which has locks of its own, or of this one before it was started
            return not _is_older_than_boot(f"{out}/state")
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # it is held, or this file system has no locks
        return True
    finally:
        os.close(descriptor)
    return False


def _is_older_than_boot(file: str) -> bool:
    """Tell whether a file was written before the machine was last started."""
    if sys.platform != "linux":
        return False
    try:
        changed = os.lstat(file).st_ctime
    except OSError:
        return False
    return changed < time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def state_stamp(folder: str) -> tuple[int, int, int] | None:
    """Tell apart what an agent says from what it said before, without a look into it."""
    try:
        told = os.lstat(f"{folder}/out/state")
    except OSError:
        return None
    return told.st_ino, told.st_mtime_ns, told.st_size


def remove_state(folder: Path) -> None:
    """Drop what an earlier run said; the output stays."""
    for name in ("state", "resting", "begun", "alive"):
        with contextlib.suppress(ParaError):  # what cannot be removed is no claim to be read
            remove_tree(folder / "out" / name)


def read_output(folder: Path, name: str, lines: int | None) -> str:
    """Read the end of what the agent printed and did, fit to be shown."""
    raw = read_bounded(folder / "out" / "output", MAX_OUTPUT, from_end=True) or b""
    if len(raw) < MAX_OUTPUT:
        rest = MAX_OUTPUT - len(raw)
        raw = (read_bounded(folder / "out" / "output.old", rest, from_end=True) or b"") + raw
    text = raw.decode(errors="replace").replace("\r\n", "\n")
    known = PROFILES.get(name)
    if known and _EVENT in text:
        text = _render_events(text, known.line)
    text = _printable_end(text)
    return text if lines is None else _last_lines(text, lines)


def _render_events(text: str, tell: Callable[[Event], str]) -> str:
    """Put what events mean in their place; `re.sub` would first list millions of texts."""
    made = io.StringIO()
    at = 0
    for found in _EVENTS.finditer(text):
        made.write(text[at : found.start()])
        made.write(_render_event(found[1], tell))
        at = found.end()
    made.write(text[at:])
    return made.getvalue()


def _last_lines(text: str, lines: int) -> str:
    """Return the last lines of a text; a list of millions would take many times their length."""
    at = len(text) - text.endswith("\n")
    for _ in range(lines):
        at = text.rfind("\n", 0, at)
        if at < 0:
            return text
    return text[at + 1 :]


def _printable_end(text: str) -> str:
    """Make text fit to be shown, from its end: codes take many times what they stand for."""
    parts: list[str] = []
    room, at = MAX_OUTPUT, len(text)
    while at > 0 and room > 0:
        part = printable(text[max(0, at - _CHUNK) : at])
        parts.append(part[-room:])
        room -= len(part)
        at -= _CHUNK
    return "".join(reversed(parts))


def _render_event(text: str, tell: Callable[[Event], str]) -> str:
    """Tell of an event; its end may have been cut off, and it may be anything."""
    if not text.startswith("{"):
        return text.partition("\n")[0]
    try:
        # the hook cuts an event at less, and values take many times what their text does
        event = from_json(text[:_MAX_STATE], allow_partial="trailing-strings")
    except (ValueError, RecursionError):
        return ""
    return tell(event) if isinstance(event, dict) else ""


def _since(folder: Path, seconds: str) -> datetime | None:
    """Read since when it is so; what claims to be later than it was written is not believed."""
    said = _time(seconds)
    with contextlib.suppress(OSError):
        written = datetime.fromtimestamp((folder / "out" / "state").lstat().st_ctime, UTC)
        return min(said, written) if said is not None else written
    return said


def _time(seconds: str) -> datetime | None:
    if not _TIME.fullmatch(seconds):
        return None
    return datetime.fromtimestamp(min(float(seconds.replace(",", ".")), _MAX_TIME), UTC)
