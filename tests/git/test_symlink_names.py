"""Files that run automatically through symbolic links are listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from para_server.git import commit_diff, discovery
from para_server.git.symlink_names import SymlinkNames
from tests.client import Para
from tests.scratch import Repository

TOP = "/home/someone/project"


def create_links(repo: Repository, links: dict[str, str]) -> None:
    for name, target in links.items():
        link = repo.path / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)


async def list_auto_run(repo: Repository, old: str, new: str = "HEAD") -> tuple[str, ...]:
    found = await discovery.find_repository(repo.path)
    known = await commit_diff.compare_commits(found, old, repo.git("rev-parse", new))
    assert known.omitted == ()
    return known.auto_run


@pytest.mark.parametrize(
    ("links", "changed", "runs"),
    [
        ({".vscode": "tools/editor"}, "tools/editor/tasks.json", True),
        ({".vscode/tasks.json": "../tools/tasks"}, "tools/tasks", True),
        ({".github": "ci"}, "ci/workflows/build.yml", True),
        ({"Makefile": "build/rules"}, "build/rules", True),
        ({".vscode": "a", "a": "b/c", "b": "d"}, "d/c/settings.json", True),
        ({".vscode": "x/../editor", "x": "deep/folder"}, "deep/editor/tasks.json", True),
        ({".vscode": "x/../editor", "x": "deep/folder"}, "editor/tasks.json", False),
        ({"sub/.vscode": ".."}, "tasks.json", True),
        ({".vscode": "{top}/tools"}, "tools/tasks.json", True),
        ({".vscode": "{top}-other/tools"}, "tools/tasks.json", False),
        ({".vscode": "../../tools"}, "tools/tasks.json", False),
        ({".vscode": "a", "a": ".vscode"}, "b/tasks.txt", False),
        ({"notes": "tools"}, "tools/tasks.txt", False),
        ({".vs code\n\udcff": "tools"}, "tools/tasks.txt", False),
    ],
)
async def test_file_behind_a_symlink_is_listed(
    repo: Repository, links: dict[str, str], changed: str, runs: bool
) -> None:
    create_links(repo, {name: target.format(top=repo.path) for name, target in links.items()})
    old = repo.commit()
    repo.commit(**{changed: "changed\n"})
    assert await list_auto_run(repo, old) == ((changed,) if runs else ())


async def test_finish_lists_auto_run_files_behind_symlinks(para: Para, repo: Repository) -> None:
    create_links(repo, {".vscode": "tools/editor"})
    repo.commit()
    session = await para.call("para.start", name="fix", type="worktree")
    tasks = Path(session["workspace"]) / "tools/editor/tasks.json"
    tasks.parent.mkdir(parents=True)
    tasks.write_text("{}\n")
    finished = await para.call("para.finish", name="fix", message="m")
    assert finished["autoRunFiles"] == ["tools/editor/tasks.json"]


def test_names_through_circular_and_many_links_are_limited() -> None:
    circles = SymlinkNames({"a": ".", "b/c": "..", "d": "d", "e": "f", "f": "e"}, TOP)
    for _ in range(100):
        assert set(circles.names_of("x/y/z")) == {
            "a/x/y/z",
            "b/c/x/y/z",
            "a/b/c/x/y/z",
            "b/c/a/x/y/z",
        }
    assert circles.complete
    few = SymlinkNames({f"link{n}": "folder" for n in range(50)}, TOP)
    assert sum(len(list(few.names_of(f"folder/{n}"))) for n in range(20_000)) == 100_000
    assert not few.complete
    many = SymlinkNames({f"link{n}": "folder" for n in range(5000)}, TOP)
    assert len(list(many.names_of("folder/1"))) < 100
    assert not many.complete


async def test_link_target_that_is_too_long_is_skipped(repo: Repository) -> None:
    old = repo.git("rev-parse", "HEAD")
    long = repo.write("text", "x/" * 4000)
    oid = repo.git("hash-object", "-w", str(long))
    long.unlink()
    repo.git("update-index", "--add", "--cacheinfo", f"120000,{oid},enormous")
    repo.git("commit", "-qm", "x")
    assert await list_auto_run(repo, old) == ()
