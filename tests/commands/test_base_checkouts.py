"""Base checkouts: sessions share their files, and unused ones are evicted."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from para_server.core.settings import EngineSettings
from para_server.engine import podman
from para_server.engine.endpoint import find_address
from para_server.host.filesystem import remove_tree
from tests import engine
from tests.client import Para, eventually
from tests.front import WITHOUT_TLS, Front
from tests.leftovers import leftovers, settled
from tests.scratch import Repository

STUMBLES = """
git mv src moved; mkfifo moved/pipe; git init -q moved/lib; echo nested >moved/lib/file
rm README.md; mkfifo README.md; rm -r docs; rm gone
"""
SHARED = {"PARA_GIT_SHARE_FROM": "0"}
LIST = """
find . -mindepth 1 -path ./.git -prune -o -printf '%P %y %m %l\\n' | sort | cat -v
git status --porcelain
find . -name .git -prune -o -type f -print0 | sort -z | xargs -0 sha256sum | cat -v
"""


@pytest_asyncio.fixture
async def sharing(api: Any, servers: Callable[..., Awaitable[Para]]) -> Para:
    assert api.ping()
    return await servers(extra=SHARED)


def bases(home: Path) -> dict[str, Any]:
    """Return the manifests of the base checkouts by commit."""
    found = [json.loads(file.read_text()) for file in (home / "bases").glob("*/base.json")]
    return {base["commit"]: base for base in found}


def inside(api: Any, session: dict[str, Any], script: str) -> str:
    return engine.run(api, session["container"]["name"], script)


async def test_sessions_share_files_and_see_nothing_of_each_other(
    sharing: Para, repo: Repository, api: Any, home: Path
) -> None:
    one = await sharing.call("para.start", name="one")
    two = await sharing.call("para.start", name="two")
    assert list(bases(home)) == [one["base"]]
    inside(api, one, "echo changed >README.md && rm src/app.py && git mv src/app.py x || true")
    inside(api, one, "rm -rf src && mkdir src && echo new >src/new && git add -A")
    assert inside(api, two, "git status --porcelain && cat README.md src/app.py") == (
        "# A repository\nprint(1)\n"
    )
    inside(api, two, "git mv src moved && git status --porcelain")  # a folder in one step
    for name in ("one", "two"):
        await sharing.call("para.finish", name=name, message="work")
    assert repo.git("ls-tree", "-r", "--name-only", "para/one").split() == ["README.md", "src/new"]
    assert repo.git("show", "para/one:README.md") == "changed"
    assert repo.git("ls-tree", "-r", "--name-only", "para/two").split() == [
        "README.md",
        "moved/app.py",
    ]
    (base,) = (home / "bases").glob("*/files")
    assert (base / "README.md").read_text() == "# A repository\n"
    assert leftovers(api, home, repo) == []


async def test_sessions_share_on_an_engine_at_an_address_that_has_this_machine_s_files(
    servers: Callable[..., Awaitable[Para]], repo: Repository, api: Any, home: Path
) -> None:
    before = Front(find_address(EngineSettings(), os.environ))
    address = WITHOUT_TLS | {"DOCKER_HOST": f"tcp://127.0.0.1:{before.on_port()}"}
    para = await servers(extra=SHARED | address)
    session = await para.call("para.start", name="fix")
    assert list(bases(home)) == [session["base"]]
    inside(api, session, "echo new >>README.md")
    await para.call("para.finish", name="fix", message="work")
    assert repo.git("show", "para/fix:README.md") == "# A repository\nnew"
    assert leftovers(api, home, repo) == []


CHANGES: dict[str, str] = {
    "files that are added, changed and gone": "echo n >n; echo c >>b/one; rm a/only",
    "a folder that is gone": "rm -r b",
    "a file in place of a folder": "rm -r b; echo f >b",
    "a folder in place of a file": "rm top; mkdir -p top/deep; echo f >top/deep/file",
    "a link in place of a folder": "rm -r b; ln -s a b",
    "a link that is a file now": "rm link; echo f >link",
    "a file that may be run now": "chmod +x top",
    "another case": "git mv top TOP",
    "other rules": "echo '*.txt text eol=crlf' >.gitattributes",
    "rules of a folder": "echo '* text eol=crlf' >b/.gitattributes",
    "strange names": "printf x >'a b\n\tc'; printf y >$'\\xff'; mkdir -- -d; echo z >-- '-d/\"'",
    "a submodule in place of a folder": "git rm -rq b; git init -q b; cd b; git -c user.name=a"
    " -c user.email=a commit -q --allow-empty -m x; cd ..",
}


@pytest.fixture
def near() -> Iterator[Path]:
    """Return a PARA_HOME with a short path, because some engines limit mount options."""
    folder = Path(tempfile.mkdtemp(prefix="p"))
    yield folder / "home"
    remove_tree(folder)  # with what overlays left in it, which may be nobody's to open


@pytest.mark.parametrize("change", CHANGES)
async def test_layered_base_checkout_equals_a_clone(
    change: str,
    near: Path,
    servers: Callable[..., Awaitable[Para]],
    repo: Repository,
    api: Any,
) -> None:
    there = {"PARA_HOME": str(near)}
    sharing, alone = await servers(extra=SHARED | there), await servers(extra=there)
    many = {f"many/{n}.txt": f"{n}\n" for n in range(60)}
    repo.commit(**many, **{"a/only": "1\n", "b/one": "1\n", "b/c/two": "2\n", "top": "t\n"})
    (repo.path / "link").symlink_to("top")
    first = repo.commit()
    await sharing.call("para.start", name="first")
    changed = await asyncio.create_subprocess_exec("bash", "-ec", CHANGES[change], cwd=repo.path)
    assert await changed.wait() == 0
    second = repo.commit()
    layered = await sharing.call("para.start", name="layered")
    plain = await alone.call("para.start", name="plain")
    try:
        assert inside(api, layered, LIST) == inside(api, plain, LIST)
        rules = "rules" in change or "submodule" in change
        assert len(bases(near)[second]["layers"]) == (1 if rules else 2)
        assert len(bases(near)[first]["layers"]) == 1
    finally:
        engine.clear(api, near)


async def test_concurrent_dispatches_create_one_base_checkout(
    api: Any, servers: Callable[..., Awaitable[Para]], home: Path
) -> None:
    assert api.ping()
    paras = [await servers(extra=SHARED), await servers(extra=SHARED)]
    starts = [paras[n % 2].call("para.start", name=f"s{n}") for n in range(4)]
    sessions = await asyncio.gather(*starts)
    assert {session["state"] for session in sessions} == {"running"}
    assert len(bases(home)) == 1
    assert list((home / "scratch").iterdir()) == []


async def test_unused_base_checkouts_are_evicted_over_the_limit(
    servers: Callable[..., Awaitable[Para]], repo: Repository, api: Any, home: Path
) -> None:
    para = await servers(extra=SHARED | {"PARA_GIT_MAX_BASES": "1k"})
    old = await para.call("para.start", name="old")
    await para.call("para.pause", name="old")
    repo.commit(**{"README.md": "2\n", "src/app.py": "2\n"})
    await para.call("para.start", name="new")
    assert len(bases(home)) == 2
    await para.call("para.cancel", name="new")
    await para.call("para.clean")
    assert list(bases(home)) == [old["base"]]
    again = await para.call("para.resume", name="old")
    assert inside(api, again, "cat README.md") == "# A repository\n"
    await para.call("para.cancel", name="old")
    result = await para.call("para.clean", dryRun=True)
    # images were created for the ids of this user, if it is not root
    kinds = [what.partition(" ")[0] for what in result["removed"]]
    assert kinds in (["base"], ["image", "base"])
    assert (await para.call("para.clean"))["removed"] == result["removed"]
    assert bases(home) == {}


async def test_saved_session_needs_no_volume(
    sharing: Para, repo: Repository, api: Any, home: Path
) -> None:
    session = await sharing.call("para.start", name="fix")
    inside(api, session, "echo work >work")
    await sharing.call("para.pause", name="fix")
    (volume,) = engine.volumes(api, home)
    api.remove_volume(volume)  # as `docker volume prune` does
    assert (await sharing.call("para.diff", name="fix"))["files"][0]["path"] == "work"
    await sharing.call("para.resume", name="fix")
    await sharing.call("para.finish", name="fix", message="work")
    assert repo.git("show", "para/fix:work") == "work"
    assert leftovers(api, home, repo) == []


SWAPS: dict[str, str] = {
    "files": "mv a/f t && mv b/f a/f && mv t b/f",
    "folders": "mv a t && mv b a && mv t b",
}


@pytest.mark.parametrize("swap", SWAPS)
async def test_swapped_files_of_equal_size_are_changes(
    swap: str, sharing: Para, repo: Repository, api: Any
) -> None:
    repo.commit(**{"a/f": "1\n", "b/f": "2\n"})  # alike in size and time, like all of a checkout
    session = await sharing.call("para.start", name="fix")
    inside(api, session, SWAPS[swap])
    assert inside(api, session, "git status --porcelain").split() == ["M", "a/f", "M", "b/f"]
    done = await sharing.call("para.finish", name="fix", message="swapped")
    assert done["files"] == 2
    assert (repo.show("para/fix:a/f"), repo.show("para/fix:b/f")) == ("2", "1")


async def test_first_status_of_shared_files_opens_only_the_top_folder(
    sharing: Para, repo: Repository, api: Any
) -> None:
    repo.commit(**{f"d{n}/f": "x\n" for n in range(100)})
    session = await sharing.call("para.start", name="fix")
    output = inside(
        api, session, "GIT_TRACE2_PERF=1 git --no-optional-locks status --porcelain 2>&1"
    )
    assert "opendir:1\n" in output, output
    inside(api, session, "echo new >d7/new && echo new >new")
    assert inside(api, session, "git status --porcelain").split() == ["??", "d7/new", "??", "new"]


async def test_pipes_among_shared_files_do_not_block_git(
    sharing: Para, repo: Repository, api: Any, home: Path
) -> None:
    repo.commit(**{"docs/one": "1\n", "gone": "1\n", "stays": "1\n"})
    session = await sharing.call("para.start", name="fix")
    inside(api, session, STUMBLES)
    assert "gone" not in inside(api, session, "ls")
    await sharing.call("para.finish", name="fix", message="work")
    taken = ["moved/app.py", "moved/lib/file", "stays"]
    assert repo.git("ls-tree", "-r", "--name-only", "para/fix").split() == taken
    await settled(home)
    assert leftovers(api, home, repo) == []


async def test_recovered_changes_stay_uncommitted(sharing: Para, api: Any) -> None:
    session = await sharing.call("para.start", name="fix")
    inside(api, session, "echo 1 >one && git add one && git commit -qm one && echo 2 >two")
    inside(api, session, "rm README.md")
    await sharing.call("para.cancel", name="fix")
    back = await sharing.call("para.recover", name="fix")
    assert inside(api, back, "git status --porcelain").split() == ["D", "README.md", "??", "two"]
    assert inside(api, back, "git log --format=%s").split() == ["one", "first"]


async def test_server_killed_during_a_base_checkout_leaves_nothing(
    servers: Callable[..., Awaitable[Para]], repo: Repository, api: Any, home: Path
) -> None:
    repo.commit(**{f"many/{n}": "x" * 100 for n in range(3000)})
    para = await servers(extra=SHARED)
    await para.call("para.start", name="warm", base="HEAD~1")  # the engine has been tried
    para.send("para.start", [{"name": "fix"}])

    async def writing() -> list[Path]:
        return list((home / "scratch").glob("fix-*/files/many"))

    await eventually(writing, bool)
    para.kill()
    again = await servers(extra=SHARED)

    async def left() -> list[str]:
        return leftovers(api, home, repo)

    await eventually(left, lambda found: found == [])
    session = await again.call("para.start", name="fix")
    assert inside(api, session, "ls many | wc -l; git status --porcelain").strip() == "3000"


async def test_unusable_mount_path_gives_each_session_its_own_files(
    servers: Callable[..., Awaitable[Para]], repo: Repository, api: Any, tmp_path: Path
) -> None:
    home = tmp_path / "a,b"
    para = await servers(extra=SHARED | {"PARA_HOME": str(home)})
    if podman.is_podman(api):
        refused = await para.fails("engine.refused", "para.start", name="fix")
        assert f"cannot mount {home}" in refused.message
        return
    try:
        session = await para.call("para.start", name="fix")
        assert (Path(session["workspace"]) / "README.md").is_file()
        await para.call("para.cancel", name="fix")
        assert leftovers(api, home, repo) == []
    finally:
        engine.clear(api, home)
