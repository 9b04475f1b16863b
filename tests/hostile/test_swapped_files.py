"""While an agent swaps files, links and pipes, each look is answered, and none leads out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.client import Failed
from tests.hostile.conftest import Bait
from tests.scratch import Repository

ROUNDS = 3
FIX = {"name": "fix"}
LOOKS = ("show", "logs", "stats", "diff", "pause", "list", "resume")
# what takes the place of each file, over and over, until the container is gone
SWAP = """
import os, random, shutil
def removed(path):
    try:
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    except OSError:
        pass
def swapped(path, draft, largest):
    kind = random.randrange(7)
    if kind < 3:
        os.symlink((os.environ["SECRET"], "/dev/zero", ".")[kind], draft)
    elif kind == 3:
        os.mkfifo(draft)
    elif kind == 4:
        os.mkdir(draft)
        open(draft + "/file", "w").write("x")
    else:
        with open(draft, "w") as file:
            file.write("waiting\\n1\\n{}") if kind == 5 else file.truncate(largest)
    try:
        os.rename(draft, path)
    except OSError:
        removed(path)
        os.rename(draft, path)
out = "state output output.old begun alive resting".split()
work = "swapped .gitattributes src/app.py".split()
while True:
    for place, names, largest in ("/para-agent/out", out, 1 << 40), ("/para-session", work, 4096):
        try:
            swapped(f"{place}/{random.choice(names)}", f"{place}/.draft", largest)
        except OSError:
            removed(f"{place}/.draft")
"""


@pytest.mark.parametrize("end", ["finish", "cancel"])
async def test_what_an_agent_swaps_all_the_time_leads_nowhere(
    servers: Any, repo: Repository, api: Any, bait: Bait, end: str
) -> None:
    para = await servers()
    session = await para.call("para.dispatch", name="fix", prompt="sleep 600")
    made = api.exec_create(
        session["container"]["name"],
        ["python3", "-c", SWAP],
        user="para",
        environment={"SECRET": str(bait.secret)},
    )
    api.exec_start(made["Id"], detach=True)
    answers: list[Any] = []
    refusals: list[str] = []

    async def look(verb: str) -> None:
        try:
            answers.append(await para.call(f"para.{verb}", **({} if verb == "list" else FIX)))
        except Failed as refused:
            answers.append(refused.data)
            refusals.append(f"{refused.slug}: {refused.message}")

    for _ in range(ROUNDS):
        await asyncio.gather(*(look(verb) for verb in LOOKS))
    message = {"message": "m"} if end == "finish" else {}
    answers.append(await para.call(f"para.{end}", **FIX, **message))
    bait.untouched(repo, *answers)
    # that it is paused already, or not any more; whatever the agent swaps
    assert {one.partition(":")[0] for one in refusals} <= {
        "session.illegal-transition",
        "session.busy",
    }, refusals
    assert (await para.call("para.list"))["sessions"] == []
