"""What never ends, in a session: it keeps no other command waiting, and fills no disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests import engine
from tests.client import Failed, Para, eventually
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
SCRIPT = ".para/setup.sh"
ENDLESS = 10  # more than the engine is asked at once
MOST = 17 << 20  # bytes: twice what is kept, and what is on its way


async def test_set_ups_that_never_end_keep_no_other_command_waiting(
    servers: Servers, repo: Repository, api: Any, home: Path
) -> None:
    extra = {"PARA_CONTAINER_CPUS": "0.2", "PARA_CONTAINER_MEMORY": "64m"}
    para = await servers(extra=extra)
    await para.call("para.start", name="mine")
    repo.commit("set-up", **{SCRIPT: "touch begun; sleep 100000"})
    begun = [
        para.send("para.start", [{"name": f"endless{n}"}], msg_id=f"endless{n}")
        for n in range(ENDLESS)
    ]

    async def at_it() -> int:
        return len(list((home / "work").glob("*/begun")))

    await eventually(at_it, lambda count: count == ENDLESS)
    await para.call("para.pause", name="mine", mode="freeze")
    for n in range(ENDLESS):
        para.cancel(f"endless{n}")
    for one in await asyncio.gather(*begun, return_exceptions=True):
        assert getattr(one, "code", None) == -32800
    assert len(engine.containers(api, home)) == 1


async def test_a_set_up_has_its_time_and_then_is_the_sessions_problem(
    servers: Servers, repo: Repository, api: Any
) -> None:
    para = await servers(extra={"PARA_CONTAINER_SETUP_MINUTES": "0.02"})
    repo.commit("set-up", **{SCRIPT: "trap '' TERM; echo at it; sleep 1000 & wait; sleep 1000"})
    session = await para.call("para.dispatch", prompt="true", name="fix")
    assert session["state"] == "failed"
    assert "container.setupMinutes" in session["problem"]["message"]
    assert "container.setupMinutes" in {r["setting"] for r in session["problem"]["remedies"]}
    assert (await para.call("para.logs", name="fix"))["text"] == "at it\n"
    left = engine.run(api, session["container"]["name"], "pgrep -x sleep -a || true")
    assert "1000" not in left
    repo.commit("quick", **{SCRIPT: "exit 124"})
    session = await para.call("para.dispatch", prompt="true", name="quick")
    assert session["problem"]["message"].endswith("failed with exit code 124")


async def test_an_agent_that_prints_without_end_fills_no_disk(para: Para, home: Path) -> None:
    session = await para.call(
        "para.dispatch", prompt="head -c 60M /dev/zero | tr '\\0' 'x'; echo end"
    )
    shown = await para.agent(session["name"], "done")
    out = home / "agents" / shown["id"] / "out"
    assert sum(file.lstat().st_size for file in out.iterdir()) < MOST

    async def logs() -> str:
        text: str = (await para.call("para.logs", name=shown["name"], tail=5))["text"]
        return text[-100:]

    # what is written down of its output comes later than its end
    await eventually(logs, lambda text: text.endswith("end\n"))


async def test_a_set_up_that_prints_without_end_fills_no_disk(
    servers: Servers, repo: Repository, home: Path
) -> None:
    para = await servers(extra={"PARA_CONTAINER_SETUP_MINUTES": "0.2"})
    repo.commit("set-up", **{SCRIPT: "yes a line"})
    try:
        session = await para.call("para.dispatch", prompt="true", name="fix")
    except Failed as failed:
        raise AssertionError(failed.message) from None
    assert session["state"] == "failed"
    out = home / "agents" / session["id"] / "out"
    assert sum(file.lstat().st_size for file in out.iterdir()) < MOST
    await para.call("para.cancel", name="fix")


async def test_what_was_printed_is_whole_however_it_came(para: Para) -> None:
    script = "for i in $(seq 2000); do echo $i; done; printf 'a\\0b\\303\\244 no newline'"
    session = await para.call("para.dispatch", prompt=script)
    await para.agent(session["name"], "done")
    text = (await para.call("para.logs", name=session["name"]))["text"]
    assert [line for line in text.split("\n") if line.isdigit()] == [
        str(n + 1) for n in range(2000)
    ]
    assert text.endswith("ä no newline")


async def test_an_agent_that_answers_without_end_stops_no_later_command(
    para: Para, api: Any
) -> None:
    session = await para.call("para.start", name="fix")
    box = session["container"]["name"]
    here = "~/.local/bin"
    flood = 'case $* in *--shortstat*) exec cat /dev/zero ;; esac; exec /usr/bin/git "$@"'
    engine.run(
        api,
        box,
        f"mkdir -p {here}; printf '#!/bin/sh\\n%s\\n' '{flood}' >{here}/git; chmod 755 {here}/git",
    )
    assert (await para.call("para.stats", name="fix", load=False))["changes"] is None
    # an engine that writes to nobody who reads tells the end of no program any more
    engine.run(api, box, "while pgrep -x cat; do sleep 0.1; done")
    engine.run(api, box, "true")
    assert (await para.call("para.cancel", name="fix"))["session"]["state"] == "cancelled"
