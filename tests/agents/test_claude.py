"""The real Claude Code in a container, with a fake of its API."""

from __future__ import annotations

import asyncio

from tests.agents.fake_api import FakeApi, bash, text
from tests.client import Para
from tests.scratch import Repository

WORK = "echo done >result.txt; git add -A; git commit -qm 'by the agent'; echo more >more.txt"


async def test_finish_commits_agent_work_to_a_branch(
    para: Para, repo: Repository, fake_api: FakeApi
) -> None:
    fake_api.script("fix", [text("I will."), bash(WORK)], [text("It is fixed.")])
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


async def test_two_agents_work_in_parallel(para: Para, repo: Repository, fake_api: FakeApi) -> None:
    for name in ("one", "two"):
        fake_api.script(f"task {name}", [bash(f"echo {name} >{name}.txt")], [text("Done.")])
    await asyncio.gather(
        *(para.call("para.dispatch", prompt=f"task {n}", name=n) for n in ("one", "two"))
    )
    for name in ("one", "two"):
        await para.agent(name, "done")
        result = await para.call("para.finish", message="work", name=name)
        assert repo.git("show", f"{result['branch']}:{name}.txt") == name
