"""The only place that reads what an agent says of itself: its state, its events, its output.

All of it comes from an untrusted party: it is bounded, checked and a claim, not a proof.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic_core import from_json

from para_server.agents.profile import Event
from para_server.agents.profiles import PROFILES
from para_server.disk import is_there, remove_tree
from para_server.errors import ParaError
from para_server.models import Agent, AgentState
from para_server.untrusted import one_line, printable, read_bounded

MAX_OUTPUT: Final = 8 << 20  # bytes of output that para.logs can give
_MAX_STATE: Final = 40 << 10  # bytes; the hook cuts an event at 32 KiB
_EVENT: Final = "\x1e"  # what a line of the output begins with that is an event
_TIME: Final = re.compile(r"[0-9]{1,10}([.,][0-9]{1,6})?")
_LATEST: Final = 4102444800  # 2100-01-01: what claims to be later is no time
_AT_WORK: Final = {AgentState.STARTING, AgentState.WORKING, AgentState.WAITING}


def state(folder: Path, name: str, *, alive: bool) -> Agent:
    """Read what the agent says of itself; `alive` is whether its container runs."""
    claim = read_bounded(folder / "out" / "state", _MAX_STATE)
    if claim is None:
        return Agent(name=name, state=AgentState.STARTING if alive else AgentState.EXITED)
    word, seconds, told = [*claim.decode(errors="replace").split("\n", 2), "", ""][:3]
    said = AgentState(word) if word in set(AgentState) else AgentState.UNKNOWN
    if not alive and said in _AT_WORK:
        said = AgentState.EXITED
    known = PROFILES.get(name)
    detail = _told(told, known.detail) if known else told.partition("\n")[0]
    return Agent(name=name, state=said, detail=one_line(detail), since=_time(seconds))


def begun(folder: Path) -> tuple[int, str] | None:
    """Read how the start of an agent went that began with its container: exit code and words."""
    claim = read_bounded(folder / "out" / "begun", _MAX_STATE)
    if claim is None:
        return None
    code, _, said = claim.decode(errors="replace").partition("\n")
    return (int(code) if code.isascii() and code.isdecimal() else 1), printable(said)


def rests(folder: Path) -> bool:
    """Tell whether the agent was ended by para, and not started again."""
    return is_there(folder, "out/resting", stat.S_ISREG)


def stamp(folder: str) -> tuple[int, int, int] | None:
    """Tell apart what an agent says from what it said before, without a look into it."""
    try:
        told = os.lstat(f"{folder}/out/state")
    except OSError:
        return None
    return told.st_ino, told.st_mtime_ns, told.st_size


def forget_state(folder: Path) -> None:
    """Drop what an earlier run said; the output stays."""
    for name in ("state", "resting", "begun"):
        with contextlib.suppress(ParaError):  # what cannot be removed is no claim to be read
            remove_tree(folder / "out" / name)


def output(folder: Path, name: str, lines: int | None) -> str:
    """Read the end of what the agent printed and did, fit to be shown."""
    raw = read_bounded(folder / "out" / "output", MAX_OUTPUT, from_end=True) or b""
    if len(raw) < MAX_OUTPUT:
        rest = MAX_OUTPUT - len(raw)
        raw = (read_bounded(folder / "out" / "output.old", rest, from_end=True) or b"") + raw
    text = raw.decode(errors="replace").replace("\r\n", "\n")
    known = PROFILES.get(name)
    if known and _EVENT in text:
        text = "\n".join(
            _told(line[1:], known.line) if line.startswith(_EVENT) else line
            for line in text.split("\n")
        )
    text = printable(text)
    if lines is None:
        return text
    return "".join(text.splitlines(keepends=True)[-lines:])


def _told(text: str, tell: Callable[[Event], str]) -> str:
    """Tell of an event; its end may have been cut off, and it may be anything."""
    if not text.startswith("{"):
        return text.partition("\n")[0]
    try:
        event = from_json(text, allow_partial="trailing-strings")
    except (ValueError, RecursionError):
        return ""
    return tell(event) if isinstance(event, dict) else ""


def _time(seconds: str) -> datetime | None:
    if not _TIME.fullmatch(seconds):
        return None
    return datetime.fromtimestamp(min(float(seconds.replace(",", ".")), _LATEST), UTC)
