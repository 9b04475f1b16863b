"""The end of a session keeps the work in all states of clones and branches."""

from __future__ import annotations

from typing import Any

import pytest

from tests import engine
from tests.client import Para
from tests.scratch import Repository

COMMIT = "git add -A; git commit -qm by-the-agent"
# commands of the agent -> files to keep, and whether the branch of finish has them
WORKSPACES: dict[str, tuple[str, dict[str, bool]]] = {
    "commits_on_another_branch": (
        f"git switch -qc side; echo side >side.txt; {COMMIT}; git switch -q para/w; echo m >m.txt",
        {"side.txt": False, "m.txt": True},
    ),
    "a_switch_to_another_branch": (
        f"echo m >m.txt; {COMMIT}; git switch -qc side; echo s >s.txt; {COMMIT}; echo l >l.txt",
        {"m.txt": True, "s.txt": True, "l.txt": True},
    ),
    "a_switch_to_an_orphan": (
        f"echo m >m.txt; {COMMIT}; git switch -q --orphan o; echo o >o.txt; {COMMIT}; echo >l.txt",
        {"m.txt": False, "o.txt": True, "l.txt": True},
    ),
    "a_switch_to_an_unborn_branch": (
        f"echo m >m.txt; {COMMIT}; git switch -q --orphan o; echo l >l.txt",
        {"m.txt": False, "l.txt": True},
    ),
    "stashes": (
        "echo a >a.txt; git add -A; git stash -q; echo b >b.txt; git stash -qu; echo c >c.txt",
        {"a.txt": False, "b.txt": False, "c.txt": True},
    ),
    "only_a_stash": ("echo a >a.txt; git add -A; git stash -q", {"a.txt": False}),
    "a_tag_alone": (
        (
            f"git checkout -q --detach; echo t >t.txt; {COMMIT}; git tag kept; "
            "git switch -q para/w; echo m >m.txt"
        ),
        {"t.txt": False, "m.txt": True},
    ),
    "an_annotated_tag_alone": (
        (
            f"git checkout -q --detach; echo t >t.txt; {COMMIT}; git tag -am kept kept; "
            "git switch -q para/w; echo m >m.txt"
        ),
        {"t.txt": False, "m.txt": True},
    ),
    "a_detached_head": (
        f"git checkout -q --detach; echo d >d.txt; {COMMIT}; echo l >l.txt",
        {"d.txt": True, "l.txt": True},
    ),
    "a_deleted_git_folder": (
        f"echo m >m.txt; {COMMIT}; echo l >l.txt; rm -rf .git",
        {"m.txt": True, "l.txt": True},
    ),
    "a_git_folder_made_anew": (
        (
            f"echo m >m.txt; rm -rf .git; git init -q; git config user.email a@b; "
            f"git config user.name a; {COMMIT}; echo l >l.txt"
        ),
        {"m.txt": True, "l.txt": True},
    ),
    "a_broken_head": ("echo m >m.txt; echo broken >.git/HEAD", {"m.txt": True}),
    "a_broken_index": ("echo m >m.txt; echo broken >.git/index", {"m.txt": True}),
    "an_index_that_looks_away": (
        "echo m >>README.md; cp README.md m.txt; git update-index --assume-unchanged README.md",
        {"m.txt": True},
    ),
    "a_lock_left_behind": ("echo m >m.txt; touch .git/index.lock", {"m.txt": True}),
    "a_nested_repository": (
        (
            "git init -q in; echo n >in/n.txt; git -C in add -A; "
            "git -C in -c user.name=a -c user.email=a@b commit -qm n; echo l >in/l.txt"
        ),
        {"in/n.txt": True, "in/l.txt": True},
    ),
    "a_nested_repository_that_was_added": (
        (
            "git init -q in; echo n >in/n.txt; git -C in add -A; "
            "git -C in -c user.name=a -c user.email=a@b commit -qm n; git add in 2>/dev/null; "
            "git commit -qm link; echo l >in/l.txt"
        ),
        {"in/n.txt": False, "in/l.txt": False},
    ),
    "a_nested_repository_without_commits": (
        "git init -q in; echo n >in/n.txt",
        {"in/n.txt": True},
    ),
    "a_nested_repository_in_one": (
        "git init -q in; git init -q in/er; echo n >in/er/n.txt; echo l >in/l.txt",
        {"in/er/n.txt": True, "in/l.txt": True},
    ),
    "a_worktree_within": (
        (
            "git worktree add -q -b side wt; cd wt; echo s >s.txt; git add -A; git commit -qm s; "
            "echo l >l.txt"
        ),
        {"wt/s.txt": True, "wt/l.txt": True},
    ),
    "files_that_nobody_may_read": ("echo m >m.txt; chmod 0 m.txt; chmod 0 src", {"m.txt": True}),
    "odd_names": (
        "echo a >-rf; echo b >'a\nb'; echo m >:m; mkdir -p .para; echo d >.para/x",
        {"-rf": True, "a\nb": True, ":m": True, ".para/x": True},
    ),
}


async def start_with_work(para: Para, api: Any, work: str) -> dict[str, Any]:
    """Start a session, run the work of the agent, and return the session."""
    session = await para.call("para.start", name="w")
    engine.run(api, session["container"]["name"], work)
    return dict(session)


