"""Refs that cannot be changed for a moment: no work is lost, and an end remains."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.client import Failed, Para
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
Refusal = Callable[[Repository], AbstractContextManager[None]]

DELETIONS = """#!/bin/sh
[ "$1" = prepared ] || exit 0
while read -r old new ref; do
    case $new in *[!0]*) ;; *) echo "$ref is not to be deleted" >&2; exit 1 ;; esac
done
"""
ARCHIVES = """#!/bin/sh
[ "$1" = prepared ] || exit 0
! grep -q refs/para/archive
"""
EVERYTHING = '#!/bin/sh\n[ "$1" != prepared ]\n'


@contextlib.contextmanager
def locked(repo: Repository) -> Iterator[None]:
    lock = repo.path / ".git/packed-refs.lock"
    lock.touch()
    yield
    lock.unlink()


def refusing(script: str) -> Refusal:
    @contextlib.contextmanager
    def hooked(repo: Repository) -> Iterator[None]:
        hook = repo.path / ".git/hooks/reference-transaction"
        hook.write_text(script)
        hook.chmod(0o755)
        yield
        hook.unlink()

    return hooked


REFUSALS = {
    "a stale lock": locked,
    "a hook that lets nothing be deleted": refusing(DELETIONS),
    "a hook that lets nothing be archived": refusing(ARCHIVES),
    "a hook that lets nothing be changed": refusing(EVERYTHING),
}


async def worked_in(para: Para, home: Path, kind: str) -> dict[str, Any]:
    """Start a session and create work in it."""
    session: dict[str, Any] = await para.call("para.start", name="fix", type=kind)
    folder = Path(session["workspace"] or home / "work" / session["id"] / "upper")
    (folder / "work").write_text("1\n")
    return session


async def attempt(para: Para, command: str, **params: object) -> bool:
    """Run a command that may be refused."""
    slug = ""
    try:
        await para.call(command, **params)
    except Failed as failed:
        slug = failed.slug or "a bug"
    assert slug != "a bug"
    return not slug


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("kind", ["container", "worktree"])
async def test_cancel_keeps_the_work_if_a_ref_cannot_be_changed(
    api: Any, para: Para, repo: Repository, home: Path, kind: str, refusal: str
) -> None:
    assert api
    session = await worked_in(para, home, kind)
    with REFUSALS[refusal](repo):
        done = await attempt(para, "para.cancel", name="fix")
        state = (await para.call("para.show", name="fix"))["state"]
        assert state == ("cancelled" if done else "running")
        if done:  # a second one finds it over, and touches no archive
            await para.fails("session.illegal-transition", "para.cancel", name="fix")
            await para.fails("session.illegal-transition", "para.finish", name="fix", message="x")
    if not done:
        await para.call("para.cancel", name="fix")
    archive = f"refs/para/archive/{session['id']}"
    assert repo.show(f"{archive}:work") == "1"
    await para.call("para.recover", name="fix")
    shown = await para.call("para.diff", name="fix")
    assert [one["path"] for one in shown["files"]] == ["work"]
    await para.call("para.finish", name="fix", message="work")
    assert repo.show("para/fix:work") == "1"
    assert set(repo.refs("refs/para")) <= {archive}


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("kind", ["container", "worktree"])
async def test_finish_is_atomic_if_a_ref_cannot_be_changed(
    api: Any,
    para: Para,
    servers: Servers,
    repo: Repository,
    home: Path,
    kind: str,
    refusal: str,
) -> None:
    assert api
    await worked_in(para, home, kind)
    with REFUSALS[refusal](repo):
        done = await attempt(para, "para.finish", name="fix", message="work")
        state = (await para.call("para.show", name="fix"))["state"]
        assert state == ("finished" if done else "running")
        if done:
            assert repo.show("para/fix:work") == "1"
            await para.fails("session.illegal-transition", "para.cancel", name="fix")
        else:
            assert repo.git("rev-parse", "-q", "--verify", "para/fix:work", check=False) == ""
    if not done:
        await para.call("para.finish", name="fix", message="work")
    assert repo.show("para/fix:work") == "1"
    assert repo.git("log", "--format=%s", "para/fix") == "work\nfirst"
    # what was put off, the next process does
    later = await servers()
    await later.call("para.clean")
    assert set(repo.refs()) == {"refs/heads/main", "refs/heads/para/fix"}
    assert repo.git("worktree", "list", "--porcelain").count("worktree ") == 1
    assert list((home / "work").iterdir()) == []
