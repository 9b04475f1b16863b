"""`para.auth`: the real Claude Code logs in at a terminal, to a local login service."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from para_server.core.names import login_name
from para_server.core.repository_settings import normalize_image
from tests import engine, person
from tests.client import Para
from tests.killed_runs import logins, set_aside
from tests.login_service import BROWSER, BROWSER_SCRIPT, CANARY, LoginService

IMAGE = "para-authenticated:latest"
STORED = "/home/para/.claude/.credentials.json"
Servers = Callable[..., Awaitable[Para]]


@pytest.fixture
def service(tmp_path: Path, api: Any) -> Iterator[LoginService]:
    """Run a local login service in place of the vendor's."""
    running = LoginService(tmp_path, engine.gateway(api) if engine.remaps(api) else None)
    yield running
    running.stop()


@pytest_asyncio.fixture
async def claude(servers: Servers, service: LoginService, api: Any) -> AsyncIterator[Para]:
    """Start a server with the agent Claude Code and no login."""
    with set_aside(api, *logins(api)):
        yield await servers(extra=service.settings | {"PARA_AGENT_NAME": "claude"})


def put(api: Any, container: str, path: str, content: bytes, mode: int = 0o600) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.size, entry.mode = len(content), mode
        entry.uid = entry.gid = os.geteuid() or 1000
        archive.addfile(entry, io.BytesIO(content))
    api.put_archive(container, "/", packed.getvalue())


def stored(access: str, **more: object) -> bytes:
    """Write a login in the format of Claude Code."""
    login = {"accessToken": access, "refreshToken": None, "scopes": ["user:inference"], **more}
    return json.dumps({"claudeAiOauth": login}).encode()


async def log_in(para: Para, api: Any) -> str:
    """Log in at a terminal with a browser, and return the terminal's output."""
    begun = await para.call("para.auth.setup")
    put(api, begun["container"], BROWSER, BROWSER_SCRIPT, 0o755)
    return await asyncio.to_thread(person.follows, begun["terminal"])


async def logged_in(para: Para, api: Any, service: LoginService) -> str:
    """Set up a login that expires, and return its token."""
    token: str = service.tokens()["access_token"]
    begun = await para.call("para.auth.setup")
    put(api, begun["container"], STORED, stored(token))
    await para.call("para.auth.complete")
    return token


async def test_one_login_in_a_terminal_serves_every_session(
    claude: Para, api: Any, home: Path
) -> None:
    assert "Login successful" in await log_in(claude, api)
    assert await claude.call("para.auth.complete") == {"image": IMAGE, "state": "valid"}
    assert engine.containers(api, home) == []
    assert list((home / "logins").iterdir()) == []
    session = await claude.call("para.start", name="fix")
    assert session["container"]["image"] == IMAGE
    inside = session["container"]["name"]
    output = json.loads(engine.run(api, inside, "claude auth status"))
    assert (output["loggedIn"], output["authMethod"]) == (True, "claude.ai")


async def test_login_image_names_its_agent_and_has_no_machine_id(claude: Para, api: Any) -> None:
    await log_in(claude, api)
    name = login_name("claude", Path(os.path.devnull))  # any name will do that is not in use
    await claude.call("para.auth.complete")
    config = api.inspect_image(IMAGE)["Config"]
    labels = config["Labels"]
    assert labels["dev.para.login"] == "claude"
    assert labels["dev.para.login.date"]
    assert "never push" in labels["dev.para.private"]
    assert not [one for one in config["Env"] if "PROXY" in one or "CA_" in one or "SSL" in one]
    container = api.create_container(IMAGE, ["sleep", "60"], name=name, labels=labels)
    try:
        api.start(container)
        kept = json.loads(engine.run(api, name, "cat ~/.claude.json"))
        assert kept.keys() & {"machineID", "userID"} == set()
        assert kept["oauthAccount"]["emailAddress"] == "a@b.example"
        left = engine.run(api, name, "ls -A ~/.claude; cat /etc/machine-id 2>/dev/null || true")
        assert left.split() == [".credentials.json"]
    finally:
        api.remove_container(container, force=True)


