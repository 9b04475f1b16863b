"""The life of container sessions."""

from __future__ import annotations

from typing import Any

from tests import engine
from tests.client import Para
from tests.scratch import Repository

WORK = "echo done > result.txt; git add -A; git commit -qm 'by the agent'; echo more > more.txt"


async def test_dispatched_work_ends_in_a_branch(
    para: Para, repo: Repository, api: Any, home: object
) -> None:
    before = repo.fingerprint()
    session = await para.call("para.dispatch", prompt=WORK, name="fix")
    assert session["state"] == "running"
    await para.agent("fix", "done")
    result = await para.call("para.finish", message="the rest", name="fix")
    assert (result["files"], result["insertions"], result["branch"]) == (2, 2, "para/fix")
    assert repo.show("para/fix:result.txt") == "done"
    assert repo.git("log", "--format=%s", "para/fix") == "the rest\nby the agent\nfirst"
    assert repo.fingerprint() == before
    assert set(repo.refs()) == {"refs/heads/main", "refs/heads/para/fix"}
    assert not engine.containers(api, home)
