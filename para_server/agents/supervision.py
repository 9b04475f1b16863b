"""The only place that knows how an agent is supervised: its folder, tmux, its state, its output.

A session's agent folder has `in`, which only the host writes, and `out` and `kept`, which the
agent may have filled with anything: what is read from there is bounded and is a claim, not a proof.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Final

from para_server.agents.profile import Profile
from para_server.models import Agent, AgentState
from para_server.spec import AGENT_FOLDER, Mount
from para_server.untrusted import one_line, printable, read_bounded

ATTACH: Final = ("tmux", "attach-session", "-t", "agent")
PROMPT_FILE: Final = f"{AGENT_FOLDER}/in/prompt"
_SCRIPTS: Final = "start.sh supervise.sh end.sh send.sh tmux.conf".split()
_GRACE: Final = 5  # seconds that an agent has to end by itself
_SECRETS: Final = "PARA_SECRETS"
_MAX_STATE: Final = 4096  # bytes
MAX_OUTPUT: Final = 8 << 20  # bytes of output that para.logs can give
_LATEST: Final = 4102444800  # 2100-01-01: what claims to be later is no time


def prepare(folder: Path, owner: int | None) -> None:
    """Lay out an agent's folder; `owner` is the uid that agents run as, where it is not ours."""
    (folder / "in").mkdir(mode=0o755, parents=True, exist_ok=True)
    for part in ("out", "kept"):
        theirs = folder / part
        if not theirs.exists():
            theirs.mkdir(mode=0o755)
            if owner is not None:
                os.chown(theirs, owner, owner)
    for name in _SCRIPTS:
        _put(folder / "in" / name, (resources.files(__package__) / name).read_bytes())


def instruct(folder: Path, profile: Profile, argv: Iterable[str], prompt: str) -> None:
    """Write down what the agent is to be started with."""
    given = folder / "in"
    _put(given / "prompt", prompt.encode())
    _put(given / "argv", _listed(argv))
    _put(given / "environment", _listed(f"{k}={v}" for k, v in profile.environment.items()))
    _put(given / "keeps", _listed(profile.keeps))
    _put(given / "manner", profile.manner.encode())


def start_command(secrets: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Give the command that starts the agent, and the environment that hands it its secrets."""
    names = " ".join(secrets)
    return ("bash", f"{AGENT_FOLDER}/in/start.sh"), {**secrets, _SECRETS: names}


def end_command(profile: Profile) -> tuple[str, ...]:
    """Give the command that ends the agent gently, within a bounded time."""
    return ("bash", f"{AGENT_FOLDER}/in/end.sh", profile.signal, str(_GRACE))


def mounts(folder: Path, profile: Profile | None) -> list[Mount]:
    """Show an agent's folder to its container."""
    shown = [
        Mount(source=str(folder / "in"), target=f"{AGENT_FOLDER}/in", read_only=True),
        Mount(source=str(folder / "out"), target=f"{AGENT_FOLDER}/out"),
        Mount(source=str(folder / "kept"), target=f"{AGENT_FOLDER}/kept"),
    ]
    for target, text in (profile.files if profile else {}).items():
        inside = folder / "in" / "files" / target.lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        _put(inside, text.encode())
        place = str(PurePosixPath(target).parent)
        shown.append(Mount(source=str(inside.parent), target=place, read_only=True))
    return shown


def has_conversation(folder: Path, profile: Profile, conversation: str) -> bool:
    """Tell whether there is a conversation to go on with; only a look, at what is not trusted."""
    if profile.conversation:
        path = profile.conversation.replace("{conversation}", conversation)
        return (folder / "kept" / path).is_file()
    with contextlib.suppress(OSError):
        return any(any((folder / "kept" / path).iterdir()) for path in profile.keeps)
    return False


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
    return state(folder, "", alive=True).state in {AgentState.WORKING, AgentState.WAITING}


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


def _put(file: Path, content: bytes) -> None:
    # renamed into its place: the container may be reading the one before
    draft = file.with_name(f".{file.name}.new")
    draft.write_bytes(content)
    draft.replace(file)


def _listed(words: Iterable[str]) -> bytes:
    return b"".join(word.encode() + b"\0" for word in words)


def _time(seconds: str) -> datetime | None:
    if not (seconds.isascii() and seconds.isdigit()) or len(seconds) > len(str(_LATEST)):
        return None
    return datetime.fromtimestamp(min(int(seconds), _LATEST), UTC)
