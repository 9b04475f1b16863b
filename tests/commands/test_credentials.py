"""Logins of agents: in an image, in a shared volume or in variables of the host."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests import engine
from tests.client import Para
from tests.commands.test_auth import STORED, log_in, logged_in, put, service, stored
from tests.killed_runs import logins, set_aside
from tests.login_service import CANARY, LoginService

__all__ = ["service"]  # a fixture
Servers = Callable[..., Awaitable[Para]]
Begin = Callable[..., Awaitable[Para]]


@pytest_asyncio.fixture
async def begin(servers: Servers, service: LoginService, api: Any) -> AsyncIterator[Begin]:
    """Start servers with the agent Claude Code on an engine without a login."""
    with set_aside(api, *logins(api)):

        async def started(credentials: str = "image", **extra: str) -> Para:
            chosen = {"PARA_AGENT_NAME": "claude", "PARA_AGENT_CREDENTIALS": credentials}
            return await servers(extra=service.settings | chosen | extra)

        yield started


def traces(api: Any, home: Path, session: dict[str, Any], needle: str) -> list[str]:
    """Search all files of a session, and the engine's description of it, for a text."""
    found = []
    for one in engine.containers(api, home):
        container = one["Id"]
        inspected = json.dumps(api.inspect_container(container))
        if needle in inspected or needle in api.logs(container).decode(errors="replace"):
            found.append(f"container {one['Names']}")
        changed = " ".join(change["Path"] for change in api.diff(container) or ())
        found += [f"arguments in {one['Names']}"] * (needle in str(api.top(container)))
        found += [f"path in {one['Names']}"] * (needle in changed)
    for image in api.images(filters={"label": f"dev.para.session={session['id']}"}):
        description = json.dumps([api.inspect_image(image["Id"]), api.history(image["Id"])])
        found += [f"image {image['Id']}"] * (needle in description)
    for file in home.rglob("*"):
        if file.is_file() and not file.is_symlink() and needle.encode() in file.read_bytes():
            found.append(str(file))
    return found


def in_layers(api: Any, image: str, needle: str) -> list[str]:
    """Search the files of an image for a text."""
    command = ["grep", "-rls", needle, "/home", "/etc", "/var", "/root", "/tmp"]  # noqa: S108 # there
    container = api.create_container(image, command, user="root")
    try:
        api.start(container)
        api.wait(container)
        found: str = api.logs(container, stderr=False).decode()
        return found.split()
    finally:
        api.remove_container(container, force=True)


@pytest.mark.parametrize("credentials", ["image", "volume", "env"])
async def test_dispatch_without_a_login_creates_nothing(
    begin: Begin, api: Any, home: Path, credentials: str
) -> None:
    para = await begin(credentials)
    refused = await para.fails("auth.missing", "para.dispatch", prompt="x", name="fix")
    assert "claude" in refused.message
    offered = {remedy["command"] or remedy["setting"] for remedy in refused.remedies}
    assert "agent.credentials" in offered
    assert ("para.auth.setup" in offered) == (credentials != "env")
    assert engine.containers(api, home) == []
    assert list((home / "sessions").iterdir()) == []
    person = await para.call("para.start", name="mine")
    assert person["container"]["image"] == "para-base:latest"
    await para.call("para.pause", name="mine")
    await para.fails("auth.missing", "para.resume", name="mine", prompt="x")
    assert (await para.call("para.show", name="mine"))["state"] == "paused"
    assert engine.volumes(api, home) == []
    (login,) = [one for one in (await para.call("para.doctor"))["checks"] if one["name"] == "login"]
    assert login["problem"]["slug"] == "auth.missing"


async def test_agent_without_need_of_a_login_starts(begin: Begin) -> None:
    para = await begin()
    await para.call("para.dispatch", prompt="true", name="shell", agent="command")
    await para.call("para.dispatch", prompt="x", name="tree", type="worktree")
    own = await para.call("para.dispatch", prompt="x", name="own", image="para-base:latest")
    assert own["container"]["image"] == "para-base:latest"


async def test_unset_variable_is_named(begin: Begin) -> None:
    para = await begin("env", PARA_AGENT_ENV="CLAUDE_CODE_OAUTH_TOKEN,SOME_PROXY", SOME_PROXY="x")
    refused = await para.fails("auth.missing", "para.dispatch", prompt="x")
    assert "CLAUDE_CODE_OAUTH_TOKEN, named by agent.env, is not set" in refused.message
    assert "SOME_PROXY" not in refused.message


