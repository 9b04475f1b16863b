"""Sessions pause automatically at their limits; supervision uses little CPU."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tests.client import Para, disconnect, eventually

TENTH = "0.1"  # minutes


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    """Return an environment whose agent needs no account."""
    return environ | {"PARA_AGENT_NAME": "command"}


@pytest.mark.parametrize(
    ("setting", "prompt"),
    [("PARA_AGENT_MAX_MINUTES", "sleep 600"), ("PARA_AGENT_IDLE_MINUTES", "true")],
    ids=["working", "idle"],
)
async def test_session_pauses_at_the_announced_time(
    servers: Any, api: Any, home: Path, setting: str, prompt: str
) -> None:
    extra = {setting: TENTH}
    one, other = await servers(extra=extra), await servers(extra=extra)
    await one.call("para.dispatch", prompt=prompt, name="fix")
    shown = await one.agent("fix", "working", "done")
    if prompt == "true":
        shown = await one.agent("fix", "done")
    assert shown["agent"]["detail"].startswith("pauses at ")
    change = await one.until(lambda change: "pauses at" in change["statusBar"]["tooltip"])
    assert change["sessions"][0]["name"] == "fix"
    for para in (one, other):
        await para.until(lambda change: [s["state"] for s in change["sessions"]] == ["paused"])

    async def containers() -> list[Any]:
        return list(api.containers(all=True, filters={"label": f"dev.para.home={home}"}))

    # the record is paused as soon as the image is saved, before the container is removed
    await eventually(containers, lambda left: left == [])


async def test_autopause_completes_when_the_server_exits(servers: Any, api: Any) -> None:
    assert api.ping()
    para = await servers(extra={"PARA_AGENT_MAX_MINUTES": "0.02"})
    await para.call("para.dispatch", prompt="sleep 600", name="fix")
    # its image is saved, and its container is about to be removed
    await para.until(lambda change: [s["state"] for s in change["sessions"]] == ["paused"])
    await disconnect(para)
    shown = await (await servers()).call("para.show", name="fix")
    assert shown["state"] == "paused"


async def test_idle_limit_ignores_working_agents(servers: Any) -> None:
    para = await servers(extra={"PARA_AGENT_IDLE_MINUTES": "0.05"})
    await para.call("para.dispatch", prompt="sleep 600", name="busy")
    await para.call("para.dispatch", prompt="true", name="idle")
    await para.until(lambda change: {"paused"} <= {s["state"] for s in change["sessions"]})
    states = {s["name"]: s["state"] for s in (await para.call("para.list"))["sessions"]}
    assert states == {"busy": "running", "idle": "paused"}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_five_idle_agents_use_little_server_cpu(
    servers: Any, fake_api: Any, request: pytest.FixtureRequest
) -> None:
    para: Para = await servers(extra={"PARA_AGENT_NAME": "claude"})
    names = [f"idle{number}" for number in range(5)]
    for name in names:
        await para.call("para.dispatch", prompt="nothing", name=name)
    for name in names:
        await para.agent(name, "done")
    assert len(fake_api.requests) == len(names)
    await eventually(lambda: asyncio.sleep(3, len(para.changes)), lambda _: True)
    wait = 60.0 if request.config.getoption("--soak") else 10.0
    before = cpu_seconds(para.pid)
    await asyncio.sleep(wait)
    share = (cpu_seconds(para.pid) - before) / wait
    print(f"\nfive idle agents: {share:.2%} of a CPU")
    assert share < 0.005
