"""A folder without permissions does not stop the watch of the others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

WATCH = """
import asyncio, pathlib, sys
from para_server.host import file_watcher

def poll(*_):
    raise SystemExit("polling all folders")

async def main(first, *others):
    file_watcher._poll = poll
    async for _ in file_watcher.watch(pathlib.Path(first), lambda: others):
        print("changed", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""
# root opens closed folders
AS_A_PERSON = (
    ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Path, Path, subprocess.Popen[str]]]:
    """Watch two folders, one of which is closed."""
    for name in ("records", "open", "closed"):
        (tmp_path / name).mkdir()
    (tmp_path / "closed").chmod(0)
    given = [str(tmp_path / name) for name in ("records", "open", "closed")]
    command = [*AS_A_PERSON, sys.executable, "-c", WATCH, *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield tmp_path / "open", tmp_path / "closed", process
        process.kill()
    (tmp_path / "closed").chmod(0o700)


def told(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == "changed\n"


def test_a_closed_folder_keeps_no_other_from_being_watched(
    watched: tuple[Path, Path, subprocess.Popen[str]],
) -> None:
    open_one, closed, process = watched
    assert told(process)  # it watches
    for number in range(3):
        (open_one / str(number)).touch()
        assert told(process)
    closed.chmod(0o700)
    assert told(process)  # it is watched from now on
    (closed / "state").touch()
    assert told(process)