async def test_variable_reaches_only_the_agent(
    begin: Begin, api: Any, home: Path, service: LoginService
) -> None:
    token = service.tokens()["access_token"]
    given = {"PARA_AGENT_ENV": "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN": token}
    para = await begin("env", **given)
    status = await para.call("para.auth.status")
    assert status == {"state": "valid", "expiresAt": None, "image": None}
    prompt = 'test -n "$CLAUDE_CODE_OAUTH_TOKEN" && echo had it >it; sleep 600'
    session = await para.call("para.dispatch", prompt=prompt, name="fix", agent="command")
    inside = session["container"]["name"]
    engine.run(api, inside, "until [ -s it ]; do sleep 0.1; done")
    assert traces(api, home, session, CANARY) == []
    assert CANARY not in engine.run(api, inside, "env; tmux show-environment -g")
    await para.call("para.pause", name="fix")
    (saved,) = api.images(filters={"label": f"dev.para.session={session['id']}"})
    assert traces(api, home, session, CANARY) == []
    assert in_layers(api, saved["Id"], CANARY) == []
    await para.call("para.resume", name="fix")
    await para.call("para.finish", name="fix", message="It had it")
    assert traces(api, home, session, CANARY) == []


async def test_login_in_an_image_is_written_nowhere_else(
    begin: Begin, api: Any, home: Path, service: LoginService
) -> None:
    para = await begin()
    await logged_in(para, api, service)
    session = await para.call("para.dispatch", prompt="sleep 600", name="fix", agent="command")
    assert in_layers(api, session["container"]["image"], CANARY) == [STORED]
    assert traces(api, home, session, CANARY) == []
    await para.call("para.pause", name="fix")
    (saved,) = api.images(filters={"label": f"dev.para.session={session['id']}"})
    assert in_layers(api, saved["Id"], CANARY) == [STORED]
    assert traces(api, home, session, CANARY) == []
    assert (await para.call("para.auth.cleanup"))["removed"] == [
        "image para-authenticated:latest"
    ]  # and not what the session was saved in
    await para.call("para.resume", name="fix")


async def test_shared_login_is_renewed_once_for_all_sessions(
    begin: Begin, api: Any, home: Path, service: LoginService
) -> None:
    para = await begin("volume")
    begun = await para.call("para.auth.setup")
    old = service.tokens()
    renewing = old["refresh_token"]
    service.accepted.clear()
    over = stored(old["access_token"], refreshToken=renewing, expiresAt=1_700_000_000_000)
    put(api, begun["container"], STORED, over)
    assert await para.call("para.auth.complete") == {"image": None, "state": "expired"}
    assert api.images(name="para-authenticated") == []
    sessions = [await para.call("para.start", name=name) for name in ("one", "two")]
    results = await asyncio.gather(
        *(
            asyncio.to_thread(engine.run, api, one["container"]["name"], "claude -p hello")
            for one in sessions
        )
    )
    assert [one.strip() for one in results] == ["hello", "hello"]
    assert service.renewals == [renewing]
    status = await para.call("para.auth.status")
    assert (status["state"], status["image"]) == ("valid", None)
    for session in sessions:
        assert traces(api, home, session, CANARY) == []
    await para.call("para.pause", name="one")
    (saved,) = api.images(filters={"label": f"dev.para.session={sessions[0]['id']}"})
    assert in_layers(api, saved["Id"], CANARY) == []
    assert "in use" in (await para.fails("engine.refused", "para.auth.cleanup")).message


async def test_shared_login_is_stored_in_a_volume_and_removed_with_it(
    begin: Begin, api: Any, home: Path
) -> None:
    para = await begin("volume")
    await log_in(para, api)
    assert (await para.call("para.auth.complete"))["state"] == "valid"
    (volume,) = engine.volumes(api, home)
    assert api.inspect_volume(volume)["Labels"]["dev.para.login"] == "claude"
    assert (await para.call("para.auth.cleanup"))["removed"] == [f"volume {volume}"]
    assert engine.volumes(api, home) == []
    await para.fails("auth.missing", "para.dispatch", prompt="x")


async def test_only_a_login_with_a_lock_can_be_shared(begin: Begin) -> None:
    para = await begin("volume")
    await para.fails("settings.invalid", "para.auth.setup", agent="codex")
    await para.fails("settings.invalid", "para.dispatch", prompt="x", agent="codex")
