"""Finished sessions and their branches: `para.finish`."""

from __future__ import annotations

from typing import Any

from tests import engine
from tests.client import Para
from tests.scratch import Repository


async def working(para: Para, api: Any, script: str) -> dict[str, Any]:
    """Start a session and run a command in it."""
    session: dict[str, Any] = await para.call("para.start", name="fix")
    engine.run(api, session["container"]["name"], script)
    return session


async def test_finish_commits_uncommitted_changes_as_the_user(
    para: Para, repo: Repository, api: Any
) -> None:
    session = await working(para, api, "echo new >new; echo 2 >src/app.py; rm README.md")
    message = "A subject\n\nA body with 'quotes' and ünïcode"
    result = await para.call("para.finish", message=message, name="fix")
    assert (result["files"], result["insertions"], result["deletions"]) == (3, 2, 2)
    assert result["commit"] == repo.git("rev-parse", "para/fix")
    assert repo.git("log", "-1", "--format=%B", "para/fix") == message
    assert repo.git("log", "-1", "--format=%an <%ae>", "para/fix") == "Ada <ada@example.org>"
    over = result["session"]
    assert (over["id"], over["state"], over["branch"]) == (session["id"], "finished", "para/fix")
    assert (over["workspace"], over["container"]) == (None, None)


async def test_finish_accepts_a_branch(para: Para, repo: Repository, api: Any) -> None:
    await working(para, api, "echo new >new")
    result = await para.call("para.finish", message="new", name="fix", branch="topic/new")
    assert result["branch"] == result["session"]["branch"] == "topic/new"
    assert set(repo.refs()) == {"refs/heads/main", "refs/heads/topic/new"}


async def test_finish_reports_files_that_run_automatically(para: Para, api: Any) -> None:
    script = "mkdir .vscode; echo '{}' >.vscode/tasks.json; echo all: >Makefile; echo a >a.txt"
    await working(para, api, script)
    result = await para.call("para.finish", message="new", name="fix")
    assert result["autoRunFiles"] == [".vscode/tasks.json", "Makefile"]


async def test_finish_without_changes_is_refused_and_the_session_continues(
    para: Para, repo: Repository, api: Any
) -> None:
    session = await working(para, api, "true")
    refused = await para.fails("workspace.nothing-to-finish", "para.finish", message="x")
    shown = await para.call("para.show", name="fix")
    assert (shown["state"], shown["container"]) == ("running", session["container"])
    remedy = refused.remedies[0]
    ended = await para.call(remedy["command"], **remedy["params"])
    assert ended["archive"] is None
    assert set(repo.refs()) == {"refs/heads/main"}


async def test_branch_created_meanwhile_is_not_changed(
    para: Para, repo: Repository, api: Any
) -> None:
    await working(para, api, "echo new >new")
    repo.git("branch", "para/fix")
    refused = await para.fails("workspace.branch-exists", "para.finish", message="x", name="fix")
    assert "para/fix" in refused.message
    assert repo.git("rev-parse", "para/fix") == repo.git("rev-parse", "main")
    result = await para.call("para.finish", message="x", name="fix", branch="para/fix-2")
    assert repo.show("para/fix-2:new") == "new"
    assert result["branch"] == "para/fix-2"


async def test_invalid_messages_and_branches_are_refused_first(para: Para, api: Any) -> None:
    await working(para, api, "echo new >new")
    for params in (
        {},
        {"message": ""},
        {"message": "  \n"},
        {"message": "x", "branch": ""},
        {"message": "x", "branch": "two..dots"},
        {"message": "x", "branch": "-d"},
    ):
        await para.fails("command.invalid-params", "para.finish", **{"name": "fix", **params})
    assert (await para.call("para.show", name="fix"))["state"] == "running"


async def test_finish_leaves_a_dirty_work_tree_unchanged(
    para: Para, repo: Repository, api: Any
) -> None:
    repo.write("README.md", "changed here\n")
    repo.write("staged", "staged here\n")
    repo.git("add", "staged")
    before = repo.fingerprint()
    await working(para, api, "cat README.md >seen; ls >>seen")
    await para.call("para.finish", message="x", name="fix")
    assert repo.fingerprint() == before
    assert "staged" not in repo.show("para/fix:seen")


async def test_finished_session_is_listed_only_with_all(para: Para, api: Any) -> None:
    await working(para, api, "echo new >new")
    await para.call("para.finish", message="x", name="fix")
    assert (await para.call("para.list"))["sessions"] == []
    listed = (await para.call("para.list", all=True))["sessions"]
    assert [(one["name"], one["state"]) for one in listed] == [("fix", "finished")]
    await para.fails("session.illegal-transition", "para.finish", message="x", name="fix")
    await para.call("para.start", name="other")
    assert (await para.call("para.show"))["name"] == "other"
