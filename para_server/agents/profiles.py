"""Find the profiles of agents: built-in ones, and those of the settings."""

from __future__ import annotations

from typing import Final

from para_server.agents.claude import CLAUDE
from para_server.agents.codex import CODEX
from para_server.agents.command import COMMAND
from para_server.agents.gemini import GEMINI
from para_server.agents.opencode import OPENCODE
from para_server.agents.profile import Profile
from para_server.core.errors import ParaError, Remedy
from para_server.core.settings import AgentSettings

PROFILES: Final = {one.name: one for one in (CLAUDE, CODEX, GEMINI, OPENCODE, COMMAND)}


def find_profile(name: str, settings: AgentSettings) -> Profile:
    """Return an agent's profile; raises agent.unknown."""
    own = settings.profiles.get(name)
    if own is not None:
        return Profile(
            name=name,
            title=name,
            start=own.start,
            on_host=own.start,
            resume=own.resume,
            needs_login=False,
            manner="terminal" if own.terminal else "prints",
            keeps=own.keeps,
        )
    profile = PROFILES.get(name)
    if profile is None:
        known = ", ".join(sorted({*PROFILES, *settings.profiles}))
        raise ParaError(
            "agent.unknown",
            f"There is no agent {name[:100]} (available: {known})",
            Remedy(title="Choose an agent", setting="agent.name"),
        )
    return profile
