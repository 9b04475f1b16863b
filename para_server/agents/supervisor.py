"""Set up the supervision of agents: their folders, and the commands that run in containers.

A session's agent folder has `in`, which only the host writes, and `out` and `kept`, which the
agent writes and which are not trusted. The commands are the shell scripts of this package.
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
EXIT_NO_AGENT: Final = 3  # of send_command: the agent has ended
EXIT_DIALOG: Final = 4  # of send_command: a dialog opened, which Enter would have answered
EXIT_NO_SCRIPT: Final = 127  # of setup_command
EXIT_TIMEOUT: Final = 124  # of setup_command
_IN: Final = f"{AGENT_FOLDER}/in"
_SCRIPTS: Final = (
    "main.sh start.sh supervise.sh record.sh hook.sh end.sh send.sh setup.sh tmux.conf".split()
)
_END_TIMEOUT: Final = 5  # seconds


def prepare_folder(folder: Path, owner: int | None) -> None:
    """Create an agent's folder; `owner` is the agent's uid if it differs from this process's."""
    (folder / "in").mkdir(mode=0o755, parents=True, exist_ok=True)
    for part in ("out", "kept"):
        writable = folder / part
        if not writable.exists():
            writable.mkdir(mode=0o755)
            if owner is not None:
                _change_owner(writable, owner)
    for name, script in _scripts().items():
        _write_file(folder / "in" / name, script)


def _change_owner(folder: Path, owner: int) -> None:
    try:
        os.chown(folder, owner, owner)
    except OSError:  # a file system without owners; the parent folders exclude other users
        folder.chmod(0o777)


def mounts(folder: Path, profile: Profile) -> list[Mount]:
    """Return the mounts of an agent's folder, and of the profile's files at their own paths."""
    result = [
        Mount(source=str(folder / "in"), target=_IN, read_only=True),
        Mount(source=str(folder / "out"), target=f"{AGENT_FOLDER}/out"),
        Mount(source=str(folder / "kept"), target=f"{AGENT_FOLDER}/kept"),
    ]
    for parent in {str(PurePosixPath(target).parent) for target in profile.files({})}:
        source = _mount_source(folder, parent)
        source.mkdir(parents=True, exist_ok=True)
        result.append(Mount(source=str(source), target=parent, read_only=True))
    return result


def write_instructions(
    folder: Path, profile: Profile, argv: Iterable[str], prompt: str, variables: Mapping[str, str]
) -> None:
    """Write the agent's command line, prompt and other inputs for its supervisor.

    `variables` are the user's environment variables for the agent.
    """
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
    for target, text in profile.files(variables).items():
        file = _mount_source(folder, target)
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_file(file, text.encode())


def enable_autostart(folder: Path) -> None:
    """Make the agent start with its container."""
    _write_file(folder / "in" / "begin", b"")


def is_autostart_enabled(folder: Path) -> bool:
    """Return whether the agent starts with its container."""
    return (folder / "in" / "begin").exists()


def disable_autostart(folder: Path) -> None:
    """Make the agent not start with its container any more."""
    (folder / "in" / "begin").unlink(missing_ok=True)


def start_command(secrets: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the command that starts the agent, and the environment with its secrets."""
    return ("bash", f"{_IN}/start.sh"), {**secrets, "PARA_SECRETS": " ".join(secrets)}


def end_command(profile: Profile) -> tuple[str, ...]:
    """Return the command that ends the agent gracefully, within a few seconds."""
    return ("bash", f"{_IN}/end.sh", profile.signal, str(_END_TIMEOUT))


def send_command(folder: Path, text: str) -> tuple[str, ...]:
    """Write a text for the agent, and return the command that types it."""
    _write_file(folder / "in" / "text", text.encode())
    return ("bash", f"{_IN}/send.sh")


def setup_command(script: str, seconds: int, *, optional: bool) -> tuple[str, ...]:
    """Return the command that runs a setup script of the workspace with a timeout."""
    return ("bash", f"{_IN}/setup.sh", script, "maybe" if optional else "needed", str(seconds))


def has_conversation(folder: Path, profile: Profile, conversation: str) -> bool:
    """Return whether there is a conversation to resume; its files are not read."""
    if profile.conversation:
        path = profile.conversation.replace(CONVERSATION, conversation)
        return is_kind(folder, f"kept/{path}", stat.S_ISREG)
    return any(has_entries(folder, f"kept/{path}") for path in profile.keeps)


@cache
def _scripts() -> dict[str, bytes]:
    return {name: (resources.files(__package__) / name).read_bytes() for name in _SCRIPTS}


def _mount_source(folder: Path, target: str) -> Path:
    return folder / "in" / "files" / target.lstrip("/")


def _write_file(file: Path, content: bytes) -> None:
    if read_bounded(file, len(content) + 1) == content:
        return
    # replaced atomically: the container may be reading the old content
    draft = file.with_name(f".{file.name}.new")
    draft.write_bytes(content)
    draft.replace(file)


def _nul_separated(words: Iterable[str]) -> bytes:
    return b"".join(word.encode() + b"\0" for word in words)
