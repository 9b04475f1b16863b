"""Command lines that a person is shown, and may copy to a shell, run nothing that others named."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from tests import engine
from tests.client import Para
from tests.hostile.conftest import Bait
from tests.scratch import Repository

COMMAND = re.compile(r"(?:: |there: |back: )((?:cd|git) .*)$")
REFS = ("heads/a;touch${{IFS}}{0}", "heads/$(touch${{IFS}}{0})", "tags/b`touch${{IFS}}{0}`")


def typed(repo: Repository, text: str) -> None:
    """Do what a text proposes, as a person would who copies it."""
    proposed = COMMAND.search(text)
    assert proposed, text
    subprocess.run(["sh", "-c", proposed[1]], cwd=repo.path, check=False, capture_output=True)


async def test_names_of_refs_of_a_session_are_no_commands(
    para: Para, repo: Repository, api: Any, bait: Bait
) -> None:
    session = await para.call("para.start", name="fix")
    names = [f"refs/{one.format(bait.canary)}" for one in REFS] + ["refs/heads/-m"]
    quoted = " ".join(f"'{name}'" for name in names)
    engine.run(
        api,
        session["container"]["name"],
        "git config --global user.name a; git config --global user.email a@b; "
        "echo 1 >a; git add -A; git commit -qm a; "
        f'for n in {quoted}; do git update-ref "$n" $(git commit-tree -m "$n" HEAD^{{tree}}); done',
    )
    finished = await para.call("para.finish", name="fix", message="m")
    assert {one["ref"] for one in finished["left"]} == set(names)
    for one in finished["left"]:
        typed(repo, one["detail"])
    assert not bait.canary.exists(), "a name of a session's ref ran as a command"
    assert repo.git("rev-parse", "--abbrev-ref", "HEAD") == "main"
    assert set(names) - {"refs/heads/-m"} < set(repo.refs())


async def test_names_of_folders_are_no_commands(para: Para, repo: Repository, bait: Bait) -> None:
    odd = repo.path / "a;touch ${CANARY};b".replace("${CANARY}", bait.canary.name)
    odd.mkdir()
    (odd / ".git").write_text("no git folder\n")
    failed = await para.fails("workspace.git-failed", "para.start", repo=str(odd))
    for remedy in failed.remedies:
        typed(repo, remedy["title"])
    assert not Path(repo.path / bait.canary.name).exists()


async def test_the_way_back_to_a_repository_is_no_command(
    servers: Any, api: Any, repo: Repository, home: Path
) -> None:
    odd = repo.path.with_name("its;touch canary;")
    repo.path.rename(odd)
    para = await servers(folders=[odd])
    session = await para.call("para.start", name="fix")
    engine.run(api, session["container"]["name"], "true")
    workspace = str(home / "work" / session["id"])
    failed = await para.fails("workspace.not-a-repository", "para.start", repo=workspace)
    typed(Repository(odd), failed.remedies[0]["title"])
    assert not (odd / "canary").exists()
