"""The only place that knows how an agent is supervised: its folder, and what runs beside it.

A session's agent folder has `in`, which only the host writes, and `out` and `kept`, which the
agent may have filled with anything. What runs in the container are the scripts of this package.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Final

from para_server.agents.profile import CONVERSATION, Profile
from para_server.core.container_spec import AGENT_FOLDER, Mount
from para_server.core.untrusted import read_bounded
from para_server.host.filesystem import has_entries, is_kind

ATTACH: Final = ("tmux", "attach-session", "-t", "agent")
EXIT_NO_AGENT: Final = 3  # the exit code of send_command where there is no agent any more
EXIT_DIALOG: Final = 4  # and where a dialog came up, which an Enter would have answered
EXIT_NO_SCRIPT: Final = 127  # the exit code of setup_command where there is no script
EXIT_TIMEOUT: Final = 124  # and where it did not end in its time
_IN: Final = f"{AGENT_FOLDER}/in"
_SCRIPTS: Final = (
    "main.sh start.sh supervise.sh record.sh hook.sh end.sh send.sh setup.sh tmux.conf".split()
)
_END_TIMEOUT: Final = 5  # seconds that an agent has to end by itself


def prepare_folder(folder: Path, owner: int | None) -> None:
    """Lay out an agent's folder; `owner` is the uid that agents run as, where it is not ours."""
    (folder / "in").mkdir(mode=0o755, parents=True, exist_ok=True)
    for part in ("out", "kept"):
        theirs = folder / part
        if not theirs.exists():
            theirs.mkdir(mode=0o755)
            if owner is not None:
                _change_owner(theirs, owner)
    for name, script in _scripts().items():
        _write_file(folder / "in" / name, script)


def _change_owner(folder: Path, owner: int) -> None:
    try:
        os.chown(folder, owner, owner)
    except OSError:  # a file system without owners; those above the folder keep others out
        folder.chmod(0o777)


def mounts(folder: Path, profile: Profile) -> list[Mount]:
    """Show an agent's folder to its container, and the files that the agent reads elsewhere."""
    shown = [
        Mount(source=str(folder / "in"), target=_IN, read_only=True),
        Mount(source=str(folder / "out"), target=f"{AGENT_FOLDER}/out"),
        Mount(source=str(folder / "kept"), target=f"{AGENT_FOLDER}/kept"),
    ]
    for place in {str(PurePosixPath(target).parent) for target in profile.files({})}:
        source = _mounted_file(folder, place)
        source.mkdir(parents=True, exist_ok=True)
        shown.append(Mount(source=str(source), target=place, read_only=True))
    return shown


def write_instructions(
    folder: Path, profile: Profile, argv: Iterable[str], prompt: str, given: Mapping[str, str]
) -> None:
    """Write down what the agent is to be started with; `given` are the user's variables for it."""
    inside = folder / "in"
    _write_file(inside / "prompt", prompt.encode())
    _write_file(inside / "argv", _nul_separated(argv))
    _write_file(
        inside / "environment", _nul_separated(f"{k}={v}" for k, v in profile.environment.items())
    )
    _write_file(inside / "keeps", _nul_separated(profile.keeps))
    _write_file(
        inside / "seeds", _nul_separated(part for seed in profile.seeds.items() for part in seed)
    )
    _write_file(inside / "manner", profile.manner.encode())
    _write_file(inside / "status", profile.status.encode())
    for target, text in profile.files(given).items():
        file = _mounted_file(folder, target)
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_file(file, text.encode())


def enable_autostart(folder: Path) -> None:
    """Let the agent begin with its container."""
    _write_file(folder / "in" / "begin", b"")


def is_autostart_enabled(folder: Path) -> bool:
    """Tell whether the agent begins with its container."""
    return (folder / "in" / "begin").exists()


def disable_autostart(folder: Path) -> None:
    """Let no agent begin when its container is started another time."""
    (folder / "in" / "begin").unlink(missing_ok=True)


def start_command(secrets: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Give the command that starts the agent, and the environment that hands it its secrets."""
    return ("bash", f"{_IN}/start.sh"), {**secrets, "PARA_SECRETS": " ".join(secrets)}


def end_command(profile: Profile) -> tuple[str, ...]:
    """Give the command that ends the agent gently, within a bounded time."""
    return ("bash", f"{_IN}/end.sh", profile.signal, str(_END_TIMEOUT))


def send_command(folder: Path, text: str) -> tuple[str, ...]:
    """Give the command that types a text for the agent."""
    _write_file(folder / "in" / "text", text.encode())
    return ("bash", f"{_IN}/send.sh")


def setup_command(script: str, seconds: int, *, optional: bool) -> tuple[str, ...]:
    """Give the command that runs a set-up script of the workspace, for so many seconds."""
    return ("bash", f"{_IN}/setup.sh", script, "maybe" if optional else "needed", str(seconds))


def has_conversation(folder: Path, profile: Profile, conversation: str) -> bool:
    """Tell whether there is a conversation to go on with; only a look, at what is not trusted."""
    if profile.conversation:
        path = profile.conversation.replace(CONVERSATION, conversation)
        return is_kind(folder, f"kept/{path}", stat.S_ISREG)
    return any(has_entries(folder, f"kept/{path}") for path in profile.keeps)


@cache
def _scripts() -> dict[str, bytes]:
    return {name: (resources.files(__package__) / name).read_bytes() for name in _SCRIPTS}


def _mounted_file(folder: Path, target: str) -> Path:
    return folder / "in" / "files" / target.lstrip("/")


def _write_file(file: Path, content: bytes) -> None:
    if read_bounded(file, len(content) + 1) == content:
        return
    # renamed into its place: the container may be reading the one before
    draft = file.with_name(f".{file.name}.new")
    draft.write_bytes(content)
    draft.replace(file)


def _nul_separated(words: Iterable[str]) -> bytes:
    return b"".join(word.encode() + b"\0" for word in words)
