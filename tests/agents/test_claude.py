"""The real Claude Code at work in its box, against a stand-in of its API."""

from __future__ import annotations

import asyncio

from tests.agents.messages import Api, bash, text
from tests.client import Para
from tests.scratch import Repository

WORK = "echo done >result.txt; git add -A; git commit -qm 'by the agent'; echo more >more.txt"


async def test_dispatched_work_ends_in_a_branch(para: Para, repo: Repository, standin: Api) -> None:
    standin.script("fix", [text("I will."), bash(WORK)], [text("It is fixed.")])
    session = await para.call("para.dispatch", prompt="fix it", name="fix")
    assert (session["state"], session["agent"]["name"]) == ("running", "claude")
    done = await para.agent("fix", "done")
    assert done["agent"]["detail"] == "It is fixed."
    logs = (await para.call("para.logs", name="fix"))["text"]
    assert logs.splitlines() == ["> fix it", f"* Bash: {WORK}", "It is fixed."]
    result = await para.call("para.finish", message="the rest", name="fix")
    assert repo.git("log", "--format=%s", result["branch"]) == "the rest\nby the agent\nfirst"
    assert repo.show("para/fix:more.txt") == "more"
    assert (await para.call("para.logs", name="fix"))["text"] == logs


async def test_two_agents_are_at_work_at_once(para: Para, repo: Repository, standin: Api) -> None:
    for name in ("one", "two"):
        standin.script(f"task {name}", [bash(f"echo {name} >{name}.txt")], [text("Done.")])
    await asyncio.gather(
        *(para.call("para.dispatch", prompt=f"task {n}", name=n) for n in ("one", "two"))
    )
    for name in ("one", "two"):
        await para.agent(name, "done")
        result = await para.call("para.finish", message="work", name=name)
        assert repo.git("show", f"{result['branch']}:{name}.txt") == name
