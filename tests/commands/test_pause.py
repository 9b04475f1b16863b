"""Pausing and resuming sessions: `para.pause` and `para.resume`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.client import Para, eventually
from tests.scratch import Repository

OUTSIDE = "/home/para/outside"  # in the container alone
TICKING = "while :; do date +%s%N >tick; sleep 0.05; done"


async def at_work(para: Para, api: Any) -> str:
    """Start a session with a file in its container, and return the container's name."""
    session = await para.call("para.start", name="fix")
    container: str = session["container"]["name"]
    engine.run(api, container, f"echo in >inside; echo out >{OUTSIDE}")
    return container


async def test_save_removes_the_container_and_resume_creates_it(
    para: Para, api: Any, home: object
) -> None:
    container = await at_work(para, api)
    paused = await para.call("para.pause", name="fix")
    assert (paused["state"], paused["container"]) == ("paused", None)
    assert engine.containers(api, home) == []
    assert engine.images(api, home) == [f"para-saved:{paused['id']}"]
    resumed = await para.call("para.resume", name="fix")
    assert (resumed["state"], resumed["container"]["name"]) == ("running", container)
    assert engine.run(api, container, f"cat inside {OUTSIDE}") == "in\nout\n"


async def test_saved_image_is_removed_with_the_session(para: Para, api: Any, home: object) -> None:
    await at_work(para, api)
    await para.call("para.pause", name="fix")
    await para.call("para.cancel", name="fix")
    assert engine.images(api, home) == []
    assert engine.containers(api, home) == []


async def test_saved_session_survives_container_pruning(para: Para, api: Any, home: object) -> None:
    container = await at_work(para, api)
    await para.call("para.pause", name="fix", mode="save")
    api.prune_containers(filters={"label": f"dev.para.home={home}"})
    await para.call("para.resume", name="fix")
    assert engine.run(api, container, f"cat {OUTSIDE}") == "out\n"


async def test_freeze_keeps_the_container_and_its_processes(
    para: Para, api: Any, home: object
) -> None:
    session = await para.call("para.dispatch", prompt=TICKING, name="fix")
    await para.agent("fix", "working")
    frozen = await para.call("para.pause", name="fix", mode="freeze")
    assert (frozen["state"], frozen["container"]["id"]) == ("paused", session["container"]["id"])
    assert api.inspect_container(session["container"]["id"])["State"]["Paused"]
    assert engine.images(api, home) == []
    thawed = await para.call("para.resume", name="fix")
    assert thawed["state"] == "running"
    assert thawed["container"]["id"] == session["container"]["id"]
    assert thawed["agent"]["state"] == "working"


async def test_interrupted_agent_continues_after_resume(para: Para) -> None:
    prompt = "if [ -e begun ]; then echo again; else touch begun; sleep 600; fi"
    session = await para.call("para.dispatch", prompt=prompt, name="fix")

    async def begun() -> bool:
        return (Path(session["workspace"]) / "begun").exists()

    await eventually(begun, bool)
    paused = await para.call("para.pause", name="fix")
    assert paused["agent"]["state"] != "failed"
    await para.call("para.resume", name="fix")
    await para.agent("fix", "done")
    assert "again" in (await para.call("para.logs", name="fix"))["text"]


async def test_resume_does_not_restart_an_agent_that_is_done(para: Para) -> None:
    await para.call("para.dispatch", prompt="echo once", name="fix")
    await para.agent("fix", "done")
    await para.call("para.pause", name="fix")
    resumed = await para.call("para.resume", name="fix")
    assert resumed["agent"]["state"] == "done"
    assert (await para.call("para.logs", name="fix"))["text"].count("once") == 1


async def test_resume_with_a_prompt_sends_it_to_the_agent(para: Para) -> None:
    await para.call("para.dispatch", prompt="echo first", name="fix")
    await para.agent("fix", "done")
    await para.call("para.pause", name="fix", mode="freeze")
    resumed = await para.call("para.resume", name="fix", prompt="echo second; false")
    assert resumed["prompt"] == "echo second; false"
    await para.agent("fix", "failed")
    assert (await para.call("para.logs", name="fix"))["text"].split() == ["first", "second"]


@pytest.mark.parametrize("mode", ["save", "freeze"])
async def test_paused_session_is_finished_without_a_resume(
    para: Para, repo: Repository, api: Any, home: object, mode: str
) -> None:
    await at_work(para, api)
    await para.call("para.pause", name="fix", mode=mode)
    result = await para.call("para.finish", message="the work", name="fix")
    assert repo.show(f"{result['branch']}:inside") == "in"
    assert engine.containers(api, home) == []
    assert engine.images(api, home) == []


async def test_pause_needs_a_running_and_resume_a_paused_session(para: Para) -> None:
    await para.call("para.start", name="fix")
    refused = await para.fails("session.illegal-transition", "para.resume", name="fix")
    assert refused.message == "Cannot resume session fix: it is running"
    await para.call("para.pause", name="fix", mode="freeze")
    refused = await para.fails("session.illegal-transition", "para.pause", name="fix")
    remedy = refused.remedies[0]
    resumed = await para.call(remedy["command"], **remedy["params"])
    assert resumed["state"] == "running"


async def test_resume_of_a_running_agent_proposes_to_send_the_prompt(para: Para) -> None:
    await para.call("para.dispatch", name="fix", prompt="echo one")
    await para.agent("fix", "done")
    more = {"name": "fix", "prompt": "echo 'two' and -three"}
    refused = await para.fails("session.illegal-transition", "para.resume", **more)
    remedy = refused.remedies[0]
    assert remedy["command"] == "para.send"
    await para.call(remedy["command"], **remedy["params"])

    async def printed() -> list[str]:
        return str((await para.call("para.logs", name="fix"))["text"]).splitlines()

    await eventually(printed, lambda lines: lines == ["one", "two and -three"])
