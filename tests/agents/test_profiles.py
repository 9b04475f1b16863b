"""Agents' profiles: built-in ones, and one of the settings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from para_server.agents.profile import Profile, fill_command_line
from para_server.agents.profiles import PROFILES
from tests.client import Para

NOTES = "~/notes/all"
OWN = {
    "scribe": {
        "start": [
            "sh",
            "-c",
            f'mkdir -p ~/notes; echo "$1" >>{NOTES}; cat {NOTES}',
            "-",
            "{prompt}",
        ],
        "resume": ["sh", "-c", f'echo "more: $1" >>{NOTES}; cat {NOTES}', "-", "{prompt}"],
        "keeps": ["notes"],
    }
}


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    """Return an environment with an agent in the settings."""
    return environ | {"PARA_AGENT_PROFILES": json.dumps(OWN), "PARA_AGENT_NAME": "scribe"}


async def logs(para: Para) -> list[str]:
    return str((await para.call("para.logs", name="fix"))["text"]).splitlines()


async def test_profile_of_settings_keeps_its_files(para: Para, fake_api: Any) -> None:
    assert fake_api.requests == []
    session = await para.call("para.dispatch", prompt="-n $(one) 'a'", name="fix")
    assert session["agent"]["name"] == "scribe"
    await para.agent("fix", "done")
    await para.call("para.send", text="two", name="fix")
    await para.agent("fix", "done")
    await para.call("para.pause", name="fix")
    await para.call("para.resume", name="fix", prompt="three")
    await para.agent("fix", "done")
    assert (await logs(para))[-3:] == ["-n $(one) 'a'", "more: two", "more: three"]


async def test_unknown_agent_error_lists_known_agents(para: Para) -> None:
    refused = await para.fails("agent.unknown", "para.dispatch", prompt="x", agent="nobody")
    assert refused.message == (
        "There is no agent nobody (available: claude, codex, command, gemini, opencode, scribe)"
    )


async def test_open_returns_agent_command_line_of_worktree(para: Para) -> None:
    await para.call(
        "para.dispatch", prompt="-p $(id)\n'x'", name="fix", type="worktree", agent="claude"
    )
    opened = await para.call("para.open", name="fix")
    assert opened["terminal"] == {"command": "claude", "args": ["--", "-p $(id)\n'x'"]}


@pytest.mark.parametrize("facts", PROFILES.values(), ids=PROFILES.keys())
def test_prompt_is_a_separate_argument(facts: Profile) -> None:
    for line in (facts.start, facts.resume):
        filled = fill_command_line(line, "--yes; $(x)", "the-id", ("--args",))
        whole = [word for word in filled if "yes" in word]
        assert all(word.endswith("--yes; $(x)") for word in whole)
        assert len(whole) == any("{prompt}" in word for word in line)
        assert not any("{" in word for word in filled)
