"""Work is extracted from changed repositories, and with restrictive git configurations."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.client import Para
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]

FORBIDDEN: dict[str, dict[str, str]] = {
    "the file transport": {"protocol.file.allow": "never"},
    "every transport": {"protocol.allow": "never"},
    "its paths": {"url.ssh://nowhere/.insteadOf": "/"},
    "its own refs": {"transfer.hideRefs": "refs/", "uploadpack.hideRefs": "refs/"},
    "packs": {"transfer.unpackLimit": "1", "fetch.prune": "true", "fetch.fsckObjects": "true"},
}


@pytest.mark.parametrize("forbidden", FORBIDDEN)
@pytest.mark.parametrize("objects", ["own", "shared"])
async def test_extraction_works_if_git_configuration_forbids(
    servers: Servers, repo: Repository, api: Any, forbidden: str, objects: str
) -> None:
    for key, value in FORBIDDEN[forbidden].items():
        repo.git("config", "--global", key, value)
    para = await servers(extra={"PARA_GIT_OBJECTS": objects, "GIT_ALLOW_PROTOCOL": "https"})
    for name, end in (("one", "finish"), ("two", "cancel")):
        session = await para.call("para.start", name=name)
        engine.run(api, session["container"]["name"], "echo 1 >a; git add a; git commit -qm a; >b")
        params = {"message": "it"} if end == "finish" else {}
        await para.call(f"para.{end}", name=name, **params)
    assert repo.git("log", "--format=%s", "para/one") == "it\na\nfirst"


# author and committer of invalid commits by old programs
IDENTITY = "A <a@b> 1 +0000"
ODD = {
    "an old time zone": ("A <a@b> 1 +051800", IDENTITY),
    "a time zone without digits": ("A <a@b> 1 EST", IDENTITY),
    "no address": ("A 1 +0000", "A 1 +0000"),
    "no name": (" <a@b> 1 +0000", "<a@b> 1 +0000"),
    "a padded date": ("A <a@b> 01 +0000", IDENTITY),
    "an address in an address": ("A <a<a@b> 1 +0000", IDENTITY),
}


@pytest.mark.parametrize("odd", ODD)
async def test_extraction_keeps_commits_unchanged_with(
    para: Para, repo: Repository, api: Any, odd: str
) -> None:
    author, committer = ODD[odd]
    session = await para.call("para.start", name="w")
    script = (
        "echo 1 >a; git add a; tree=$(git write-tree); "
        f"printf 'tree %s\\nparent %s\\nauthor {author}\\ncommitter {committer}\\n\\nodd\\n' "
        "$tree $(git rev-parse HEAD) | git hash-object -t commit -w --stdin --literally >/tmp/c; "
        "git update-ref HEAD $(cat /tmp/c); echo 2 >b; cat /tmp/c"
    )
    commit = engine.run(api, session["container"]["name"], script).strip()
    await para.call("para.finish", name="w", message="it")
    assert repo.git("rev-parse", "para/w^") == commit


async def test_extraction_keeps_trees_with_padded_modes(
    para: Para, repo: Repository, api: Any
) -> None:
    session = await para.call("para.start", name="w")
    script = (
        "blob=$(echo x | git hash-object -w --stdin | sed 's/../\\\\x&/g'); "
        'tree=$(printf "100644 f\\0$blob" | git hash-object -t tree -w --stdin); '
        "tree=$(printf \"040000 d\\0$(echo $tree | sed 's/../\\\\x&/g')\" "
        "| git hash-object -t tree -w --stdin --literally); "
        "commit=$(git commit-tree -p HEAD -m odd $tree); git reset -q --hard $commit; "
        "echo 2 >b; echo $commit"
    )
    commit = engine.run(api, session["container"]["name"], script).strip()
    await para.call("para.finish", name="w", message="it")
    assert repo.git("rev-parse", "para/w^") == commit


@pytest.mark.parametrize("end", ["finish", "cancel"])
@pytest.mark.parametrize("objects", ["own", "shared"])
async def test_extraction_works_without_the_base_commit(
    servers: Servers, api: Any, tmp_path: Path, repo: Repository, objects: str, end: str
) -> None:
    clone_path = tmp_path / "theirs"
    repo.git("clone", "-q", str(repo.path), str(clone_path))
    clone = Repository(clone_path)
    clone.git("config", "user.name", "Ada")
    clone.git("config", "user.email", "ada@example.org")
    clone.commit(**{"only/here": "old\n", ".gitignore": "only/\n"})
    clone.git("add", "-f", "only/here")
    clone.commit("local")
    para = await servers(folders=[clone_path], extra={"PARA_GIT_OBJECTS": objects})
    session = await para.call("para.start", name="w")
    engine.run(api, session["container"]["name"], "echo work >work; echo new >>README.md")
    shutil.rmtree(clone_path)
    repo.git("clone", "-q", str(repo.path), str(clone_path))
    clone.git("config", "--global", "user.email", "ada@example.org")
    params = {"message": "it"} if end == "finish" else {}
    result = await para.call(f"para.{end}", name="w", **params)
    at = "para/w" if end == "finish" else result["archive"]
    assert clone.show(f"{at}:work") == "work"
    assert clone.show(f"{at}:only/here") == "old"
    assert clone.show(f"{at}:README.md") == "# A repository\nnew"
    clone.git("fsck", "--connectivity-only")
    if objects == "own":
        assert clone.git("cat-file", "-t", session["base"]) == "commit"
    if end == "cancel":
        back = await para.call("para.recover", name="w")
        assert engine.run(api, back["container"]["name"], "cat work") == "work\n"
        await para.call("para.finish", name="w", message="it")
        assert clone.show("para/w:work") == "work"


async def test_clone_has_reachable_refs_and_a_remote_that_explains_itself(
    para: Para, repo: Repository, api: Any
) -> None:
    repo.git("tag", "-am", "one", "v1.0")
    repo.git("update-ref", "refs/remotes/origin/main", "HEAD")
    repo.commit("second", second="2\n")
    repo.git("branch", "ahead", repo.git("commit-tree", "-p", "HEAD", "-m", "x", "HEAD^{tree}"))
    session = await para.call("para.start", name="w")
    container = session["container"]["name"]
    inspect = "git describe; git diff --stat main --; git for-each-ref --format='%(refname)'"
    described, *names = engine.run(api, container, inspect).split()
    assert described.startswith("v1.0-1-g")
    assert names == [
        "refs/heads/main",
        "refs/heads/para/w",
        "refs/remotes/origin/main",
        "refs/tags/v1.0",
    ]
    for refused in ("git fetch", "git push origin HEAD"):
        output = engine.run(api, container, f"{refused} 2>&1 && exit 1; true")
        assert "a session of para has no remote" in output
    engine.run(api, container, "echo 1 >1")
    result = await para.call("para.finish", name="w", message="it")
    assert result["left"] == []
