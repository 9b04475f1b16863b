"""Cancelled sessions and their archives: `para.cancel` and `para.recover`."""

from __future__ import annotations

from typing import Any

from tests import engine
from tests.client import Para
from tests.scratch import Repository


async def cancelled(para: Para, api: Any, script: str) -> dict[str, Any]:
    """Start a session, run a command in it and cancel it."""
    session = await para.call("para.start", name="fix")
    engine.run(api, session["container"]["name"], script)
    ended: dict[str, Any] = await para.call("para.cancel", name="fix")
    return ended


async def test_archive_has_all_files_that_git_does_not_ignore(
    para: Para, repo: Repository, api: Any
) -> None:
    repo.commit(**{".gitignore": "*.log\n"})
    ended = await cancelled(
        para,
        api,
        "echo c >committed; git add -A; git commit -qm c; echo s >staged; git add staged;"
        "echo u >untracked; echo l >noise.log",
    )
    kept = repo.git("ls-tree", "--name-only", ended["archive"]).split()
    assert {"committed", "staged", "untracked"} <= set(kept)
    assert "noise.log" not in kept
    assert repo.refs("refs/heads").keys() == {"refs/heads/main"}


async def test_session_without_changes_has_no_archive_and_is_recovered(
    para: Para, repo: Repository, api: Any, home: object
) -> None:
    ended = await cancelled(para, api, "true")
    assert ended["archive"] is None
    assert set(repo.refs()) == {"refs/heads/main"}
    assert engine.containers(api, home) == []
    assert (await para.call("para.recover", name="fix"))["state"] == "running"


async def test_cancel_keeps_stashes_and_other_branches(para: Para, api: Any) -> None:
    await cancelled(
        para,
        api,
        "echo s >stashed; git add -A; git stash -q; git switch -qc aside; echo a >aside;"
        "git add -A; git commit -qm aside; git switch -q para/fix",
    )
    back = await para.call("para.recover", name="fix")
    container = back["container"]["name"]
    found = engine.run(
        api, container, "for c in $(git rev-list --all); do git ls-tree --name-only $c; done"
    )
    assert {"stashed", "aside"} <= set(found.split())


async def test_cancel_accepts_a_paused_session(para: Para, api: Any) -> None:
    session = await para.call("para.start", name="fix")
    engine.run(api, session["container"]["name"], "echo x >x")
    await para.call("para.pause", name="fix")
    assert (await para.call("para.cancel", name="fix"))["archive"]
    back = await para.call("para.recover", name="fix")
    assert engine.run(api, back["container"]["name"], "cat x") == "x\n"


async def test_recover_needs_a_cancelled_and_cancel_an_active_session(para: Para, api: Any) -> None:
    await cancelled(para, api, "echo x >x")
    refused = await para.fails("session.illegal-transition", "para.cancel", name="fix")
    remedy = refused.remedies[0]
    assert (await para.call(remedy["command"], **remedy["params"]))["state"] == "running"
    await para.fails("session.illegal-transition", "para.recover", name="fix")
    await para.fails("session.not-found", "para.recover", name="nobody")
    await para.fails("command.invalid-params", "para.recover")


async def test_recover_refuses_a_name_in_use(para: Para, api: Any) -> None:
    await cancelled(para, api, "echo x >x")
    other = await para.call("para.start", name="fix", type="worktree")
    await para.fails("session.illegal-transition", "para.recover", name="fix")
    assert (await para.call("para.show", name="fix"))["id"] == other["id"]
    await para.call("para.cancel", name="fix")


async def test_recover_finds_a_session_behind_a_later_ended_one(para: Para, api: Any) -> None:
    first = await cancelled(para, api, "echo 1 >first")
    await cancelled(para, api, "echo 2 >second")
    later = await para.call("para.start", name="fix")
    engine.run(api, later["container"]["name"], "echo 3 >third")
    await para.call("para.finish", name="fix", message="Do it")
    assert (await para.call("para.recover", name=first["session"]["id"]))["state"] == "running"
    shown = engine.run(api, f"para-session-{first['session']['id']}", "ls").split()
    assert "first" in shown
    assert not {"second", "third"} & set(shown)
    await para.call("para.cancel", name="fix")
    named = await para.call("para.recover", name="fix")
    assert named["id"] != later["id"], "a finished session is none that can be recovered"


async def test_recover_refuses_a_deleted_archive(
    para: Para, repo: Repository, api: Any, home: object
) -> None:
    ended = await cancelled(para, api, "echo x >x")
    repo.git("update-ref", "-d", ended["archive"])
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    refused = await para.fails("workspace.unknown-base", "para.recover", name="fix")
    assert "archive" in refused.message
    assert (await para.call("para.show", name="fix"))["state"] == "cancelled"
    assert engine.containers(api, home) == []


async def test_staged_changes_are_kept_during_a_conflict(
    para: Para, repo: Repository, api: Any
) -> None:
    session = await para.call("para.start", name="fix")
    script = (
        "echo a >README.md; git commit -qam a; echo b >README.md; git commit -qam b; "
        "git revert --no-edit HEAD~1 || echo staged >gone; git add gone; rm gone"
    )
    engine.run(api, session["container"]["name"], script)
    staged = engine.run(api, session["container"]["name"], "git rev-parse :gone").strip()
    await para.call("para.cancel", name="fix")
    assert repo.git("cat-file", "-p", staged) == "staged"
    kept = repo.git("rev-list", "--objects", "--all", "--no-object-names").split()
    assert staged in kept
