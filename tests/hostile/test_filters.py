"""The user's own content filters reach no file of the host, and get nothing a session wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.hostile.conftest import Bait
from tests.scratch import Repository

SHARED = pytest.mark.parametrize("share_from", ["0", "1000000"], ids=["shared files", "a clone"])


@pytest.fixture
def filtered(repo: Repository, tmp_path: Path) -> Path:
    """Configure a filter of the user's own for `*.key`; gives the file that it writes to."""
    runs = tmp_path / "runs"
    script = tmp_path / "smudge"
    script.write_text(f'#!/bin/sh\necho "$1" >>{runs}\ncat\n')
    script.chmod(0o755)
    repo.git("config", "--global", "filter.own.smudge", f"{script} %f")
    return runs


def ran_on(runs: Path) -> set[str]:
    """Name the files that the filter was run on."""
    return set(runs.read_text().split()) if runs.exists() else set()


@SHARED
async def test_a_link_that_asks_for_a_filter_says_nothing_of_the_file_that_it_leads_to(
    servers: Any, repo: Repository, api: Any, bait: Bait, filtered: Path, share_from: str
) -> None:
    (repo.path / "link.key").symlink_to(bait.secret)
    (repo.path / "gone.key").symlink_to(bait.canary)
    repo.commit(**{".gitattributes": "*.key filter=own\n", "real.key": "real\n"})
    para = await servers(extra={"PARA_GIT_SHARE_FROM": share_from})
    session = await para.call("para.start", name="fix")
    seen = engine.run(
        api,
        session["container"]["name"],
        "tr '\\0' '\\n' <.git/para-filtered; find -name '*.key' -printf '%l '",
    )
    known = {repo.git("hash-object", "--no-filters", str(bait.secret))}
    assert not known & set(seen.split()), "a session was given the hash of a file of the host"
    assert str(bait.secret) in seen.split()
    assert "link.key" not in seen.split()
    assert ran_on(filtered) == {"real.key"}


@SHARED
async def test_what_a_session_wrote_is_given_to_no_filter_when_it_comes_back(
    servers: Any, repo: Repository, api: Any, filtered: Path, share_from: str
) -> None:
    para = await servers(extra={"PARA_GIT_SHARE_FROM": share_from})
    session = await para.call("para.start", name="fix")
    engine.run(
        api,
        session["container"]["name"],
        "echo '*.key filter=own' >.gitattributes; echo made >evil.key; git add -A; "
        "git commit -qm evil",
    )
    await para.call("para.cancel", name="fix")
    assert repo.holds("evil.key", "made\n")
    back = await para.call("para.recover", name="fix")
    said = engine.run(api, back["container"]["name"], "cat evil.key; git status --short")
    assert said == "made\n"
    assert ran_on(filtered) == set(), "the host ran a filter on what a session wrote"
