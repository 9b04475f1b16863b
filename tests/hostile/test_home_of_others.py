"""A PARA_HOME that somebody else made, or could write to, is not used as it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from para_server.store import Store

STRANGER = 12345


def home_of_others(home: Path) -> list[Path]:
    """Make a home and its folders such that everybody may write there."""
    home.mkdir()
    parts = [home, *(home / part for part in ("sessions", "copies", "work", "agents", "locks"))]
    for folder in parts:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    return parts


async def test_nobody_else_writes_to_a_home_that_was_made_for_all(servers: Any, home: Path) -> None:
    parts = home_of_others(home)
    para = await servers(extra={"PARA_CONTAINER_ENABLED": "false"})
    await para.call("para.start", name="fix")
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in [*parts, *home.glob("*/")]}
    assert not {name: mode for name, mode in modes.items() if mode & 0o022}


@pytest.mark.root
@pytest.mark.parametrize("part", ["", "sessions", "copies", "work", "locks"])
async def test_a_home_with_a_folder_of_another_user_is_refused(
    servers: Any, home: Path, part: str
) -> None:
    para = await servers(extra={"PARA_CONTAINER_ENABLED": "false"})
    await para.call("para.start", name="fix")
    os.chown(home / part, STRANGER, STRANGER)
    failed = await para.fails("store.unreadable", "para.start", name="other")
    assert "another user" in failed.message


@pytest.mark.root
async def test_a_home_of_who_calls_by_sudo_is_used(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in home_of_others(home):
        os.chown(folder, STRANGER, STRANGER)
    with pytest.raises(Exception, match="another user"):
        Store(home).make_folders()
    monkeypatch.setenv("SUDO_UID", str(STRANGER))
    Store(home).make_folders()
