"""Work outside the branch: reported, kept in the archive, restored by recover."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests import engine
from tests.client import Para
from tests.scratch import Repository

AGENT = "git config --global user.name a; git config --global user.email a@example.org; "
COMMIT = "git add -A; git commit -qm work"


async def working(para: Para, api: Any, script: str) -> dict[str, Any]:
    session: dict[str, Any] = await para.call("para.start", name="w")
    engine.run(api, session["container"]["name"], f"{AGENT}{script}")
    return session


def named(result: dict[str, Any]) -> dict[str, str]:
    """Return the reported items by path or ref."""
    return {one["path"] or one["ref"] or "": one["what"] for one in result["left"]}


# what is done in the workspace -> what finish names, and a text that only the archive has
LEFT = {
    "a stash": ("echo s >>README.md; git stash -q", {"stash@{0}": "stash"}),
    "a branch": (
        "git switch -qc side; echo s >s; git add s; git commit -qm s; git switch -q -",
        {"refs/heads/side": "branch"},
    ),
    "its own branch": (
        (
            f"git switch -q --detach; git switch -qc other; echo s >s; {COMMIT}; "
            "git branch -f para/w $(git commit-tree -m x HEAD^{tree})"
        ),
        {"refs/heads/para/w": "branch"},
    ),
    "a tag": ("git tag v1", {"refs/tags/v1": "tag"}),
    "an annotated tag": ("git tag -am text v1", {"refs/tags/v1": "tag"}),
    "a repository": (
        f"git init -q in; cd in; echo s >s; {COMMIT}",
        {"in": "submodule"},
    ),
    "a repository that git ignores": (
        f"echo /vendor >.gitignore; git init -q vendor/in; cd vendor/in; echo s >s; {COMMIT}",
        {"vendor/in": "ignored-repository"},
    ),
    "a bare repository": (
        "git init -q --bare bare; git push -q ./bare HEAD:refs/heads/x",
        {"bare": "submodule"},
    ),
    "a submodule": (
        (
            "git init -q /tmp/lib; git -C /tmp/lib commit -q --allow-empty -m lib; "
            "git -c protocol.file.allow=always submodule -q add /tmp/lib sub; git commit -qm sub; "
            f"cd sub; echo s >s; {COMMIT}; echo t >t"
        ),
        {"sub": "submodule"},
    ),
    "files in the folder of a submodule that is not fetched": (
        (
            f"git init -q sub; cd sub; {COMMIT} --allow-empty; cd ..; git add sub; {COMMIT}; "
            "rm -rf sub/.git; echo t >sub/t"
        ),
        {"sub": "submodule"},
    ),
    "a repository in one that is committed as a link": (
        (
            f"git init -q in; cd in; echo s >s; {COMMIT}; git init -q er; cd er; echo t >t; "
            f"{COMMIT}; cd ../..; git add in; git commit -qm link"
        ),
        {"in": "submodule", "in/er": "submodule"},
    ),
    "a submodule that is put away": (
        (
            "git init -q /tmp/lib; git -C /tmp/lib commit -q --allow-empty -m lib; "
            "git -c protocol.file.allow=always submodule -q add /tmp/lib sub; git commit -qm sub; "
            f"cd sub; echo s >s; {COMMIT}; cd ..; git submodule -q deinit -f sub"
        ),
        {".git/modules/sub": "submodule"},
    ),
}


@pytest.mark.parametrize("left", LEFT)
async def test_finish_reports_work_outside_the_branch(
    para: Para, repo: Repository, api: Any, left: str
) -> None:
    script, expected = LEFT[left]
    session = await working(para, api, f"echo work >work; ({script})")
    head = await commits(api, session)
    result = await para.call("para.finish", name="w", message="it")
    assert named(result) == expected
    assert result["archive"] == f"refs/para/archive/{session['id']}"
    assert all(result["archive"] in one["detail"] for one in result["left"])
    assert repo.show("para/w:work") == "work"
    assert head <= set(repo.git("rev-list", "--all").split())


async def commits(api: Any, session: dict[str, Any]) -> set[str]:
    """Return the commits of all repositories in a workspace."""
    script = (
        "find . -name HEAD -path '*HEAD' | while read -r head; do folder=${head%/HEAD}; "
        "if [ -d $folder/objects ]; then git --git-dir=$folder rev-list --all 2>/dev/null; "
        "git --git-dir=$folder rev-list -g refs/stash 2>/dev/null || true; fi; done; true"
    )
    return set(engine.run(api, session["container"]["name"], script).split())


async def test_finish_reports_nothing_if_the_branch_has_everything(para: Para, api: Any) -> None:
    await working(para, api, f"echo work >work; {COMMIT}; git branch merged; git init -q in; >in/f")
    result = await para.call("para.finish", name="w", message="it")
    assert (result["left"], result["archive"]) == ([], None)


STOPPED = {
    "a merge": (
        (
            f"git switch -qc x; echo a >README.md; {COMMIT}; git switch -q -; "
            f"echo b >README.md; {COMMIT}; git merge -q x || true"
        ),
        "merge",
    ),
    "a rebase": (
        (
            f"for i in 1 2 3; do echo $i >$i; {COMMIT}; done; "
            "GIT_SEQUENCE_EDITOR='sed -i 1s/pick/edit/' git rebase -q -i HEAD~3"
        ),
        "rebase (1 of 3)",
    ),
    "a cherry-pick": (
        (
            f"git switch -qc x; echo a >README.md; {COMMIT}; git switch -q -; "
            f"echo b >README.md; {COMMIT}; git cherry-pick x || true"
        ),
        "cherry-pick",
    ),
    "a revert": (
        f"echo a >README.md; {COMMIT}; echo b >README.md; {COMMIT}; git revert HEAD~1 || true",
        "revert",
    ),
    "a patch": (
        (
            f"echo a >README.md; {COMMIT}; git format-patch -q --stdout -1 >/tmp/p; "
            f"git reset -q --hard HEAD~1; echo b >README.md; {COMMIT}; git am -q /tmp/p || true"
        ),
        "git am",
    ),
    "a bisection": (
        f"for i in 1 2 3; do echo $i >$i; {COMMIT}; done; git bisect start -q HEAD HEAD~3",
        "bisection",
    ),
    "a stash in conflict": (
        f"echo a >README.md; git stash -q; echo b >README.md; {COMMIT}; git stash pop -q || true",
        "conflicts in README.md",
    ),
}


@pytest.mark.parametrize("stopped", STOPPED)
async def test_finish_refuses_unfinished_operations_that_cancel_keeps(
    para: Para, repo: Repository, api: Any, stopped: str
) -> None:
    script, said = STOPPED[stopped]
    session = await working(para, api, script)
    head = await commits(api, session)
    refused = await para.fails("workspace.git-failed", "para.finish", name="w", message="it")
    assert said in refused.message
    assert [one["command"] for one in refused.remedies] == ["para.open", "para.cancel"]
    assert (await para.call("para.show", name="w"))["state"] == "running"
    assert repo.refs("refs/heads").keys() == {"refs/heads/main"}
    ended = await para.call("para.cancel", name="w")
    assert set(named(ended).values()) <= {"merge"}
    assert head <= set(repo.git("rev-list", "--all").split())


async def test_recover_restores_all_names(para: Para, repo: Repository, api: Any) -> None:
    look = "git symbolic-ref HEAD; git for-each-ref; git stash list --format=%H; git diff --cached"
    session = await working(
        para,
        api,
        f"git tag -am one t1; git switch -qc side; echo s >s; {COMMIT}; git tag t2; git branch b; "
        "echo 1 >>README.md; git stash -q; echo 2 >>README.md; git stash -q; "
        "git branch -m para/w moved; echo staged >f; git add f; echo changed >f",
    )
    before = engine.run(api, session["container"]["name"], look)
    ended = await para.call("para.cancel", name="w")
    assert ended["left"] == []
    manifest = repo.git("cat-file", "blob", f"{ended['archive']}^2:manifest")
    assert "refs/heads/side" in manifest
    back = await para.call("para.recover", name="w")
    container = back["container"]["name"]
    assert engine.run(api, container, look) == before
    assert engine.run(api, container, "cat f; git show :f") == "changed\nstaged\n"
    assert engine.run(api, container, "git cat-file -t t1") == "tag\n"


@pytest.mark.parametrize("objects", ["own", "shared"])
async def test_commits_of_the_base_stay_reachable_after_a_switch(
    servers: Callable[..., Awaitable[Para]], repo: Repository, api: Any, objects: str
) -> None:
    repo.git("tag", "-am", "one", "v1")
    para = await servers(extra={"PARA_GIT_OBJECTS": objects})
    look = "git symbolic-ref HEAD; git for-each-ref; git cat-file -t v1; git log --format=%s main"
    session = await working(
        para, api, "git switch -q --orphan o; echo o >o; git add o; git commit -qm o"
    )
    before = engine.run(api, session["container"]["name"], look)
    assert "tag\nfirst\n" in before
    await para.call("para.cancel", name="w")
    back = await para.call("para.recover", name="w")
    assert engine.run(api, back["container"]["name"], look) == before
