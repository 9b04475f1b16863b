"""What an agent leaves in its own folder stops neither its session from ending nor any other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.client import Para, eventually
from tests.leftovers import leftovers
from tests.scratch import Repository

DEEP = "rm -rf {0}; mkdir {0}; (cd {0}; for i in $(seq 1200); do mkdir d; cd d; done)"
LINKS = "for one in state begun resting; do rm -rf $one; ln -s /root/secret $one; done"
LEFT = {
    "deep": DEEP.format("state"),
    "closed": "mkdir -p resting/inner; chmod 0 resting/inner resting .",
    "links": f"{LINKS}; rm -rf output; mkfifo output; cd ../kept; rm -rf .own; ln -s /root .own",
}
PROFILE = """[agent.profiles.own]
start = ["sh", "-c", "{first}; {left}; touch /para-session/ready; sleep 600", "{prompt}"]
resume = ["sh", "-c", "sleep 600", "{prompt}"]
keeps = [".own"]
"""
FIRST = "mkdir -p /para-agent/kept/.own/c; cd /para-agent/out"
Servers = Callable[..., Awaitable[Para]]


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT.keys())
async def test_a_finish_that_is_undone_harms_no_other_session(
    servers: Servers, repo: Repository, api: Any, home: Path, tmp_path: Path, left: str
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    text = PROFILE.replace("{first}", FIRST).replace("{left}", left)
    (config / "config.toml").write_text(text)
    para = await servers()
    await para.call("para.start", name="other")
    repo.commit("ignored", **{".gitignore": "ready\n"})
    session = await para.call("para.dispatch", name="fix", prompt="it", agent="own")

    async def ready() -> bool:
        found = engine.run(api, session["container"]["name"], "ls")
        return "ready" in found.split()

    await eventually(ready, bool)
    await para.fails("workspace.nothing-to-finish", "para.finish", name="fix", message="it")
    assert {s["name"] for s in (await para.call("para.list"))["sessions"]} == {"fix", "other"}
    again = await servers()
    await again.call("para.pause", name="fix")
    shown = await again.call("para.resume", name="fix", prompt="more")
    assert shown["state"] == "running"
    await again.call("para.pause", name="other", mode="freeze")
    for name in ("fix", "other"):
        await again.call("para.cancel", name=name)
    await again.call("para.clean")
    assert leftovers(api, home, repo) == []
