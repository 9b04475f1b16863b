"""Work that cannot be extracted from a session is reported."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.client import Para
from tests.git import random_faults
from tests.git.random_workspaces import WorkspaceContent, read_content
from tests.scratch import Repository

COMMIT = "git add -A; git commit -qm work"
WORK = (
    "export EMAIL=a@example.org; echo s >s; git add -A; git stash -q; "
    f"git switch -qc side; echo b >b; {COMMIT}; git switch -q -; git tag -am text v1; "
    f"git branch at; echo work >work; {COMMIT}; git init -q in; cd in; echo i >i; {COMMIT}; cd ..; "
    f"echo /vendor >.gitignore; git init -q vendor/in; cd vendor/in; echo s >s; {COMMIT}; "
    "cd ../..; git init -q --bare bare; git push -q ./bare HEAD:refs/heads/x; "
    "echo staged >f; git add f; echo changed >f"
)
NAMES = {
    ("branch", "refs/heads/side"),
    ("branch", "refs/heads/at"),
    ("stash", "stash"),
    ("tag", "refs/tags/v1"),
    ("submodule", "in"),
    ("ignored-repository", "vendor/in"),
}


async def start_with_work(
    para: Para, api: Any, more: str = ":"
) -> tuple[dict[str, Any], WorkspaceContent]:
    session: dict[str, Any] = await para.call("para.start", name="w")
    engine.run(api, session["container"]["name"], WORK)
    content = await asyncio.to_thread(read_content, Path(session["workspace"]))
    engine.run(api, session["container"]["name"], more)
    return session, content


def reported(result: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["what"], one["path"] or one["ref"]) for one in result["left"]}


def reachable(repo: Repository) -> set[str]:
    return set(repo.git("rev-list", "--objects", "--all", "--no-object-names").split())


@pytest.mark.parametrize("end", ["finish", "cancel"])
async def test_unreadable_refs_of_a_broken_git_folder_are_reported(
    para: Para, repo: Repository, api: Any, end: str
) -> None:
    _, content = await start_with_work(para, api, "mkfifo .git/refs/pipe")
    params = {"message": "it"} if end == "finish" else {}
    result = await para.call(f"para.{end}", name="w", **params)
    assert NAMES | {("branch", "refs/heads/para/w")} <= reported(result)
    assert all("not kept" in one["detail"] for one in result["left"])
    assert content.list_lost(reachable(repo), result["left"]) == []


@pytest.mark.parametrize("end", ["finish", "cancel"])
async def test_unread_nested_repositories_are_reported(
    para: Para, repo: Repository, api: Any, end: str
) -> None:
    _, content = await start_with_work(para, api, "echo x >git~1")
    params = {"message": "it"} if end == "finish" else {}
    result = await para.call(f"para.{end}", name="w", **params)
    assert {("submodule", "in"), ("ignored-repository", "vendor/in")} <= reported(result)
    assert content.list_lost(reachable(repo), result["left"], staged=end == "cancel") == []


async def test_killed_one_shot_container_loses_no_work(
    para: Para, repo: Repository, api: Any
) -> None:
    session, content = await start_with_work(para, api)
    with random_faults.killed_one_shot_containers(session["id"], 1) as killed:
        result = await para.call("para.cancel", name="w")
    assert killed == ["helper"]
    assert not [
        one for one in result["left"] if "not kept" in one["detail"] and one["path"] != "vendor/in"
    ]
    assert content.list_lost(reachable(repo), result["left"], staged=True) == []
