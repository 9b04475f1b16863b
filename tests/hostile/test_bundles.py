"""What comes out of a helper container is judged before any of it is used."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from para_server.context import Context
from para_server.core.errors import ParaError
from para_server.core.models import State
from para_server.core.records import Record
from para_server.git import discovery
from para_server.sessions import extract
from para_server.store import Store
from tests.hostile.conftest import Bait
from tests.hostile.test_traps import on_host
from tests.scratch import Repository

SECONDS = "3"
# makes $OUT/bundle of one honest commit on $BASE, and $OUT/result, which claims it
HONEST = """
git clone -q "$REPO" "$OUT/work"; cd "$OUT/work"
git config user.name a; git config user.email a@b
echo honest work > work.txt; git add -A; git commit -qm honest
pack() {
    git update-ref refs/para/tip "$1"; git update-ref refs/para/keep "$1"
    git bundle create -q "$OUT/bundle" refs/para/tip refs/para/keep "^$BASE"
    echo "$1 $1 $1 0" > "$OUT/result"
}
pack "$(git rev-parse HEAD)"
cd "$OUT"
"""
SPOILT = {
    "no_bundle": "rm bundle",
    "garbage": "head -c 100000 /dev/urandom > bundle",
    "garbage_after_its_head": "truncate -s 200 bundle; head -c 100000 /dev/urandom >> bundle",
    "cut_short": "truncate -s -20 bundle",
    "huge": "truncate -s 300G bundle",
    "an_endless_line": "truncate -s 0 bundle; truncate -s 300G bundle",
    "endless_refs": '(head -n 1 bundle; yes "$BASE refs/para/x" | head -c 1G) > b; mv b bundle',
    "a_pipe": "rm bundle; mkfifo bundle",
    "a_link": "mv bundle b; ln -s b bundle",
    "a_folder": "rm bundle; mkdir bundle",
    "another_commit_than_it_claims": "sed -i 's/./0/g' result; echo \"$BASE\" | tr a-f 0 > result",
    "a_commit_of_another_branch": "echo $OTHER_COMMIT $OTHER_COMMIT $OTHER_COMMIT 0 > result",
    "a_head_that_is_elsewhere": "read -r tip rest < result; echo $tip $tip $HIDDEN 0 > result",
    "no_claim": "rm result",
    "a_claim_that_is_a_link": 'ln -sf "$SECRET" result',
    "a_claim_that_is_a_pipe": "rm result; mkfifo result",
    "a_huge_claim": "truncate -s 300G result",
    "a_claim_of_options": "echo --upload-pack=x --all -x 0 > result",
    "an_unsound_commit": (
        "cd work; tree=$(git rev-parse HEAD^{tree});"
        " pack $(printf 'tree %s\\nparent %s\\nauthor <> 1\\n\\nx' $tree $BASE"
        " | git hash-object -t commit -w --stdin --literally)"
    ),
    "a_tree_with_a_git_folder": (
        "cd work; blob=$(git hash-object -w work.txt); tree=$(printf '100644 blob %s\\tconfig\\n'"
        " $blob | git mktree); tree=$(printf '40000 .git\\0%b' $(echo $tree | sed 's/../\\\\x&/g')"
        " | git hash-object -t tree -w --stdin --literally);"
        " pack $(git commit-tree $tree -p $BASE -m x)"
    ),
    "missing_objects": (
        "cd work; tree=$(printf '100644 blob %040d\\tx\\n' 7 | git mktree --missing);"
        " commit=$(git commit-tree $tree -p $BASE -m x);"
        " echo $commit | git pack-objects -q --stdout > ../pack;"
        " echo $commit $commit $commit 0 > ../result;"
        " (printf '# v2 git bundle\\n-%s \\n%s refs/para/tip\\n%s refs/para/keep\\n\\n'"
        " $BASE $commit $commit; cat ../pack) > ../bundle"
    ),
}


def record_of(repo: Repository) -> Record:
    now = datetime.now(UTC)
    return Record(
        id="trap-000000",
        name="trap",
        type="container",
        state=State.RUNNING,
        repo=str(repo.path),
        base=repo.git("rev-parse", "HEAD"),
        branch="para/trap",
        created_at=now,
        updated_at=now,
    )


async def judged(home: Path, repo: Repository, bait: Bait, spoil: str) -> extract.Extracted:
    record = record_of(repo)
    hidden = repo.git("commit-tree", "HEAD^{tree}", "-m", "of the user alone")
    repo.git("update-ref", "refs/heads/hidden", hidden)
    store = Store(home)
    context = Context(
        store=store,
        config_home=home,
        engine_of=_no_engine,
        environ={"PARA_GIT_MAX_SECONDS": SECONDS},
    )
    scratch = store.make_scratch_folder(record.id)
    here = f"export OUT='{scratch}' REPO='{repo.path}' BASE={record.base} HIDDEN={hidden}; set -e;"
    made = on_host(f"{here}{HONEST}{spoil}", scratch, bait)
    assert made.code == 0, made
    where = await discovery.find_repository(repo.path)
    return await extract._verify(context, where, record, scratch, record.base)


def _no_engine(_settings: Any) -> Any:
    raise AssertionError("nobody needs the engine for that")


async def test_an_honest_bundle_is_taken(home: Path, repo: Repository, bait: Bait) -> None:
    taken = await judged(home, repo, bait, "")
    assert repo.show(f"{taken.tip}:work.txt") == "honest work"


@pytest.mark.parametrize("spoil", SPOILT)
async def test_a_bundle_is_refused_that_is_or_has(
    home: Path, repo: Repository, bait: Bait, spoil: str
) -> None:
    before = repo.fingerprint()
    with pytest.raises(ParaError) as caught:
        await asyncio.wait_for(judged(home, repo, bait, SPOILT[spoil]), 60)
    assert caught.value.slug == "workspace.git-failed"
    bait.untouched(repo, str(caught.value), caught.value.problem)
    assert set(repo.refs("refs/heads")) == {"refs/heads/main", "refs/heads/hidden"}
    assert repo.fingerprint() == before
    assert not list((repo.path / ".git").rglob("*.lock"))
    assert not list((repo.path / ".git").rglob("tmp_*"))
    assert not [one for one in Path("/proc").glob("[0-9]*/cmdline") if _at_work(one, home)]


def _at_work(command_line: Path, home: Path) -> bool:
    try:
        return str(home).encode() in command_line.read_bytes()
    except OSError:
        return False
