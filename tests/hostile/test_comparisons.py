"""Texts that git compares for minutes: every answer comes, and every command can be cancelled."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.client import Failed, Para, eventually
from tests.scratch import Repository

CANCELLED = -32800
NAMES = [f"a{n}" for n in range(6)]
LINES = 4_000_000
ASKED = {"finish": {"message": "x"}, "diff": {}}


def odd(seed: int) -> str:
    """Make a text of millions of lines of which there are only two: git takes minutes for a few."""
    return "\n".join(random.Random(seed).choices("01", k=LINES))  # noqa: S311 # no secret


async def started(para: Para, repo: Repository, api: Any, kind: str) -> dict[str, Any]:
    """Start a session that changed every line of six texts, and made one honest line."""
    repo.commit("texts", **dict.fromkeys(NAMES, odd(1)), other=odd(2))
    session: dict[str, Any] = await para.call("para.start", name="odd", type=kind)
    change = f"for name in {' '.join(NAMES)}; do cp other $name; done; echo honest >> README.md"
    if kind == "container":
        engine.run(api, session["container"]["name"], change)
        return session
    folder = Repository(Path(session["workspace"]))
    for name in NAMES:
        folder.write(name, odd(2))
    folder.write("README.md", "# A repository\nhonest\n")
    return session


def comparing(server: int) -> bool:
    """Tell whether a process that the server started compares texts."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == server and b"diff-tree" in words and b"--raw" not in words:
            return True
    return False


@pytest.mark.slice(2)
@pytest.mark.parametrize("kind", ["container", "worktree"])
@pytest.mark.parametrize("command", ASKED)
async def test_a_comparison_that_takes_minutes_can_be_cancelled(
    para: Para, repo: Repository, api: Any, command: str, kind: str
) -> None:
    await started(para, repo, api, kind)
    before = repo.refs("refs/heads")
    sent = para.send(f"para.{command}", [{"name": "odd", **ASKED[command]}], msg_id="it")

    async def look() -> bool:
        return await asyncio.to_thread(comparing, para.pid)

    await eventually(look, bool)
    para.cancel("it")
    with pytest.raises(Failed) as failed:
        await para.answer(sent)
    assert failed.value.code == CANCELLED
    assert not comparing(para.pid)
    if kind == "container":
        assert repo.refs("refs/heads") == before
    assert (await para.call("para.show", name="odd"))["state"] == "running"
    await para.call("para.cancel", name="odd")


@pytest.mark.slice(1)
@pytest.mark.parametrize("kind", ["container", "worktree"])
async def test_what_takes_minutes_to_compare_is_shown_and_finished(
    para: Para, repo: Repository, api: Any, kind: str
) -> None:
    await started(para, repo, api, kind)
    shown = await para.call("para.diff", name="odd")
    lines = {file["path"]: file["insertions"] for file in shown["files"]}
    honest = lines.pop("README.md")
    assert lines == dict.fromkeys(NAMES, 0)
    slow = "# lines were not counted" in shown["patch"]  # a machine may be slow, too
    assert slow or (honest == 1 and "+honest" in shown["patch"])
    assert slow or "# some files are larger than 64k" in shown["patch"]
    assert (await para.call("para.stats", name="odd"))["changes"] is None  # not known in time
    done = await para.call("para.finish", name="odd", message="x")
    assert done["files"] == len(NAMES) + 1
    assert "counted" in done["omitted"][0]
    assert repo.git("rev-parse", "para/odd:a1") == repo.git("rev-parse", "main:other")


async def test_others_are_answered_while_texts_are_compared(
    para: Para, repo: Repository, api: Any
) -> None:
    await started(para, repo, api, "worktree")
    sent = para.send("para.diff", [{"name": "odd"}], msg_id="it")

    async def look() -> bool:
        return await asyncio.to_thread(comparing, para.pid)

    await eventually(look, bool)
    listed = await para.call("para.list")
    assert [each["name"] for each in listed["sessions"]] == ["odd"]
    assert not sent.done()
    para.cancel("it")
    with pytest.raises(Failed):
        await para.answer(sent)
