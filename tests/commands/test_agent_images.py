"""Images of agents that are not in the base image, and their command lines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from para_server.agents.logins import LOGINS
from para_server.agents.profile import Profile
from para_server.agents.profiles import PROFILES
from tests import engine
from tests.client import Para
from tests.killed_runs import set_aside

Servers = Callable[..., Awaitable[Para]]
BASE = "para-base:latest"
LARGEST = 450 << 20  # bytes that an agent may add to the base


def printed(api: Any, image: str, *argv: str) -> str:
    """Run a command in a container of an image and return its output."""
    container = api.create_container(image, list(argv), labels={"dev.para.test": "images"})
    try:
        api.start(container)
        code = api.wait(container)["StatusCode"]
        said: str = api.logs(container).decode(errors="replace")
    finally:
        api.remove_container(container, force=True)
    assert code == 0, f"{argv}: {code} {said}"
    return said


def lines(facts: Profile) -> list[tuple[tuple[str, ...], set[str]]]:
    """Return the command words and the flags of each command line."""
    found = []
    for line in (facts.start, facts.resume, facts.reopen):
        words = [word for word in line if not word.startswith("{") and word != "--"]
        given = (*words, *facts.skip, *facts.ask)
        flags = {word.partition("=")[0] for word in given if word.startswith("-")}
        named = words[: next((i for i, w in enumerate(words) if w.startswith("-")), len(words))]
        if line:
            found.append((tuple(named), flags))
    return found


@pytest.mark.parametrize("agent", ["codex", "gemini", "opencode"])
async def test_agent_image_exists_and_the_agent_accepts_its_flags(
    servers: Servers, api: Any, agent: str
) -> None:
    para = await servers(watching=False)
    built = await para.image(agent)
    image = f"para-agent-{agent}:latest"
    assert built["image"] == image
    assert built["size"] - api.inspect_image(BASE)["Size"] < LARGEST
    assert printed(api, image, agent, "--version").strip()
    for named, flags in lines(PROFILES[agent]):
        told = printed(api, image, *named, "--help").replace(",", " ").split()
        assert flags - set(told) == set(), f"{named} does not know them"
    command = LOGINS[agent].command
    assert printed(api, image, *command, "--help")
    started = await para.call("para.start", name="fix", agent=agent)
    assert started["container"]["image"] == image
    assert "/root" not in engine.run(api, started["container"]["name"], f"command -v {agent}; id")


async def test_claude_uses_the_base_image(servers: Servers, api: Any) -> None:
    para = await servers(watching=False)
    built = await para.image("claude")
    assert built["image"] == "para-agent-claude:latest"
    assert built["size"] == api.inspect_image(BASE)["Size"]
    assert "Claude Code" in printed(api, built["image"], "claude", "--version")


async def test_missing_image_is_reported_with_the_build_command(servers: Servers, api: Any) -> None:
    extra = {"PARA_AGENT_CREDENTIALS": "env", "PARA_AGENT_ENV": "KEY", "KEY": "x"}
    para = await servers(extra=extra, watching=False)
    image = "para-agent-codex:latest"
    with set_aside(api, *([image] if api.images(name=image) else [])):
        refused = await para.fails(
            "engine.image-missing", "para.dispatch", prompt="x", agent="codex"
        )
        (build,) = refused.remedies
        assert (build["command"], build["params"]) == ("para.image.build", {"agent": "codex"})
        refused = await para.fails("engine.image-missing", "para.auth.setup", agent="codex")
        assert refused.remedies == [build]
