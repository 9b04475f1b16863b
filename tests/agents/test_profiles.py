"""Which agents there are: a user may add one, and it is like the others."""

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
    """Add an agent to the settings."""
    return environ | {"PARA_AGENT_PROFILES": json.dumps(OWN), "PARA_AGENT_NAME": "scribe"}


async def logs(para: Para) -> list[str]:
    return str((await para.call("para.logs", name="fix"))["text"]).splitlines()


async def test_an_agent_of_the_settings_works_and_keeps_what_it_must(
    para: Para, standin: Any
) -> None:
    assert standin.requests == []
    session = await para.call("para.dispatch", prompt="-n $(one) 'a'", name="fix")
    assert session["agent"]["name"] == "scribe"
    await para.agent("fix", "done")
    await para.call("para.send", text="two", name="fix")
    await para.agent("fix", "done")
    await para.call("para.pause", name="fix")
    await para.call("para.resume", name="fix", prompt="three")
    await para.agent("fix", "done")
    assert (await logs(para))[-3:] == ["-n $(one) 'a'", "more: two", "more: three"]


async def test_an_unknown_agent_is_told_with_those_there_are(para: Para) -> None:
    refused = await para.fails("agent.unknown", "para.dispatch", prompt="x", agent="nobody")
    assert refused.message == (
        "There is no agent nobody (available: claude, codex, command, gemini, opencode, scribe)"
    )


async def test_a_worktree_is_opened_with_the_agents_own_command_line(para: Para) -> None:
    await para.call(
        "para.dispatch", prompt="-p $(id)\n'x'", name="fix", type="worktree", agent="claude"
    )
    opened = await para.call("para.open", name="fix")
    assert opened["terminal"] == {"command": "claude", "args": ["--", "-p $(id)\n'x'"]}


@pytest.mark.parametrize("facts", PROFILES.values(), ids=PROFILES.keys())
def test_a_prompt_is_an_argument_of_its_own(facts: Profile) -> None:
    for line in (facts.start, facts.resume):
        filled = fill_command_line(line, "--yes; $(x)", "the-id", ("--args",))
        whole = [word for word in filled if "yes" in word]
        assert all(word.endswith("--yes; $(x)") for word in whole)
        assert len(whole) == any("{prompt}" in word for word in line)
        assert not any("{" in word for word in filled)
