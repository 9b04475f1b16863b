"""The only place that knows how an agent is supervised: its folder, tmux, its state, its output.

A session's agent folder has `in`, which only the host writes, and `out`, which the agent may
have filled with anything: what is read from there is bounded and is a claim, not a proof.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Final

from para_server.models import Agent, AgentState
from para_server.spec import AGENT_FOLDER, Mount
from para_server.untrusted import one_line, printable, read_bounded

START: Final = ("tmux", "new-session", "-d", "-s", "agent", "-x", "200", "-y", "50")
ATTACH: Final = ("tmux", "attach-session", "-t", "agent")
_SUPERVISE: Final = ("sh", f"{AGENT_FOLDER}/in/supervise.sh")
_MAX_STATE: Final = 4096  # bytes
MAX_OUTPUT: Final = 8 << 20  # bytes of output that para.logs can give
_LATEST: Final = 4102444800  # 2100-01-01: what claims to be later is no time


def prepare(folder: Path, script: str | None, owner: int | None) -> None:
    """Lay out an agent's folder; `owner` is the uid that agents run as, where it is not ours."""
    given, told = folder / "in", folder / "out"
    given.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not told.exists():
        told.mkdir(mode=0o755)
        if owner is not None:
            os.chown(told, owner, owner)
    with resources.as_file(resources.files(__package__) / "supervise.sh") as source:
        shutil.copyfile(source, given / "supervise.sh")
    if script is not None:
        (given / "script").write_text(script)


def mounts(folder: Path) -> list[Mount]:
    """Show an agent's folder to its container."""
    return [
        Mount(source=str(folder / "in"), target=f"{AGENT_FOLDER}/in", read_only=True),
        Mount(source=str(folder / "out"), target=f"{AGENT_FOLDER}/out"),
    ]


def start_command() -> tuple[str, ...]:
    """Give the command that starts the agent in a terminal of its own."""
    return (*START, *_SUPERVISE)


def state(folder: Path, name: str, *, alive: bool) -> Agent:
    """Read what the agent says of itself; `alive` is whether its container runs."""
    claim = read_bounded(folder / "out" / "state", _MAX_STATE)
    if claim is None:
        return Agent(name=name, state=AgentState.STARTING if alive else AgentState.EXITED)
    word, seconds, detail, *_ = [*claim.decode(errors="replace").split("\n"), "", "", ""]
    said = AgentState(word) if word in set(AgentState) else AgentState.UNKNOWN
    if not alive and said in {AgentState.STARTING, AgentState.WORKING, AgentState.WAITING}:
        said = AgentState.EXITED
    return Agent(name=name, state=said, detail=one_line(detail), since=_time(seconds))


def was_cut(folder: Path) -> bool:
    """Tell whether the agent was at work when it was last seen."""
    return state(folder, "", alive=True).state is AgentState.WORKING


def forget_state(folder: Path) -> None:
    """Drop what an earlier run said; the output stays."""
    said = folder / "out" / "state"
    with contextlib.suppress(OSError):  # what cannot be removed is no claim that could be read
        if said.is_dir() and not said.is_symlink():
            shutil.rmtree(said)
        else:
            said.unlink(missing_ok=True)


def output(folder: Path, lines: int | None) -> str:
    """Read the end of what the agent printed, fit to be shown."""
    raw = read_bounded(folder / "out" / "output", MAX_OUTPUT, from_end=True) or b""
    text = printable(raw.decode(errors="replace").replace("\r\n", "\n"))
    if lines is None:
        return text
    return "".join(text.splitlines(keepends=True)[-lines:])


def _time(seconds: str) -> datetime | None:
    if not (seconds.isascii() and seconds.isdigit()) or len(seconds) > len(str(_LATEST)):
        return None
    return datetime.fromtimestamp(min(int(seconds), _LATEST), UTC)
