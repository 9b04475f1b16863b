"""Container sessions from dispatch to finish, cancel and recover."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import engine, scratch
from tests.client import Para, eventually
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


async def test_cancelled_session_is_recovered_unchanged(
    para: Para, repo: Repository, api: Any, home: Path
) -> None:
    session = await para.call("para.start", name="fix")
    engine.run(api, session["container"]["name"], f"{WORK}; rm README.md; echo 2 >>src/app.py")
    ended = await para.call("para.cancel", name="fix")
    assert ended["session"]["state"] == "cancelled"
    assert ended["archive"] == f"refs/para/archive/{session['id']}"
    assert set(repo.refs()) == {"refs/heads/main", ended["archive"]}
    assert not engine.containers(api, home)
    back = await para.call("para.recover", name="fix")
    assert (back["id"], back["state"], back["branch"]) == (session["id"], "running", "para/fix")
    output = engine.run(api, back["container"]["name"], "git log --format=%s; git status -s")
    assert output.split("\n") == [
        "by the agent",
        "first",
        " D README.md",
        " M src/app.py",
        "?? more.txt",
        "",
    ]


async def test_finished_session_resumes_on_its_branch(para: Para, repo: Repository) -> None:
    await para.call("para.dispatch", prompt="echo 1 >one", name="fix")
    await para.agent("fix", "done")
    first = await para.call("para.finish", message="one", name="fix")
    again = await para.call("para.resume", name="fix", prompt="echo 2 >two")
    assert (again["id"], again["state"]) == (first["session"]["id"], "running")
    await para.agent("fix", "done")
    second = await para.call("para.finish", message="two", name="fix")
    assert second["branch"] == first["branch"]
    assert repo.git("log", "--format=%s", "para/fix") == "two\none\nfirst"


def _die(api: Any, container: str) -> None:
    api.kill(container)


def _stop(api: Any, container: str) -> None:
    api.stop(container, timeout=0)


def _vanish(api: Any, container: str) -> None:
    api.remove_container(container, force=True)


@pytest.mark.parametrize("end", [_die, _stop, _vanish], ids=["killed", "stopped", "removed"])
async def test_finish_works_inside_the_container(
    para: Para, repo: Repository, api: Any, end: Callable[[Any, str], None]
) -> None:
    session = await para.call("para.start", name="fix")
    engine.run(api, session["container"]["name"], WORK)
    end(api, session["container"]["name"])
    failed = await eventually(
        lambda: para.call("para.show", name="fix"), lambda seen: seen["state"] == "failed"
    )
    assert "para.resume" in {remedy["command"] for remedy in failed["problem"]["remedies"]}
    result = await para.call("para.finish", message="the rest", name="fix")
    assert repo.git("log", "--format=%s", result["branch"]) == "the rest\nby the agent\nfirst"


@pytest.mark.parametrize("end", [_die, _vanish], ids=["killed", "removed"])
async def test_failed_session_is_resumed_with_its_work(
    para: Para, api: Any, end: Callable[[Any, str], None]
) -> None:
    session = await para.call("para.start", name="fix")
    engine.run(api, session["container"]["name"], WORK)
    end(api, session["container"]["name"])
    await eventually(
        lambda: para.call("para.show", name="fix"), lambda seen: seen["state"] == "failed"
    )
    again = await para.call("para.resume", name="fix")
    assert (again["state"], again["problem"]) == ("running", None)
    assert engine.run(api, again["container"]["name"], "cat more.txt") == "more\n"


async def test_two_repositories_use_the_same_session_name(
    para: Para, repo: Repository, api: Any, tmp_path: Path
) -> None:
    other = scratch.make(tmp_path / "an other répo")
    here = await para.call("para.start", name="fix")
    there = await para.call("para.start", name="fix", repo=other.path.as_uri())
    assert (here["repo"], there["repo"]) == (str(repo.path), str(other.path))
    engine.run(api, there["container"]["name"], "echo there >where")
    engine.run(api, here["container"]["name"], "echo here >where")
    for one, text in ((other, "there"), (repo, "here")):
        await para.call("para.finish", message="where", name="fix", repo=str(one.path))
        assert one.show("para/fix:where") == text
