"""A record that others changed makes para write, remove and mount nothing that is not its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import pytest

from para_server.core.names import is_valid_branch
from tests.client import Para
from tests.hostile import mutations
from tests.hostile.conftest import Bait
from tests.scratch import Repository

COMMIT = "f" * 40
ODD = ("-x", "a b", "a\n", "a\0b", "../../../../x", "HEAD", "--output={0}", f"{COMMIT}\n")
COMMITS = ("base", "head", "target", "finished", "archive", "archiveHead", "archiveTip")
BRANCHES = ("-x", "a b", "a\n", "a\0b", "../../../../x", "--output={0}", "/x", "x/", "x.lock")
FIELDS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(COMMITS, ODD),
    "branch": BRANCHES,
    "targetBranch": BRANCHES,
    "name": ("-x", "a b", "../x", "a\n", "--output={0}"),
    "repo": ("x", "-x", "../x", "a\0b"),
    "common": ("x", "-x", "../x", "/a\0b"),
    "bases": (["../../../.."], ["/etc"], ["x:/etc"], [f"{COMMIT[:16]}-{COMMIT}\n"]),
    "network": ("container:other", "x", "-x"),
    "conversation": ("../../../x", "--output={0}", "a\0b"),
    "id": ("..", "-x", "../x"),
}


@pytest.mark.parametrize("command", ["diff", "stats"])
async def test_a_base_that_is_an_option_writes_no_file(
    servers: Any, repo: Repository, home: Path, bait: Bait, command: str
) -> None:
    para = await servers(extra={"PARA_CONTAINER_ENABLED": "false"})
    await para.call("para.start", name="fix")
    [workspace] = (home / "work").iterdir()
    (workspace / "new").write_text("new\n")
    await para.call("para.finish", name="fix", message="m")
    [file] = (home / "sessions").glob("fix-*.json")
    said = json.loads(file.read_text()) | {"base": f"--output={bait.canary}"}
    file.unlink()
    file.write_text(json.dumps(said))
    failed = await para.fails("store.unreadable", f"para.{command}", name="fix")
    assert str(file) in failed.message
    bait.untouched(repo)


async def test_values_that_para_never_writes_are_of_no_record(
    para: Para, repo: Repository, home: Path, bait: Bait
) -> None:
    good = await para.call("para.start", name="good", type="worktree")
    source = home / "sessions" / f"{good['id']}.json"
    before = repo.refs()
    for field, values in FIELDS.items():
        for value in values:
            odd = [one.format(bait.canary) for one in value] if field == "bases" else value
            odd = odd.format(bait.canary) if isinstance(odd, str) else odd
            said = json.loads(source.read_text()) | {"id": "odd-0a0a0a", "name": "odd"}
            said |= {"state": "running", "doing": "cancel"} | {field: odd}
            file = source.with_name(f"{said['id'].replace('/', '_')}.json")
            file.write_text(json.dumps(said))
            listed = await para.call("para.list", all=True)
            assert [one["id"] for one in listed["sessions"]] == [good["id"]], (field, value)
            await para.call("para.clean")
            assert file.exists()
            file.unlink()
    assert Path(good["workspace"]).is_dir()
    assert repo.refs() == before
    bait.untouched(repo)


async def test_a_session_whose_record_was_changed_comes_back_by_its_copy(
    para: Para, home: Path
) -> None:
    good = await para.call("para.start", name="good", type="worktree")
    file = home / "sessions" / f"{good['id']}.json"
    said = json.loads(file.read_text()) | {"branch": "../../x"}
    file.unlink()
    file.write_text(json.dumps(said))
    found = {one["name"]: one for one in (await para.call("para.doctor"))["checks"]}
    assert not found["records"]["ok"]
    back = await para.call("para.recover", name="good")
    assert back["branch"] == good["branch"]


def test_what_git_takes_for_a_branch_is_one_and_nothing_else() -> None:
    chance = Random(1)  # noqa: S311 # no secret
    tried = [
        "a",
        "a/b",
        "@",
        "a@{b",
        "a.lock",
        "a.lock/b",
        ".a",
        "a/.b",
        "a.",
        "a..b",
        "é",
        "a\x7f",
    ]
    tried += [
        mutations.mutated(chance, b"para/a.lock", 40).replace(b"\0", b"").decode(errors="ignore")
        for _ in range(200)
    ]
    for name in tried:
        git = ["git", "check-ref-format", f"refs/heads/{name}"]
        taken = subprocess.run(git, check=False).returncode == 0
        assert is_valid_branch(name) == (taken and not name.startswith("-")), name
