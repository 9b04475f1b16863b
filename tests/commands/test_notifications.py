"""`para/sessionsChanged`: clients are notified of all changes."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests import scratch
from tests.client import Para
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
Condition = Callable[[dict[str, Any]], bool]


def states(change: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["state"] for one in change["sessions"]}


def agents(change: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["agent"]["state"] for one in change["sessions"] if one["agent"]}


def state_is(state: str, name: str = "fix") -> Condition:
    return lambda change: states(change).get(name) == state


async def comes_to(para: Para, met: Condition) -> None:
    """Wait until the latest notification meets a condition, or has met it already."""
    await para.until(lambda _: met(para.changes[-1]))


async def test_client_is_notified_at_the_start(para: Para) -> None:
    first = await para.until(lambda _: True)
    assert (first["sessions"], first["limit"]) == ([], 50)
    assert first["running"] >= 0
    assert first["statusBar"] == {
        "text": f"Para {first['running']}/50",
        "tooltip": "No sessions",
        "severity": "ok",
    }


async def test_clients_are_notified_of_each_state(para: Para) -> None:
    session = await para.call("para.start", name="fix")
    change = await para.until(state_is("running"))
    assert change["sessions"][0]["id"] == session["id"]
    await para.call("para.pause", name="fix")
    await para.until(state_is("paused"))
    await para.call("para.cancel", name="fix")
    await comes_to(para, lambda change: change["sessions"] == [])


async def test_agent_end_is_notified_and_a_failure_needs_attention(
    para: Para,
) -> None:
    await para.call("para.dispatch", prompt="true", name="well")
    change = await para.until(lambda change: agents(change).get("well") == "done")
    assert change["statusBar"]["severity"] == "ok"
    await para.call("para.dispatch", prompt="exit 3", name="badly")
    change = await para.until(lambda change: change["statusBar"]["severity"] == "attention")
    assert agents(change) == {"well": "done", "badly": "failed"}
    assert "1 needs you" in change["statusBar"]["text"]
    assert "badly" in change["statusBar"]["tooltip"]


async def test_each_client_gets_one_attention_event_per_end(para: Para, servers: Servers) -> None:
    await para.call("para.dispatch", prompt="true", name="well")
    await para.until(lambda change: agents(change).get("well") == "done")
    late = await servers()
    await late.until(lambda change: agents(change).get("well") == "done")
    await para.call("para.dispatch", prompt="exit 3", name="badly")
    for one in (para, late):
        await one.until(lambda change: agents(change).get("badly") == "failed")
    await para.call("para.pause", name="well")
    await comes_to(para, state_is("paused", "well"))

    def calls(one: Para) -> list[tuple[str, str]]:
        events = (event for change in one.changes for event in change["attention"])
        return [(event["name"], event["reason"]) for event in events]

    assert calls(para) == [("well", "done"), ("badly", "failed")]
    assert calls(late) == [("badly", "failed")]


def calls(one: Para) -> list[str]:
    return [event["name"] for change in one.changes for event in change["attention"]]


async def test_clients_get_attention_events_of_open_folders(
    para: Para, servers: Servers, repo: Repository, tmp_path: Path
) -> None:
    other = scratch.make(tmp_path / "other")
    (tmp_path / "linked").symlink_to(repo.path)
    repo.git("worktree", "add", "-q", str(tmp_path / "tree"))
    own = [
        await servers(folders=[repo.write("sub/file", "").parent]),
        await servers(folders=[tmp_path / "linked"]),
        await servers(folders=[other.path, repo.path]),
        await servers(folders=[tmp_path / "tree"]),
        await servers(folders=[]),
    ]
    stranger = await servers(folders=[other.path])
    await para.call("para.dispatch", prompt="true", name="well")
    for one in (para, stranger, *own):
        await one.until(lambda change: agents(change).get("well") == "done")
    await para.call("para.pause", name="well")
    for one in (para, stranger, *own):
        await comes_to(one, state_is("paused", "well"))
    assert [calls(one) for one in (para, *own)] == [["well"]] * 6
    assert calls(stranger) == []


async def test_one_of_several_clients_gets_attention_events(para: Para, servers: Servers) -> None:
    windows = [await servers(callOnce=True) for _ in range(3)]

    async def dispatched(name: str, *heard: Para) -> None:
        await para.call("para.dispatch", prompt="true", name=name)
        for one in heard:
            await one.until(lambda change: agents(change).get(name) == "done")
        await para.call("para.pause", name=name)
        for one in heard:
            await comes_to(one, state_is("paused", name))

    await dispatched("first", *windows)
    (called,) = [one for one in windows if calls(one)]
    assert calls(called) == ["first"]
    called.kill()
    rest = [one for one in windows if one is not called]
    await dispatched("second", *rest)
    assert sorted(map(calls, rest)) == [[], ["second"]]


async def test_frequent_attention_events_are_summed_up(para: Para) -> None:
    flips = (
        "cd /para-agent/out; while :; do for word in working waiting; do"
        " printf '%s\\n\\nquestion' $word >s; mv s state; sleep 0.05; done; done"
    )
    await para.call("para.dispatch", prompt=f"bash -c {shlex.quote(flips)}", name="fix")
    await para.until(lambda change: any(" more" in e["message"] for e in change["attention"]))
    assert calls(para) == ["fix"] * 4
    summary = [e["message"] for change in para.changes for e in change["attention"]][-1]
    assert summary.startswith("fix waits for you: question … and ")
    await para.call("para.cancel", name="fix")


async def test_record_overwritten_in_place_is_notified(para: Para, home: Path) -> None:
    session = await para.call("para.start", name="fix")
    await comes_to(para, state_is("running"))
    record = home / "sessions" / f"{session['id']}.json"
    record.write_text(record.read_text().replace('"prompt":""', '"prompt":"by hand"'))
    await comes_to(para, lambda change: change["sessions"][0]["prompt"] == "by hand")


@pytest.mark.parametrize("how", ["stop", "kill", "rm"])
async def test_changes_on_the_engine_are_notified(para: Para, api: Any, how: str) -> None:
    session = await para.call("para.start", name="fix")
    await para.until(state_is("running"))
    container = session["container"]["id"]
    match how:
        case "stop":
            api.stop(container, timeout=0)
        case "kill":
            api.kill(container)
        case "rm":
            api.remove_container(container, force=True)
    change = await para.until(state_is("failed"))
    assert change["statusBar"]["severity"] == "attention"
    assert change["sessions"][0]["problem"]["message"]
    await para.call("para.resume", name="fix")
    await comes_to(para, state_is("running"))


async def test_container_frozen_by_others_is_notified(para: Para, api: Any) -> None:
    session = await para.call("para.start", name="fix")
    await para.until(state_is("running"))
    api.pause(session["container"]["id"])
    await para.until(state_is("paused"))
    api.unpause(session["container"]["id"])
    await comes_to(para, state_is("running"))


async def test_renamed_container_is_notified(para: Para, api: Any) -> None:
    session = await para.call("para.start", name="fix")
    await para.until(state_is("running"))
    away = f"away-{session['container']['name']}"
    api.rename(session["container"]["id"], away)
    renamed = await para.until(lambda change: away in json.dumps(change))
    assert renamed["sessions"][0]["state"] == "running"


async def test_changes_by_another_process_are_notified(para: Para, servers: Servers) -> None:
    other = await servers()
    await other.call("para.start", name="fix", type="worktree")
    for one in (para, other):
        await one.until(state_is("running"))
    await para.call("para.cancel", name="fix")
    await comes_to(other, lambda change: change["sessions"] == [])


async def test_unreachable_engine_is_notified_as_an_error(servers: Servers, tmp_path: Path) -> None:
    para = await servers(extra={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    change = await para.until(lambda change: change["statusBar"]["severity"] == "error")
    assert change["statusBar"]["text"] == "Para: no engine"
    assert (change["running"], change["limit"]) == (0, 50)


async def test_no_engine_is_needed_without_containers(servers: Servers, tmp_path: Path) -> None:
    extra = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock", "PARA_CONTAINER_ENABLED": "false"}
    para = await servers(extra=extra)
    assert (await para.until(lambda _: True))["statusBar"]["severity"] == "ok"
    await para.call("para.start", name="fix", type="worktree")
    assert (await para.until(state_is("running")))["running"] == 0


async def test_only_subscribed_clients_are_notified(servers: Servers) -> None:
    server = await servers()
    asked = await servers(watching=False, notifications=True)
    silent = await servers(watching=False)
    await silent.call("para.start", name="fix", type="worktree")
    await asyncio.gather(server.until(state_is("running")), asked.until(state_is("running")))
    await silent.call("para.show", name="fix")
    assert silent.changes == []
