"""Print `para --help` and `para --version` from a generated file.

Importing the commands and their dependencies would make help slow.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from para_server import __version__

COMMANDS_FILE: Final = Path(__file__).parents[1] / "commands.json"  # written by codegen
_HELP: Final = {"-h", "--help"}


def expand_help(argv: Sequence[str]) -> list[str]:
    """Rewrite `help COMMAND` to `COMMAND --help`."""
    return [*argv[1:], "--help"] if argv[:1] == ["help"] else list(argv)


def get_quick_answer(argv: Sequence[str]) -> str | None:
    """Return the text for `--version` and the overviews; None if a command must be loaded."""
    if argv[:1] == ["--version"]:
        return f"para {__version__}\n"
    words = [word for word in argv if not word.startswith("-")]
    commands = _find_commands(words)
    if not _HELP & set(argv) or not commands or _join_name(words) in commands:
        return None
    return format_overview(words)


def format_overview(words: Sequence[str]) -> str:
    """Return the usage and a list of the commands whose names start with some words."""
    rows = sorted(
        (" ".join(name.split(".")[1:]), text) for name, text in _find_commands(words).items()
    )
    width = max(len(name) for name, _ in rows)
    listed = "\n".join(f"  {name.ljust(width)}  {text}" for name, text in rows)
    return (
        "usage: para COMMAND … [--json]\n\n"
        "Run coding agents side by side, each in its own container, clone and branch.\n\n"
        f"{listed}\n\nRun `para COMMAND --help` for the options of a command.\n"
    )


def _find_commands(words: Sequence[str]) -> dict[str, str]:
    table: dict[str, str] = json.loads(COMMANDS_FILE.read_text())
    return {
        name: text for name, text in table.items() if f"{name}.".startswith(f"{_join_name(words)}.")
    }


def _join_name(words: Sequence[str]) -> str:
    return ".".join(("para", *words))
