"""Sessions with an unreadable or missing record keep their work and are restored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.client import Para
from tests.leftovers import at_work, lost
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
Break = Callable[[Path], None]


def empty(file: Path) -> None:
    file.write_text("")


def remove(file: Path) -> None:
    file.unlink()


BROKEN = pytest.mark.parametrize("broken", [empty, remove], ids=["unreadable", "removed"])


async def named(para: Para) -> dict[str, Any]:
    """Return the check of the records."""
    checks = (await para.call("para.doctor"))["checks"]
    return next(dict(check) for check in checks if check["name"] == "records")


@BROKEN
async def test_session_without_record_keeps_its_parts(
    servers: Servers, api: Any, home: Path, broken: Break
) -> None:
    para = await servers()
    assert (await named(para))["level"] == "ok"
    session = await at_work(para, api, "fix")
    await at_work(para, api, "other")
    saved = await at_work(para, api, "saved")
    await para.call("para.pause", name="saved")
    for one in (session, saved):
        broken(home / "sessions" / f"{one['id']}.json")
    # a server that starts clears up, and so does who is asked to
    para = await servers()
    listed = await para.call("para.list")
    assert [one["name"] for one in listed["sessions"]] == ["other"]
    cleaned = await para.call("para.clean")
    assert cleaned["removed"] == []
    assert f"session {session['id']}" in cleaned["kept"]
    await para.call("para.finish", name="other", message="it")
    for one in (session, saved):
        folder = home / "work" / one["id"]
        assert any((at / "loose.txt").is_file() for at in (folder, folder / "upper"))
    assert engine.images(api, home) == [f"para-saved:{saved['id']}"]
    check = await named(para)
    assert (check["ok"], check["level"]) == (False, "warning")
    for one in (session, saved):
        assert str(home / "sessions" / f"{one['id']}.json") in check["detail"]


@BROKEN
async def test_lost_session_is_restored_unchanged(
    para: Para, repo: Repository, api: Any, home: Path, broken: Break
) -> None:
    session = await at_work(para, api, "fix")
    broken(home / "sessions" / f"{session['id']}.json")
    if broken is empty:
        failed = await para.fails("store.unreadable", "para.finish", name="fix", message="it")
        assert str(home / "sessions" / session["id"]) in failed.message
        assert failed.remedies[0]["command"] == "para.recover"
    [remedy] = (await named(para))["problem"]["remedies"]
    back = await para.call(remedy["command"], **remedy["params"])
    assert (back["id"], back["state"]) == (session["id"], "running")
    assert back["container"]["id"] == session["container"]["id"]
    assert (await named(para))["ok"]
    await para.call("para.finish", name="fix", message="it")
    assert lost(home, repo, session) == []
    asides = list((home / "sessions").glob("*.unreadable"))
    assert len(asides) == (1 if broken is empty else 0)


async def test_lost_session_is_found_by_name_and_after_cancel(
    para: Para, api: Any, home: Path
) -> None:
    session = await at_work(para, api, "fix")
    await para.call("para.cancel", name="fix")
    (home / "sessions" / f"{session['id']}.json").unlink()
    # its work is in the repository, and nothing is missing
    assert (await named(para))["ok"]
    again = await at_work(para, api, "again")
    (home / "sessions" / f"{again['id']}.json").write_text("{")
    assert (await para.call("para.recover", name="again"))["id"] == again["id"]


async def test_record_of_a_newer_version_is_not_changed(
    para: Para, api: Any, home: Path, repo: Repository
) -> None:
    session = await at_work(para, api, "fix")
    file = home / "sessions" / f"{session['id']}.json"
    text = file.read_text()
    file.write_text(text.replace('"version":1', '"version":2'))
    assert "newer para" in (await named(para))["detail"]
    await para.fails("store.too-new", "para.recover", name="fix")
    await para.call("para.clean")
    file.write_text(text)
    await para.call("para.finish", name="fix", message="it")
    assert lost(home, repo, session) == []