async def test_incomplete_login_is_not_committed(claude: Para, api: Any, home: Path) -> None:
    assert "was started" in (await claude.fails("auth.incomplete", "para.auth.complete")).message
    begun = await claude.call("para.auth.setup")
    refused = await claude.fails("auth.incomplete", "para.auth.complete")
    assert "is not logged in yet" in refused.message
    put(api, begun["container"], STORED, stored("not-accepted"))
    refused = await claude.fails("auth.incomplete", "para.auth.complete")
    assert "refuses the login" in refused.message
    assert api.images(name="para-authenticated") == []
    assert [one["Names"] for one in engine.containers(api, home)] == [[f"/{begun['container']}"]]


async def test_second_setup_replaces_the_first_and_is_no_session(
    claude: Para, api: Any, home: Path
) -> None:
    first = await claude.call("para.auth.setup")
    before = api.inspect_container(first["container"])
    second = await claude.call("para.auth.setup", agent="claude")
    assert second == first
    (now,) = engine.containers(api, home)
    assert now["Id"] != before["Id"]
    assert before["HostConfig"]["NetworkMode"] == ("bridge" if engine.remaps(api) else "host")
    assert not first["container"].startswith("para-session-")  # which is what is counted


async def test_status_is_the_answer_of_the_api(
    claude: Para, api: Any, service: LoginService, home: Path
) -> None:
    missing = {"state": "missing", "expiresAt": None, "image": None}
    assert await claude.call("para.auth.status") == missing
    await log_in(claude, api)
    await claude.call("para.auth.complete")
    status = await claude.call("para.auth.status")
    assert (status["state"], status["image"]) == ("valid", IMAGE)
    assert status["expiresAt"].endswith("Z")
    service.accepted.clear()
    assert (await claude.call("para.auth.status"))["state"] == "expired"
    service.stop()
    assert (await claude.call("para.auth.status"))["state"] == "unknown"
    assert engine.containers(api, home) == []


async def test_login_past_its_expiry_date_is_expired(
    claude: Para, api: Any, service: LoginService
) -> None:
    begun = await claude.call("para.auth.setup")
    service.stop()
    put(api, begun["container"], STORED, stored("old", expiresAt=1_700_000_000_000))
    assert (await claude.call("para.auth.complete"))["state"] == "expired"
    status = await claude.call("para.auth.status")
    assert (status["state"], status["expiresAt"]) == ("expired", "2023-11-14T22:13:20Z")


async def test_second_login_leaves_running_sessions_alone(
    claude: Para, api: Any, service: LoginService
) -> None:
    first = await logged_in(claude, api, service)
    at_work = [
        await claude.call("para.dispatch", prompt="sleep 600", name=name, agent="command")
        for name in ("one", "two")
    ]
    started = [api.inspect_container(one["container"]["id"]) for one in at_work]
    second = await logged_in(claude, api, service)
    for session, before in zip(at_work, started, strict=True):
        now = api.inspect_container(session["container"]["id"])
        assert (now["State"]["StartedAt"], now["Image"]) == (
            before["State"]["StartedAt"],
            before["Image"],
        )
        assert first in engine.run(api, session["container"]["name"], f"cat {STORED}")
        await claude.agent(session["name"], "working")
    later = await claude.call("para.start", name="three")
    assert second in engine.run(api, later["container"]["name"], f"cat {STORED}")
    assert (await claude.call("para.auth.cleanup"))["removed"] == [f"image {IMAGE}"]
    for session in at_work:
        await claude.agent(session["name"], "working")


