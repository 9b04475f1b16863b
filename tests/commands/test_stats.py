"""Resource use and changes of a session: `para.stats`."""

from __future__ import annotations

import re
from typing import Any

import pytest

from para_server.engine.container_stats import parse_stats
from tests import engine
from tests.client import Para
from tests.scratch import Repository

CHANGES = "echo 2 >>src/app.py; printf '1\\n2\\n' >new; rm README.md; git add src; echo x >>new"


def figures(stats: dict[str, Any]) -> set[Any]:
    return {value for name, value in stats.items() if name != "tooltip"}


async def test_stats_report_resource_use_and_changes(para: Para, api: Any) -> None:
    session = await para.call("para.start", name="fix")
    before = await para.call("para.stats", name="fix")
    assert before["changes"] == {"files": 0, "insertions": 0, "deletions": 0}
    engine.run(api, session["container"]["name"], CHANGES)
    stats = await para.call("para.stats", name="fix")
    assert stats["changes"] == {"files": 3, "insertions": 4, "deletions": 1}
    assert stats["memory"] > 0
    assert stats["memoryLimit"] == 4 << 30
    assert stats["cpu"] >= 0
    assert engine.run(api, session["container"]["name"], "git status --short new") == "?? new\n"
    await para.call("para.pause", name="fix")
    assert figures(await para.call("para.stats", name="fix")) == {None}
    await para.call("para.finish", message="x", name="fix")
    over = await para.call("para.stats", name="fix")
    assert (over["changes"], over["memory"]) == (stats["changes"], None)


@pytest.mark.parametrize(
    "git",
    [
        "echo 1 file changed, 99999999999999 insertions",
        "yes 7",
        "echo nonsense; exit 1",
        "head -c 9000000 /dev/urandom",
    ],
)
async def test_output_about_changes_is_limited(para: Para, api: Any, git: str) -> None:
    session = await para.call("para.start", name="fix")
    trap = f"printf '#!/bin/sh\\n{git}\\n' | sudo tee /usr/local/bin/git; sudo chmod +x $_"
    engine.run(api, session["container"]["name"], trap.replace("$_", "/usr/local/bin/git"))
    stats = await para.call("para.stats", name="fix")
    assert stats["changes"] is None or stats["changes"]["insertions"] < 10**9
    assert stats["memory"] > 0


async def test_tooltip_has_one_line_for_each_fact(para: Para, api: Any, repo: Repository) -> None:
    prompt = "echo 1 >new\nsleep 60 # \x1b[31m"
    session = await para.call("para.dispatch", name="fix", prompt=prompt)
    engine.run(api, session["container"]["name"], "until [ -s new ]; do sleep 0.1; done")
    lines = (await para.call("para.stats", name="fix"))["tooltip"].split("\n")
    stats = dict(line.split(": ", 1) for line in lines)
    assert stats.pop("State").startswith("running; command is working")
    assert re.fullmatch(r"[0-9.]+ %", stats.pop("CPU"))
    assert re.fullmatch(r"[0-9]+ MiB of 4096 MiB", stats.pop("Memory"))
    assert stats == {
        "Prompt": r"echo 1 >new sleep 60 # \x1b[31m",
        "Repository": str(repo.path),
        "Image": session["container"]["image"],
        "Changed": "1 file, +1 \N{MINUS SIGN}0",
    }


async def test_stats_without_load_report_changes(para: Para) -> None:
    await para.call("para.start", name="fix")
    stats = await para.call("para.stats", name="fix", load=False)
    assert stats["changes"] == {"files": 0, "insertions": 0, "deletions": 0}
    assert (stats["cpu"], stats["memory"], stats["memoryLimit"]) == (None, None, None)


async def test_stats_of_a_worktree_have_no_load(para: Para) -> None:
    await para.call("para.start", name="fix", type="worktree")
    assert figures(await para.call("para.stats")) == {None}


def test_stats_missing_from_the_engine_are_unknown() -> None:
    assert set(dict(parse_stats({})).values()) == {None}
    assert set(
        dict(parse_stats({"memory_stats": {"usage": "much"}, "cpu_stats": []})).values()
    ) == {None}
