"""What a session uses and has changed: `para.stats`."""

from __future__ import annotations

from typing import Any

import pytest

from para_server.engine.load import read
from tests import engine
from tests.client import Para

CHANGES = "echo 2 >>src/app.py; printf '1\\n2\\n' >new; rm README.md; git add src; echo x >>new"


async def test_stats_tell_what_a_session_uses_and_has_changed(para: Para, api: Any) -> None:
    session = await para.call("para.start", name="fix")
    before = await para.call("para.stats", name="fix")
    assert before["changes"] == {"files": 0, "insertions": 0, "deletions": 0}
    engine.run(api, session["container"]["name"], CHANGES)
    told = await para.call("para.stats", name="fix")
    assert told["changes"] == {"files": 3, "insertions": 4, "deletions": 1}
    assert told["memory"] > 0
    assert told["memoryLimit"] == 4 << 30
    assert told["cpu"] >= 0
    assert engine.run(api, session["container"]["name"], "git status --short new") == "?? new\n"
    await para.call("para.pause", name="fix")
    assert set((await para.call("para.stats", name="fix")).values()) == {None}
    await para.call("para.finish", message="x", name="fix")
    over = await para.call("para.stats", name="fix")
    assert (over["changes"], over["memory"]) == (told["changes"], None)


@pytest.mark.parametrize(
    "git",
    [
        "echo 1 file changed, 99999999999999 insertions",
        "yes 7",
        "echo nonsense; exit 1",
        "head -c 9000000 /dev/urandom",
    ],
)
async def test_what_a_container_says_of_its_changes_is_bounded(
    para: Para, api: Any, git: str
) -> None:
    session = await para.call("para.start", name="fix")
    trap = f"printf '#!/bin/sh\\n{git}\\n' | sudo tee /usr/local/bin/git; sudo chmod +x $_"
    engine.run(api, session["container"]["name"], trap.replace("$_", "/usr/local/bin/git"))
    told = await para.call("para.stats", name="fix")
    assert told["changes"] is None or told["changes"]["insertions"] < 10**9
    assert told["memory"] > 0


async def test_a_worktree_has_no_load_of_its_own(para: Para) -> None:
    await para.call("para.start", name="fix", type="worktree")
    assert set((await para.call("para.stats")).values()) == {None}


def test_figures_that_an_engine_leaves_out_are_unknown() -> None:
    assert set(dict(read({})).values()) == {None}
    assert set(dict(read({"memory_stats": {"usage": "much"}, "cpu_stats": []})).values()) == {None}