@pytest.mark.parametrize("end", ["finish", "cancel"])
@pytest.mark.parametrize("workspace", WORKSPACES)
async def test_end_keeps_the_work_of_a_workspace_with(
    para: Para, repo: Repository, api: Any, home: object, workspace: str, end: str
) -> None:
    work, kept = WORKSPACES[workspace]
    before = repo.fingerprint()
    session = await start_with_work(para, api, work)
    if end == "finish":
        result = await para.call("para.finish", name="w", message="the rest")
        assert result["branch"] == "para/w"
    else:
        result = await para.call("para.cancel", name="w")
        assert result["archive"] == f"refs/para/archive/{session['id']}"
    all_files = set(list_files(repo, "--all"))
    in_branch = (
        set(repo.git("ls-tree", "-r", "--name-only", "-z", "para/w").split("\0"))
        if (end == "finish")
        else set()
    )
    assert set(kept) <= all_files
    if end == "finish":
        assert {name for name in kept if name in in_branch} == {n for n in kept if kept[n]}
    assert repo.fingerprint() == before
    assert not engine.containers(api, home)


def list_files(repo: Repository, *revisions: str) -> list[str]:
    """Return the paths of all files in the history of revisions."""
    found: list[str] = []
    for commit in repo.git("rev-list", *revisions).split():
        found += repo.git("ls-tree", "-r", "--name-only", "-z", commit).split("\0")
    return found


async def test_resumed_session_finishes_on_the_same_branch(
    para: Para, repo: Repository, api: Any, home: object
) -> None:
    session = await start_with_work(para, api, f"echo 1 >1.txt; {COMMIT}")
    first = await para.call("para.finish", name="w", message="one")
    await para.call("para.resume", name="w")
    engine.run(api, session["container"]["name"], "test -f 1.txt && echo 2 >2.txt")
    second = await para.call("para.finish", name="w", message="two")
    assert second["branch"] == first["branch"] == "para/w"
    assert repo.git("log", "--format=%s", "para/w") == "two\nby-the-agent\nfirst"
    assert set(repo.refs()) == {"refs/heads/main", "refs/heads/para/w"}
    assert not engine.containers(api, home)


@pytest.mark.parametrize("end", ["finish", "cancel"])
async def test_stashes_of_a_finished_session_survive_its_second_end(
    para: Para, repo: Repository, api: Any, end: str
) -> None:
    stash = "git add -A; git stash -q"
    session = await start_with_work(para, api, f"echo a >a.txt; {stash}; echo 1 >1.txt")
    await para.call("para.finish", name="w", message="one")
    await para.call("para.resume", name="w")
    engine.run(api, session["container"]["name"], f"echo b >b.txt; {stash}; echo 2 >2.txt")
    if end == "finish":
        await para.call("para.finish", name="w", message="two")
    else:
        await para.call("para.cancel", name="w")
    assert {"a.txt", "b.txt", "1.txt", "2.txt"} <= set(list_files(repo, "--all"))


@pytest.mark.parametrize("end", ["finish", "cancel"])
async def test_recovered_session_keeps_its_stashes_and_branches(
    para: Para, repo: Repository, api: Any, end: str
) -> None:
    stash = "git add -A; git stash -q"
    session = await start_with_work(
        para, api, f"echo a >a.txt; {stash}; echo 1 >1.txt; {COMMIT}; echo l >l"
    )
    await para.call("para.cancel", name="w")
    await para.call("para.recover", name="w")
    status = engine.run(api, session["container"]["name"], "git status --porcelain")
    assert status == "?? l\n"
    engine.run(api, session["container"]["name"], "echo 2 >2.txt")
    if end == "finish":
        await para.call("para.finish", name="w", message="two")
    else:
        await para.call("para.cancel", name="w")
    assert {"a.txt", "1.txt", "2.txt", "l"} <= set(list_files(repo, "--all"))


async def test_finish_does_not_move_a_checked_out_branch(
    para: Para, repo: Repository, api: Any
) -> None:
    session = await start_with_work(para, api, "echo 1 >1.txt")
    await para.call("para.finish", name="w", message="one")
    await para.call("para.resume", name="w")
    engine.run(api, session["container"]["name"], "echo 2 >2.txt")
    repo.git("switch", "-q", "para/w")
    before = repo.fingerprint()
    failed = await para.fails("workspace.branch-exists", "para.finish", name="w", message="two")
    assert "checked out" in failed.message
    assert repo.fingerprint() == before
    assert (await para.call("para.show", name="w"))["state"] == "running"
    repo.git("switch", "-q", "main")
    await para.call("para.finish", name="w", message="two")
    assert repo.show("para/w:2.txt") == "2"


async def test_finish_does_not_overwrite_a_branch_that_the_user_moved(
    para: Para, repo: Repository, api: Any
) -> None:
    session = await start_with_work(para, api, "echo 1 >1.txt")
    await para.call("para.finish", name="w", message="one")
    await para.call("para.resume", name="w")
    engine.run(api, session["container"]["name"], "echo 2 >2.txt")
    repo.git("switch", "-q", "para/w")
    mine = repo.commit("by the user", mine="mine\n")
    repo.git("switch", "-q", "main")
    await para.fails("workspace.branch-exists", "para.finish", name="w", message="two")
    assert repo.git("rev-parse", "para/w") == mine
    await para.call("para.finish", name="w", message="two", branch="para/w2")
    assert (repo.show("para/w:mine"), repo.show("para/w2:2.txt")) == ("mine", "2")
