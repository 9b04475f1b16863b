"""Reservations of containers under a limit, with concurrent and killed processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from para_server.concurrency import locks

LIMIT = 5
FRESH = 2.0  # seconds: the lifetime of a count

# reserves containers concurrently, creates a file for each, and prints their number
MAKER = """
import asyncio, sys
from pathlib import Path
from para_server.concurrency import locks

folder, limit, names = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]

async def listed():
    await asyncio.sleep(0)
    return [file.name for file in folder.iterdir()]

async def make(name):
    async with locks.reserve(folder, name, limit, listed) as free:
        if free:
            await asyncio.sleep(0)
            (folder / name).touch(exist_ok=False)
        return free

async def all_of_them():
    print("ready", flush=True)
    sys.stdin.readline()
    return await asyncio.gather(*map(make, names))

print(sum(asyncio.run(all_of_them())))
"""

# reserves a container and never releases it
HOLDER = """
import asyncio, sys
from para_server.concurrency import locks

async def listed():
    return ()

async def hold(name):
    async with locks.reserve("engine", name, 100, listed):
        print("taken", flush=True)
        await asyncio.Event().wait()

asyncio.run(hold(sys.argv[1]))
"""


@pytest.fixture(autouse=True)
def separate_tickets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a folder of tickets for this test only."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.fixture
def containers(tmp_path: Path) -> Path:
    folder = tmp_path / "containers"
    folder.mkdir()
    return folder


def started(stack: ExitStack, script: str, *arguments: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", script, *arguments]
    process = stack.enter_context(
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    )
    stack.callback(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline().strip() in {"ready", "taken"}
    return process


@pytest.mark.parametrize(("processes", "each"), [(1, 8), (8, 1), (4, 5)])
@pytest.mark.parametrize("there", [0, 3])
def test_concurrent_processes_reserve_exactly_up_to_the_limit(
    containers: Path, processes: int, each: int, there: int
) -> None:
    for number in range(there):
        (containers / f"there-{number}").touch()
    with ExitStack() as stack:
        makers = [
            started(stack, MAKER, str(containers), str(LIMIT), *(f"c{p}-{n}" for n in range(each)))
            for p in range(processes)
        ]
        created = [int(maker.communicate("\n")[0]) for maker in release_all(makers)]
    assert sum(created) == LIMIT - there
    assert len(list(containers.iterdir())) == LIMIT


def release_all(makers: list[subprocess.Popen[str]]) -> Iterator[subprocess.Popen[str]]:
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("\n")
        maker.stdin.flush()
    yield from makers


def test_as_many_processes_as_the_limit_all_succeed(containers: Path) -> None:
    with ExitStack() as stack:
        makers = [started(stack, MAKER, str(containers), str(LIMIT), f"c{p}") for p in range(LIMIT)]
        assert [maker.communicate("\n")[0] for maker in release_all(makers)] == ["1\n"] * LIMIT


async def test_a_reservation_ends_with_its_process(containers: Path) -> None:
    was_listed = asyncio.Event()

    async def listed() -> list[str]:
        was_listed.set()
        return [file.name for file in containers.iterdir()]

    async def take() -> bool:
        async with locks.reserve(containers, "mine", 1, listed) as free:
            return free

    with ExitStack() as stack:
        holder = started(stack, HOLDER, "theirs")
        reservation = asyncio.create_task(take())
        await was_listed.wait()
        assert not reservation.done()  # the other container may still be created
        os.kill(holder.pid, signal.SIGKILL)
        assert await asyncio.wait_for(reservation, 30)


async def test_a_waiting_caller_is_refused_once_the_container_exists(containers: Path) -> None:
    async def listed() -> list[str]:
        return [file.name for file in containers.iterdir()]

    inside, proceed = asyncio.Event(), asyncio.Event()

    async def first() -> bool:
        async with locks.reserve(containers, "first", 1, listed) as free:
            inside.set()
            await proceed.wait()
            (containers / "first").touch()
            return free

    async def second() -> bool:
        async with locks.reserve(containers, "second", 1, listed) as free:
            return free

    one = asyncio.create_task(first())
    await inside.wait()
    other = asyncio.create_task(second())
    proceed.set()
    assert (await one, await other) == (True, False)


async def test_a_container_counts_once_and_a_cancelled_ticket_is_removed(
    containers: Path, tmp_path: Path
) -> None:
    async def listed() -> list[str]:
        return [file.name for file in containers.iterdir()]

    async with locks.reserve(containers, "first", 2, listed) as free:
        assert free
        (containers / "first").touch()  # listed already, and its ticket still exists
        async with locks.reserve(containers, "second", 2, listed) as room:
            assert room
            waiting = asyncio.create_task(
                locks.reserve(containers, "third", 2, listed).__aenter__()
            )
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
    assert {file.name for file in tmp_path.glob("para-*/places/*")} == {"lock", "drawn"}


async def test_the_engine_is_asked_only_near_the_limit(containers: Path) -> None:
    asked = []

    async def listed() -> list[str]:
        asked.append(name)
        return [file.name for file in containers.iterdir()]

    given = []
    for number in range(8):
        name = f"c{number}"
        async with locks.reserve(containers, name, 5, listed) as free:
            given.append(free)
            if free and number not in {1, 2}:  # two are never created
                (containers / name).touch()
    assert asked == ["c0", "c5", "c7"]
    assert given == [True] * 7 + [False]


async def test_containers_of_others_count_after_the_lifetime_of_a_count(
    containers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listed() -> list[str]:
        return [file.name for file in containers.iterdir()]

    async def has_room() -> bool:
        async with locks.reserve(containers, "mine", 3, listed) as free:
            return free

    assert await has_room()
    for number in range(3):
        (containers / f"theirs-{number}").touch()
    assert await has_room()  # by the previous count
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + FRESH + 0.1)
    assert not await has_room()


@settings(deadline=None, max_examples=30)
@given(
    limit=st.integers(1, 4),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=8),
)
def test_the_limit_is_reached_but_never_exceeded(
    limit: int, steps: list[tuple[int, int, bool]]
) -> None:
    """With any duration of listing and creation, and with containers that are never created."""
    engine, there = object(), set[str]()

    async def make(number: int, slow: int, making: int, *, comes: bool) -> None:
        async def listed() -> set[str]:
            seen = set(there)
            for _ in range(slow):
                await asyncio.sleep(0)
            return seen

        async with locks.reserve(engine, f"c{number}", limit, listed) as free:
            if not free:
                assert len(there) == limit
                return
            for _ in range(making):
                await asyncio.sleep(0)
            if comes:
                there.add(f"c{number}")
            assert len(there) <= limit

    async def race() -> None:
        await asyncio.gather(
            *(make(n, slow, making, comes=comes) for n, (slow, making, comes) in enumerate(steps))
        )

    asyncio.run(race())
    assert len(there) == min(limit, sum(comes for _, _, comes in steps))


async def reserve(name: str) -> bool:
    async def listed() -> list[str]:
        return []

    async with locks.reserve(name, name, LIMIT, listed) as free:
        return free


async def test_a_removed_temporary_folder_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    assert await reserve("before")
    shutil.rmtree(folder)
    assert await reserve("afterwards")
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["link", "file", "link within"])
async def test_a_link_or_file_in_place_of_the_folder_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    theirs, ours = tmp_path / "theirs", tmp_path / f"para-{os.getuid()}"
    theirs.mkdir()
    letter = theirs / "1764374400.of-a-mailbox"  # named like a ticket of an ended process
    letter.touch()
    if kind == "link":
        ours.symlink_to(theirs)
    elif kind == "link within":
        ours.mkdir(mode=0o777)
        (ours / "places").symlink_to(theirs)
    else:
        ours.touch()
    assert await reserve("one")
    assert list(theirs.iterdir()) == [letter]


@pytest.mark.root
async def test_a_folder_of_another_user_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ours = tmp_path / f"para-{os.getuid()}"
    ours.mkdir()
    os.chown(ours, 4321, 4321)
    assert await reserve("one")
    assert list(ours.iterdir()) == []
