"""Places for containers: as many as there may be, whoever takes them, also over the dead."""

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
FRESH = 2.0  # seconds that a count holds

# takes places side by side and makes a file for each container; says which it did not get
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

# takes a place, says so and never gives it back
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
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the places of this test be no others'."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
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
def test_of_those_that_race_exactly_as_many_win_as_there_is_room(
    made: Path, processes: int, each: int, there: int
) -> None:
    for number in range(there):
        (made / f"there-{number}").touch()
    with ExitStack() as stack:
        makers = [
            started(stack, MAKER, str(made), str(LIMIT), *(f"c{p}-{n}" for n in range(each)))
            for p in range(processes)
        ]
        won = [int(maker.communicate("\n")[0]) for maker in told_at_once(makers)]
    assert sum(won) == LIMIT - there
    assert len(list(made.iterdir())) == LIMIT


def told_at_once(makers: list[subprocess.Popen[str]]) -> Iterator[subprocess.Popen[str]]:
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("\n")
        maker.stdin.flush()
    yield from makers


def test_as_many_as_there_is_room_for_all_get_a_place(made: Path) -> None:
    with ExitStack() as stack:
        makers = [started(stack, MAKER, str(made), str(LIMIT), f"c{p}") for p in range(LIMIT)]
        assert [maker.communicate("\n")[0] for maker in told_at_once(makers)] == ["1\n"] * LIMIT


async def test_a_place_is_taken_as_long_as_its_holder_lives(made: Path) -> None:
    looked = asyncio.Event()

    async def listed() -> list[str]:
        looked.set()
        return [file.name for file in made.iterdir()]

    async def take() -> bool:
        async with locks.reserve(made, "mine", 1, listed) as free:
            return free

    with ExitStack() as stack:
        holder = started(stack, HOLDER, "theirs")
        taking = asyncio.create_task(take())
        await looked.wait()
        assert not taking.done()  # the other's container may still come, or not
        os.kill(holder.pid, signal.SIGKILL)
        assert await asyncio.wait_for(taking, 30)


async def test_who_waits_is_refused_once_the_container_is_there(made: Path) -> None:
    async def listed() -> list[str]:
        return [file.name for file in made.iterdir()]

    inside, go_on = asyncio.Event(), asyncio.Event()

    async def first() -> bool:
        async with locks.reserve(made, "first", 1, listed) as free:
            inside.set()
            await go_on.wait()
            (made / "first").touch()
            return free

    async def second() -> bool:
        async with locks.reserve(made, "second", 1, listed) as free:
            return free

    one = asyncio.create_task(first())
    await inside.wait()
    other = asyncio.create_task(second())
    go_on.set()
    assert (await one, await other) == (True, False)


async def test_nothing_is_counted_twice_or_left_when_it_is_cancelled(
    made: Path, tmp_path: Path
) -> None:
    async def listed() -> list[str]:
        return [file.name for file in made.iterdir()]

    async with locks.reserve(made, "first", 2, listed) as free:
        assert free
        (made / "first").touch()  # listed already, and its place is not given back yet
        async with locks.reserve(made, "second", 2, listed) as room:
            assert room
            waiting = asyncio.create_task(locks.reserve(made, "third", 2, listed).__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
    assert {file.name for file in tmp_path.glob("para-*/places/*")} == {"lock", "drawn"}


async def test_the_engine_is_asked_again_only_where_room_might_be_short(made: Path) -> None:
    asked = []

    async def listed() -> list[str]:
        asked.append(name)
        return [file.name for file in made.iterdir()]

    given = []
    for number in range(8):
        name = f"c{number}"
        async with locks.reserve(made, name, 5, listed) as free:
            given.append(free)
            if free and number not in {1, 2}:  # two come to nothing
                (made / name).touch()
    assert asked == ["c0", "c5", "c7"]
    assert given == [True] * 7 + [False]


async def test_what_another_user_made_is_counted_once_the_last_count_is_old(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listed() -> list[str]:
        return [file.name for file in made.iterdir()]

    async def has_room() -> bool:
        async with locks.reserve(made, "mine", 3, listed) as free:
            return free

    assert await has_room()
    for number in range(3):
        (made / f"theirs-{number}").touch()
    assert await has_room()  # by the count of a moment ago
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + FRESH + 0.1)
    assert not await has_room()


@settings(deadline=None, max_examples=30)
@given(
    limit=st.integers(1, 4),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=8),
)
def test_there_are_never_more_and_none_is_refused_where_there_is_room(
    limit: int, steps: list[tuple[int, int, bool]]
) -> None:
    """Whatever the engine takes to list and to make, and whatever comes to nothing."""
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


async def taken(name: str) -> bool:
    async def listed() -> list[str]:
        return []

    async with locks.reserve(name, name, LIMIT, listed) as free:
        return free


async def test_a_folder_for_temporary_files_that_goes_away_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    assert await taken("before")
    shutil.rmtree(folder)
    assert await taken("afterwards")
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["link", "file", "link within"])
async def test_a_folder_of_places_that_is_not_ours_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    theirs, ours = tmp_path / "theirs", tmp_path / f"para-{os.getuid()}"
    theirs.mkdir()
    letter = theirs / "1764374400.of-a-mailbox"  # named as a place of a process that is gone
    letter.touch()
    if kind == "link":
        ours.symlink_to(theirs)
    elif kind == "link within":
        ours.mkdir(mode=0o777)
        (ours / "places").symlink_to(theirs)
    else:
        ours.touch()
    assert await taken("one")
    assert list(theirs.iterdir()) == [letter]


@pytest.mark.root
async def test_a_folder_of_places_that_another_user_made_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ours = tmp_path / f"para-{os.getuid()}"
    ours.mkdir()
    os.chown(ours, 4321, 4321)
    assert await taken("one")
    assert list(ours.iterdir()) == []
