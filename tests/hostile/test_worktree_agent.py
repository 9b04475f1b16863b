"""A repository chooses nothing that a person runs in a worktree session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.client import Para
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
NO_ENGINE = {
    "DOCKER_HOST": "unix:///nowhere/docker.sock",
    "PARA_CONTAINER_ENABLED": "false",
    "PARA_AGENT_NAME": "claude",
}
PROMPT = "Say what `touch ran` does"


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("when", ["before", "later"])
async def test_the_agent_of_a_worktree_is_the_users_own_choice(
    servers: Servers, repo: Repository, when: str, trusted: bool
) -> None:
    said = '[agent]\nname = "command"\n'
    if when == "before":
        repo.commit("settings", **{".para.toml": said})
    para = await servers(extra=NO_ENGINE, trusted=trusted)
    session = await para.call("para.dispatch", prompt=PROMPT, name="fix", type="worktree")
    repo.write(".para.toml", said)
    Repository(Path(session["workspace"])).write(".para.toml", f"{said}# more\n")
    opened = await para.call("para.open", name="fix")
    assert opened["terminal"] == {"command": "claude", "args": ["--", PROMPT]}
    await para.call("para.finish", name="fix", message="settings")
    await para.call("para.resume", name="fix", prompt=f"{PROMPT} again")
    opened = await para.call("para.open", name="fix")
    assert opened["terminal"] == {"command": "claude", "args": ["--", f"{PROMPT} again"]}


async def test_a_person_may_choose_for_themselves(servers: Servers) -> None:
    para = await servers(extra=NO_ENGINE)
    await para.call("para.dispatch", prompt="true", name="fix", type="worktree", agent="command")
    opened = await para.call("para.open", name="fix")
    assert opened["terminal"] == {"command": "bash", "args": ["-c", "true"]}


async def test_a_prompt_that_nobody_runs_is_said_to_be_one(servers: Servers) -> None:
    para = await servers(extra=NO_ENGINE)
    session = await para.call("para.dispatch", prompt=PROMPT, name="fix", type="worktree")
    assert any("para open fix" in warning for warning in session["warnings"])
    plain = await para.call("para.start", name="other", type="worktree")
    assert plain["warnings"] == []