async def test_old_login_image_is_removed_with_its_last_session(
    claude: Para, api: Any, service: LoginService
) -> None:
    await logged_in(claude, api, service)
    await claude.call("para.start", name="fix")
    old = api.inspect_image(IMAGE)["Id"]
    await logged_in(claude, api, service)
    result = await claude.call("para.clean")
    assert f"image {old}: session images are based on it" in result["kept"]
    await claude.call("para.cancel", name="fix")
    assert f"image {old}" in (await claude.call("para.clean"))["removed"]
    assert [normalize_image(tag) for tag in logins(api)] == [IMAGE]


async def test_cleanup_removes_and_reports_every_trace(
    claude: Para, api: Any, service: LoginService, home: Path
) -> None:
    await logged_in(claude, api, service)
    begun = await claude.call("para.auth.setup")
    removed = (await claude.call("para.auth.cleanup"))["removed"]
    assert removed == [f"container {begun['container']}", f"image {IMAGE}"]
    assert engine.containers(api, home) == []
    assert api.images(name="para-authenticated") == []
    assert (await claude.call("para.auth.status"))["state"] == "missing"
    assert (await claude.call("para.auth.cleanup"))["removed"] == []


async def test_host_login_is_copied_only_on_request(
    claude: Para, api: Any, service: LoginService
) -> None:
    token = service.tokens()["access_token"]
    await claude.fails("auth.missing", "para.auth.setup", copyHostLogin=True)
    mine = Path.home() / ".claude"
    mine.mkdir()
    (mine / ".credentials.json").write_bytes(stored(token))
    (mine / "history.jsonl").write_text("what I typed")
    account = {"oauthAccount": {"emailAddress": "me"}, "machineID": "m", "projects": {"/mine": {}}}
    (Path.home() / ".claude.json").write_text(json.dumps(account))
    begun = await claude.call("para.auth.setup")
    assert "json" not in engine.run(api, begun["container"], "ls -A ~ ~/.claude 2>&1 || true")
    begun = await claude.call("para.auth.setup", copyHostLogin=True)
    listed = engine.run(api, begun["container"], "ls -A ~/.claude; cat ~/.claude.json")
    assert listed.split("\n") == [".credentials.json", '{"oauthAccount": {"emailAddress": "me"}}']
    assert (await claude.call("para.auth.complete"))["state"] == "valid"


async def test_each_agent_has_its_own_login_and_image(
    claude: Para, servers: Servers, api: Any, service: LoginService
) -> None:
    # with the certificates of the machine, with which it may be there already
    await (await servers(watching=False)).image("codex")
    begun = await claude.call("para.auth.setup", agent="codex")
    assert begun["terminal"]["args"][-2:] == ["codex", "login"]
    await claude.fails("auth.incomplete", "para.auth.complete", agent="codex")
    key = service.tokens()["access_token"]
    engine.run(api, begun["container"], f"codex login --with-api-key <<<{key}")
    kept = {"image": "para-authenticated:codex", "state": "valid"}
    assert await claude.call("para.auth.complete", agent="codex") == kept
    status = await claude.call("para.auth.status", agent="codex")
    assert status == {"state": "valid", "expiresAt": None, "image": kept["image"]}
    assert (await claude.call("para.auth.status"))["state"] == "missing"
    await claude.fails("auth.missing", "para.dispatch", prompt="x")
    session = await claude.call("para.start", name="fix", agent="codex")
    assert session["container"]["image"] == kept["image"]
    output = engine.run(api, session["container"]["name"], "codex login status 2>&1")
    assert "API key configured" in output
    assert "WARNING" not in output
    service.accepted.clear()
    assert (await claude.call("para.auth.status", agent="codex"))["state"] == "expired"


async def test_agent_without_login_support_is_reported(claude: Para) -> None:
    await claude.fails("agent.unknown", "para.auth.setup", agent="command")
    await claude.fails("agent.unknown", "para.auth.status", agent="nobody")


def test_login_service_returns_canaries(service: LoginService) -> None:
    assert CANARY in service.tokens()["access_token"]
