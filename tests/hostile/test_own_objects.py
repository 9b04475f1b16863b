"""A session with objects of its own gets no others, also where it knows what they are called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests import engine
from tests.client import Para
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
OWN, SHARED = {"PARA_GIT_OBJECTS": "own"}, {"PARA_GIT_OBJECTS": "shared"}
WORK = "echo work >work.txt"
# ways to name an object of the repository that the session has not
WAYS = {
    "a branch": "echo {commit} >.git/refs/heads/stolen",
    "what is checked out": "echo {commit} >.git/HEAD",
    "a stash": "mkdir -p .git/logs/refs; echo {commit} >.git/refs/stash; "
    "echo {zero} {commit} a '<a@b>' 1 +0000 >.git/logs/refs/stash",
    "a parent": "c=$(printf 'tree %s\\nparent {commit}\\nauthor a <a@b> 1 +0000\\n"
    "committer a <a@b> 1 +0000\\n\\nx\\n' $(git rev-parse HEAD^{{tree}}) | "
    "git hash-object -t commit -w --stdin --literally); git update-ref HEAD $c || "
    "echo $c >.git/refs/heads/para/thief",
    "a file": "t=$(printf '100644 blob {blob}\\tstolen\\n' | git mktree --missing); "
    "c=$(git commit-tree $t -p HEAD -m x); git update-ref refs/heads/para/thief $c",
    "the index": "git update-index --add --cacheinfo 100644,{blob},stolen; "
    "git update-index --skip-worktree stolen",
    "further stores": "mkdir -p .git/objects/info; "
    "echo {store} >.git/objects/info/alternates; echo {commit} >.git/HEAD",
}


@pytest.mark.parametrize("way", WAYS.values(), ids=[way.replace(" ", "-") for way in WAYS])
async def test_no_commit_that_is_known_by_its_hash_is_brought_out(
    servers: Servers, repo: Repository, api: Any, way: str
) -> None:
    base = repo.git("rev-parse", "HEAD")
    repo.git("switch", "-q", "-c", "private")
    secret = repo.commit("private", private="of the host\n")
    blob = repo.git("rev-parse", f"{secret}:private")
    repo.git("switch", "-q", "main")
    para = await servers(extra=OWN)
    session = await para.call("para.start", name="thief")
    container = session["container"]["id"]
    store = repo.path / ".git/objects"
    script = way.format(commit=secret, blob=blob, store=store, zero="0" * 40)
    engine.run(api, container, f"({script}) || true; {WORK}")
    patch = await para.call("para.diff", name="thief")
    assert "of the host" not in str(patch)
    cancelled = await para.call("para.cancel", name="thief")
    reached = repo.git("rev-list", "--objects", cancelled["archive"]).split()
    assert base in reached
    assert not {secret, blob} & set(reached)
    assert repo.show(f"{cancelled['archive']}:work.txt") == "work"
    again = await para.call("para.recover", name="thief")
    asked = f"(git cat-file -p {secret} || git cat-file -p {blob}) 2>/dev/null || echo not there"
    assert engine.run(api, again["container"]["id"], asked) == "not there\n"
    finished = await para.call("para.finish", name="thief", message="work")
    assert not {secret, blob} & set(repo.git("rev-list", "--objects", finished["commit"]).split())


async def test_a_session_has_what_it_began_with_whatever_the_setting_says_later(
    servers: Servers, repo: Repository, api: Any
) -> None:
    para, later = await servers(extra=OWN), await servers(extra=SHARED)
    store = repo.path / ".git/objects"
    for name in ("saved", "over"):
        session = await para.call("para.start", name=name)
        engine.run(api, session["container"]["id"], WORK)
    await para.call("para.pause", name="saved")
    await para.call("para.cancel", name="over")
    for command, name in (("para.resume", "saved"), ("para.recover", "over")):
        session = await later.call(command, name=name)
        look = f"test -e {store} && echo lent || echo apart"
        assert engine.run(api, session["container"]["id"], look) == "apart\n"
        await later.call("para.finish", name=name, message="work")
        assert repo.show(f"para/{name}:work.txt") == "work"


async def test_files_come_out_where_a_session_lost_its_objects(
    servers: Servers, repo: Repository, api: Any
) -> None:
    para = await servers(extra=OWN)
    session = await para.call("para.start", name="fix")
    engine.run(api, session["container"]["id"], f"{WORK}; rm -rf .git/objects/pack .git/objects/??")
    finished = await para.call("para.finish", name="fix", message="work")
    assert repo.show("para/fix:work.txt") == "work"
    assert repo.git("log", "--format=%s", finished["commit"]) == "work\nfirst"
