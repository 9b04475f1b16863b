"""The only place that knows which agents there are, and how each is started and continued."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from para_server.errors import ParaError, Remedy


@dataclass(frozen=True)
class Profile:
    """An agent: `script` makes the shell script that takes up a prompt.

    `goes_on` tells whether an agent that was cut in its work takes it up again by itself.
    """

    name: str
    title: str
    script: Callable[[str], str]
    goes_on: bool


def _command(prompt: str) -> str:
    return f"{prompt}\n"  # the script itself: as an argument it would have to be short


PROFILES: Final = {
    "command": Profile("command", "the prompt as a shell command", _command, goes_on=True),
}


def profile(name: str) -> Profile:
    """Give an agent's profile; raises agent.unknown."""
    found = PROFILES.get(name)
    if found is None:
        known = ", ".join(sorted(PROFILES))
        raise ParaError(
            "agent.unknown",
            f"There is no agent {name[:100]} (there is: {known})",
            Remedy(title="Choose an agent", setting="agent.name"),
        )
    return found
