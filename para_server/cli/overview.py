"""The only place that tells which commands there are without loading them: `para --help`.

A person who asks for help shall not wait until all that the commands need is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from para_server import __version__

TABLE: Final = Path(__file__).parents[1] / "commands.json"  # written by codegen
_HELP: Final = {"-h", "--help"}


def without_help(argv: Sequence[str]) -> list[str]:
    """Return `para help COMMAND` as what it means: `para COMMAND --help`."""
    return [*argv[1:], "--help"] if argv[:1] == ["help"] else list(argv)


def answer(argv: Sequence[str]) -> str | None:
    """Answer what can be answered without a command; None where one is called."""
    if argv[:1] == ["--version"]:
        return f"para {__version__}\n"
    asked = [word for word in argv if not word.startswith("-")]
    below = _below(asked)
    if not _HELP & set(argv) or not below or _name(asked) in below:
        return None
    return overview(asked)


def overview(words: Sequence[str]) -> str:
    """List the commands that begin with some words, each with what it does."""
    rows = sorted((" ".join(name.split(".")[1:]), text) for name, text in _below(words).items())
    width = max(len(name) for name, _ in rows)
    listed = "\n".join(f"  {name.ljust(width)}  {text}" for name, text in rows)
    return (
        "usage: para COMMAND … [--json]\n\n"
        "A container, a clone, a branch and an agent of its own for each task.\n\n"
        f"{listed}\n\n`para COMMAND --help` tells more of one.\n"
    )


def _below(words: Sequence[str]) -> dict[str, str]:
    table: dict[str, str] = json.loads(TABLE.read_text())
    return {name: text for name, text in table.items() if f"{name}.".startswith(f"{_name(words)}.")}


def _name(words: Sequence[str]) -> str:
    return ".".join(("para", *words))
