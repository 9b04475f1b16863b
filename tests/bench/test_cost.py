"""The ratios that no change may spoil, with room for a busy machine; `make bench` judges them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.bench.dispatching import FEW, SOME, dispatched
from tests.bench.measure import Figure, compared, timed
from tests.bench.place import Place, place
from tests.bench.rivals import BARE_SERVER, recipe
from tests.bench.serving import Talk

_PAIRS = 3


@pytest.fixture
def where() -> Iterator[Place]:
    with place() as made:
        yield made


async def started(place: Place, argv: list[str]) -> float:
    with Talk(argv, place.environ) as talk:
        return talk.initialized_after


async def called(*argv: str) -> float:
    async with timed() as watch:
        subprocess.run(argv, check=True, capture_output=True)  # noqa: ASYNC221 # nothing else is to be done
    return watch.taken


async def test_a_server_is_there_about_as_soon_as_one_that_does_nothing(where: Place) -> None:
    para = partial(started, where, [sys.executable, "-m", "para_server"])
    bare = partial(started, where, [sys.executable, "-c", BARE_SERVER])
    assert (await compared(Figure("", most=1.6), _PAIRS, para, bare)).met


async def test_help_takes_little_more_than_the_interpreter() -> None:
    para = partial(called, str(Path(sys.executable).with_name("para")), "--help")
    bare = partial(called, sys.executable, "-c", "import json, pathlib")
    assert (await compared(Figure("", most=4), _PAIRS, para, bare)).met


async def test_a_dispatch_takes_about_as_long_as_typing_it(where: Place) -> None:
    repo = where.repo(FEW)
    async with where.server() as para:
        ours, theirs = partial(dispatched, where, para, repo), partial(recipe, where, repo)
        assert (await compared(Figure("", most=1.8), _PAIRS, ours, theirs)).met


async def test_a_dispatch_takes_no_longer_where_there_are_many_files(where: Place) -> None:
    few, many = where.repo(FEW), where.repo(SOME)
    async with where.server() as para:
        ours, theirs = partial(dispatched, where, para, many), partial(dispatched, where, para, few)
        assert (await compared(Figure("", most=1.8), _PAIRS, ours, theirs)).met
