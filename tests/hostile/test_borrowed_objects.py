"""What a repository's alternates name is lent to sessions where it is an object store alone."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests import engine
from tests.client import Para
from tests.hostile.conftest import Bait
from tests.scratch import Repository


async def test_a_folder_that_is_no_object_store_is_lent_to_no_session(
    para: Para, repo: Repository, api: Any, bait: Bait
) -> None:
    private = bait.secret.parent / "private"
    private.mkdir()
    (private / "pack").mkdir()
    (private / "key").write_text(bait.text)
    named = b"\n".join(
        (os.fsencode(private), b"/etc", b"../../..", b"\xff\xfe", b"/proc/self/fd", b"#", b"/")
    )
    (repo.path / ".git/objects/info/alternates").write_bytes(named + b"\n")
    session = await para.call("para.start", name="fix")
    inspected = api.inspect_container(session["container"]["id"])
    sources = {mount["Source"] for mount in inspected["Mounts"]}
    assert str(repo.path / ".git/objects") in sources
    assert not {str(private), "/etc", "/", str(repo.path)} & sources
    seen = engine.run(api, session["container"]["name"], f"ls {private} 2>&1 || true")
    assert "key" not in seen
    await para.call("para.cancel", name="fix")


@pytest.mark.parametrize("layers", [1, 3])
async def test_an_object_store_that_is_borrowed_is_lent(
    para: Para, repo: Repository, api: Any, layers: int
) -> None:
    borrower = repo
    for number in range(layers):
        path = repo.path.parent / f"borrower{number}"
        borrower.git("clone", "-q", "--shared", str(borrower.path), str(path))
        borrower = Repository(path)
    session = await para.call("para.start", name="fix", repo=str(borrower.path))
    log = engine.run(api, session["container"]["name"], "git fsck --no-dangling; git log --oneline")
    assert "first" in log
    await para.call("para.cancel", name="fix", repo=str(borrower.path))
