"""Comparisons of commits are complete, limited, and independent of the user's configuration."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from para_server.git import commit_diff, discovery
from para_server.git.commit_diff import MAX_AUTO_RUN, MAX_FILES
from tests import scratch
from tests.client import Para
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
MANY = 30_000
TEXT = "".join(f"line {n}\n\n" for n in range(40))
CONFIGURED = {
    "diff.noprefix": "true",
    "diff.mnemonicPrefix": "true",
    "diff.context": "9",
    "diff.interHunkContext": "9",
    "diff.renames": "copies",
    "diff.algorithm": "minimal",
    "diff.indentHeuristic": "false",
    "diff.suppressBlankEmpty": "true",
    "diff.relative": "true",
    "diff.submodule": "log",
    "diff.ignoreSubmodules": "all",
    "diff.wsErrorHighlight": "all",
    "diff.colorMoved": "zebra",
    "color.ui": "always",
    "color.diff": "always",
    "core.quotePath": "false",
    "core.abbrev": "40",
    "core.bigFileThreshold": "1",
}


def create_tree(repo: Repository, entries: Iterable[bytes]) -> str:
    done = subprocess.run(
        ["git", "mktree", "-z"],
        cwd=repo.path,
        input=b"\0".join(entries),
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().strip()


def commit_tree(repo: Repository, tree: str) -> str:
    return repo.git("commit-tree", "-m", "x", "-p", "HEAD", tree)


async def compare_session(para: Para, repo: Repository) -> tuple[object, object]:
    """Return the results of diff and finish for the same changes in a new worktree session."""
    session = await para.call("para.start", name="fix", type="worktree")
    folder = Repository(Path(session["workspace"]))
    (folder.path / "README.md").unlink()
    folder.write("umlaut-ä.md", "# A repository\n")
    folder.write("src/app.py", TEXT.replace("line 7\n", "").replace("line 20\n", "other\n"))
    diff = await para.call("para.diff", name="fix")
    done = await para.call("para.finish", name="fix", message="x")
    repo.git("branch", "-D", "para/fix")
    figures = [done[each] for each in ("files", "insertions", "deletions", "autoRunFiles")]
    return diff, figures


async def test_user_configuration_does_not_change_results_or_run_programs(
    servers: Servers, repo: Repository, tmp_path: Path
) -> None:
    para = await servers()
    repo.commit("more", **{"src/app.py": TEXT, "z.md": "z\n", ".gitattributes": "*.py diff=own\n"})
    plain = await compare_session(para, repo)
    mark = tmp_path / "mark"
    (tmp_path / "order").write_text("src/*\n")
    programs = {
        "diff.external": f"touch {mark}; true",
        "diff.own.command": f"touch {mark}; true",
        "diff.own.textconv": f"touch {mark}; cat",
        "diff.orderFile": str(tmp_path / "order"),
    }
    for key, value in (CONFIGURED | programs).items():
        repo.git("config", key, value)
        repo.git("config", "--global", key, value)
    assert await compare_session(para, repo) == plain
    assert not mark.exists()


@pytest.mark.parametrize("where", [".gitmodules", "config", "user"])
async def test_changed_submodule_is_listed_even_if_configured_as_ignored(
    repo: Repository, tmp_path: Path, where: str
) -> None:
    other = scratch.make(tmp_path / "other")
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other.path), "lib")
    if where == ".gitmodules":
        repo.git("config", "-f", ".gitmodules", "submodule.lib.ignore", "all")
    repo.commit("a submodule")
    if where == "config":
        repo.git("config", "submodule.lib.ignore", "all")
    if where == "user":
        repo.git("config", "--global", "diff.ignoreSubmodules", "all")
    base = repo.git("rev-parse", "HEAD")
    moved = other.commit("more", more="more\n")
    listed = repo.git("ls-tree", "HEAD").replace(repo.git("rev-parse", "HEAD:lib"), moved)
    tip = commit_tree(repo, create_tree(repo, listed.encode().split(b"\n")))
    found = await commit_diff.compare_commits(await discovery.find_repository(repo.path), base, tip)
    assert [(file.path, file.status) for file in found.files] == [("lib", "M")]
    assert found.auto_run == ("lib",)


async def test_very_many_paths_are_counted_and_the_first_are_listed(
    repo: Repository,
) -> None:
    blob = repo.git("rev-parse", "HEAD:README.md")
    tree = create_tree(repo, (f"100644 blob {blob}\t{n}".encode() for n in range(MANY)))
    for _ in range(15):
        tree = create_tree(repo, [f"040000 tree {tree}\t{'a' * 200}".encode()])
    runs = create_tree(repo, [f"100644 blob {blob}\ttasks.json".encode()])
    tree = create_tree(
        repo, [f"040000 tree {t}\t{n}".encode() for t, n in ((tree, "a"), (runs, "z"))]
    )
    hidden = create_tree(repo, [f"040000 tree {tree}\t.vscode".encode()])
    where = await discovery.find_repository(repo.path)
    base = repo.git("rev-parse", "HEAD")
    found = await commit_diff.compare_commits(where, base, commit_tree(repo, hidden))
    gone = 2  # the files that the repository had
    assert found.count == MANY + 1 + gone
    assert len(found.files) <= MAX_FILES
    assert len(found.auto_run) <= MAX_AUTO_RUN
    assert found.omitted == (
        f"only {len(found.auto_run)} of {MANY + 1} files that run automatically are listed",
    )
    whole = await commit_diff.compare_commits(where, base, commit_tree(repo, tree))
    assert whole.count == MANY + 1 + gone
    assert whole.auto_run == ()
    patch = await commit_diff.create_patch(where, base, commit_tree(repo, tree), whole)
    assert f"# only {len(whole.files)} of {whole.count} changed files are listed" in patch.text


async def test_auto_run_file_is_listed_after_many_other_files(repo: Repository) -> None:
    blob = repo.git("rev-parse", "HEAD:README.md")
    many = create_tree(repo, (f"100644 blob {blob}\t{'a' * 200}{n}".encode() for n in range(MANY)))
    last = create_tree(repo, [f"100644 blob {blob}\tMakefile".encode()])
    tree = create_tree(
        repo, [f"040000 tree {t}\t{n}".encode() for t, n in ((many, "a"), (last, "z"))]
    )
    base = repo.git("rev-parse", "HEAD")
    where = await discovery.find_repository(repo.path)
    found = await commit_diff.compare_commits(where, base, commit_tree(repo, tree))
    assert found.auto_run == ("z/Makefile",)
    assert found.omitted == ()


@pytest.mark.parametrize("length", [5_000, 100_000, 3_000_000])
async def test_path_that_no_system_can_open_is_listed_and_cut(
    repo: Repository, length: int
) -> None:
    blob = repo.git("rev-parse", "HEAD:README.md")
    names = (b"a" * length, b"b")
    tip = commit_tree(
        repo, create_tree(repo, (f"100644 blob {blob}\t".encode() + n for n in names))
    )
    base = repo.git("rev-parse", "HEAD")
    where = await discovery.find_repository(repo.path)
    found = await commit_diff.compare_commits(where, base, tip)
    assert found.count == 4
    assert {file.path[:1] for file in found.files} == {"R", "s", "a", "b"}
    assert len(json.dumps([file.path for file in found.files])) < 1 << 17
