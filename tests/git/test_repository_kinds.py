"""Sessions work in all kinds of repositories."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import engine, scratch
from tests.client import Para, eventually
from tests.scratch import Repository

WORK = (
    "echo one > one.txt; git add -A; git commit -qm 'by the agent'; echo more >> README.md; "
    "echo two > two.txt"
)
FILES = 50_000

Servers = Callable[..., Awaitable[Para]]


def plain(path: Path) -> Repository:
    return scratch.make(path)


def without_identity(path: Path) -> Repository:
    repo = scratch.make(path)
    repo.git("config", "--unset", "user.name")
    repo.git("config", "--unset", "user.email")
    return repo


def with_submodule(path: Path) -> Repository:
    library = scratch.make(path.with_name("library"))
    repo = scratch.make(path)
    allowed = ("-c", "protocol.file.allow=always")
    repo.git(*allowed, "submodule", "--quiet", "add", str(library.path), "lib")
    repo.commit("with a submodule")
    return repo


def detached(path: Path) -> Repository:
    repo = scratch.make(path)
    repo.commit("second", second="2\n")
    repo.git("checkout", "-q", "--detach", "HEAD")
    repo.commit("on no branch", third="3\n")
    return repo


def with_a_branch_like_an_option(path: Path) -> Repository:
    repo = scratch.make(path)
    repo.git("update-ref", "refs/heads/-x", repo.commit("second", second="2\n"))
    return repo


def linked(path: Path) -> Repository:
    main = scratch.make(path.with_name("main"))
    main.git("worktree", "add", "-q", "-b", "linked", str(path))
    return Repository(path)


def cloned(path: Path, *options: str) -> Repository:
    origin = scratch.make(path.with_name("origin"))
    origin.commit("second", **{"src/app.py": "print(2)\n"})
    origin.git("config", "uploadpack.allowFilter", "true")
    origin.git("clone", "-q", *options, origin.path.as_uri(), str(path))
    repo = Repository(path)
    repo.git("config", "user.name", "Ada")
    repo.git("config", "user.email", "ada@example.org")
    return repo


def shallow(path: Path) -> Repository:
    return cloned(path, "--depth=1")


def partial(path: Path) -> Repository:
    return cloned(path, "--filter=blob:none")


def borrowing(path: Path) -> Repository:
    lender = scratch.make(path.with_name("a lender"))
    lender.git("clone", "-q", "--shared", str(lender.path), str(path))
    return Repository(path)


def borrowing_from_one_that_borrows(path: Path) -> Repository:
    between = borrowing(path.with_name("between"))
    between.git("clone", "-q", "--shared", str(between.path), str(path))
    return Repository(path)


def dirty(path: Path) -> Repository:
    repo = scratch.make(path)
    repo.write("README.md", "staged\n")
    repo.git("add", "README.md")
    repo.write("README.md", "staged, and changed again\n")
    repo.write("new.txt", "untracked\n")
    (path / "src/app.py").unlink()
    return repo


def of_sha256(path: Path) -> Repository:
    path.mkdir(parents=True)
    repo = Repository(path)
    repo.git("init", "-q", "-b", "main", "--object-format=sha256")
    repo.git("config", "user.name", "Ada")
    repo.git("config", "user.email", "ada@example.org")
    repo.commit("first", **{"README.md": "# A repository\n"})
    return repo


def packed(path: Path) -> Repository:
    repo = scratch.make(path)
    repo.git("gc", "-q")
    repo.git("pack-refs", "--all")
    return repo


def large(path: Path) -> Repository:
    repo = scratch.make(path)
    for n in range(FILES):
        repo.write(f"{n % 100}/{n}.txt", f"{n}\n")
    repo.commit("many files")
    return repo


@dataclass(frozen=True)
class RepositoryKind:
    """A kind of repository: how and where it is created, with parameters and settings."""

    make: Callable[[Path], Repository]
    folder: str = "theirs"
    params: dict[str, object] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)


OWN = {"PARA_GIT_OBJECTS": "own"}
REPOSITORY_KINDS = {
    "with_blanks_and_other_letters_in_its_path": RepositoryKind(
        plain, "ein schöner, 'neuer' Ort/日本 "
    ),
    "without_a_git_identity": RepositoryKind(without_identity),
    "with_a_submodule": RepositoryKind(with_submodule),
    "with_a_detached_head": RepositoryKind(detached),
    "with_a_base_that_looks_like_an_option": RepositoryKind(
        with_a_branch_like_an_option, params={"base": "-x"}
    ),
    "that_is_a_linked_worktree": RepositoryKind(linked),
    "that_is_shallow": RepositoryKind(shallow),
    "that_is_partial": RepositoryKind(partial),
    "that_borrows_objects": RepositoryKind(borrowing),
    "that_borrows_from_one_that_borrows": RepositoryKind(borrowing_from_one_that_borrows),
    "with_a_dirty_work_tree": RepositoryKind(dirty),
    "of_sha256": RepositoryKind(of_sha256),
    "that_is_packed": RepositoryKind(packed),
    "whose_objects_are_copied": RepositoryKind(plain, extra=OWN),
    "whose_objects_are_copied_and_borrowed": RepositoryKind(borrowing, extra=OWN),
    "whose_objects_are_copied_and_shallow": RepositoryKind(shallow, extra=OWN),
    "of_sha256_whose_objects_are_copied": RepositoryKind(of_sha256, extra=OWN),
}


async def run_session_lives(servers: Servers, kind: RepositoryKind, tmp_path: Path) -> None:
    """Dispatch and finish a session, and cancel, recover and finish another."""
    repo = kind.make(tmp_path / kind.folder)
    before, refs = repo.fingerprint(), repo.refs()
    para = await servers(folders=[repo.path], extra=kind.extra)
    for name in ("one", "two"):
        session = await para.call("para.dispatch", prompt=WORK, name=name, **kind.params)
        await para.agent(name, "done")
    await para.call("para.cancel", name="two")
    assert set(repo.refs()) - set(refs) == {
        f"refs/para/base/{(await para.call('para.show', name='one'))['id']}",
        f"refs/para/archive/{session['id']}",
    }
    recovered = await para.call("para.recover", name="two")
    assert (recovered["state"], recovered["branch"]) == ("running", "para/two")
    for name in ("one", "two"):
        result = await para.call("para.finish", name=name, message="the rest")
        branch = f"para/{name}"
        assert result["branch"] == branch
        assert result["files"] == 3, result
        assert repo.git("log", "-2", "--format=%s", branch) == "the rest\nby the agent"
        assert (repo.show(f"{branch}:one.txt"), repo.show(f"{branch}:two.txt")) == ("one", "two")
        assert repo.show(f"{branch}:README.md").endswith("\nmore")
        changed = set(repo.git("diff", "--name-only", f"{session['base']}..{branch}").split())
        assert changed == {"one.txt", "two.txt", "README.md"}
        repo.git("fsck", "--connectivity-only", branch)
    assert repo.fingerprint() == before
    added = {ref: at for ref, at in repo.refs().items() if refs.get(ref) != at}
    assert set(added) - {f"refs/para/archive/{session['id']}"} == {
        "refs/heads/para/one",
        "refs/heads/para/two",
    }


@pytest.mark.parametrize("kind", REPOSITORY_KINDS.values(), ids=REPOSITORY_KINDS)
async def test_life_of_sessions_leaves_only_branches_in_a_repository(
    servers: Servers, api: Any, home: Path, tmp_path: Path, kind: RepositoryKind
) -> None:
    await run_session_lives(servers, kind, tmp_path)
    assert not engine.containers(api, home)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_life_of_sessions_leaves_only_branches_in_a_repository_of_many_files(
    servers: Servers, api: Any, home: Path, tmp_path: Path
) -> None:
    await run_session_lives(servers, RepositoryKind(large), tmp_path)
    assert not engine.containers(api, home)


async def test_partial_clone_without_files_of_the_base_commit_is_refused(
    servers: Servers, api: Any, home: Path, tmp_path: Path
) -> None:
    repo = partial(tmp_path / "theirs")
    before, refs = repo.fingerprint(), repo.refs()
    para = await servers(folders=[repo.path])
    failed = await para.fails("workspace.git-failed", "para.dispatch", prompt="true", base="HEAD~1")
    assert "partial clone" in failed.message
    assert failed.remedies
    assert (repo.fingerprint(), repo.refs()) == (before, refs)
    assert not engine.containers(api, home)


async def test_two_repositories_can_have_sessions_of_the_same_name(
    servers: Servers, api: Any, home: Path, tmp_path: Path
) -> None:
    repos = [plain(tmp_path / "one" / "repo"), plain(tmp_path / "two" / "repo")]
    para = await servers(folders=[repo.path for repo in repos])
    for n, repo in enumerate(repos):
        where = str(repo.path)
        await para.call("para.dispatch", prompt=f"echo {n} >n", name="same", repo=where)
    for n, repo in enumerate(repos):
        where = str(repo.path)

        async def state(where: str = where) -> str:
            session = await para.call("para.show", name="same", repo=where)
            return str(session["agent"]["state"])

        await eventually(state, lambda seen: seen == "done")
        await para.call("para.finish", name="same", repo=where, message="it")
        assert repo.show("para/same:n") == str(n)
    assert not engine.containers(api, home)


async def test_session_of_a_moved_repository_is_listed_and_ends_after_the_return(
    para: Para, repo: Repository, tmp_path: Path
) -> None:
    await para.call("para.start", name="orphan")
    shutil.move(repo.path, tmp_path / "moved")
    listed = await para.call("para.list")
    assert [one["name"] for one in listed["sessions"]] == ["orphan"]
    shutil.move(tmp_path / "moved", repo.path)
    assert (await para.call("para.cancel", name="orphan"))["archive"] is None
