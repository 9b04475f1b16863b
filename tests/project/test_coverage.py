"""Every command and every slug is met in the tests."""

from __future__ import annotations

import re
from pathlib import Path

import para_server.commands.all  # noqa: F401 # fills the registry
from para_server.core.errors import SLUGS
from para_server.registry import COMMANDS

TESTS = Path(__file__).resolve().parents[1]
TEXT = {
    folder: "\n".join(file.read_text() for file in (TESTS / folder).rglob("test_*.py"))
    for folder in ("commands", "faces")
}


def test_every_command_is_met_through_a_server_and_at_a_terminal() -> None:
    assert [name for name in COMMANDS if f'"{name}"' not in TEXT["commands"]] == []
    at_terminal = [name.removeprefix("para.").replace(".", '", "') for name in COMMANDS]
    assert [words for words in at_terminal if f'"{words}"' not in TEXT["faces"]] == []


def test_every_slug_is_met() -> None:
    # raised by a command, or the problem of a session that failed
    met = re.findall(r'(?:(?:case|fails)\(|\("failed",)\s*"([a-z.-]+)"', TEXT["commands"])
    assert set(met) == SLUGS.keys()
