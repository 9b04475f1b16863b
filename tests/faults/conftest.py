"""Fixtures for fault tests: a proxy that makes calls fail, and the invariants."""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from para_server.core.settings import EngineSettings
from para_server.engine.endpoint import find_address
from tests.leftovers import leftovers, lost
from tests.proxy import Proxy
from tests.scratch import Repository

# what a server is told that is to notice soon that the engine hangs
HASTY = {"PARA_ENGINE_TIMEOUT": "1", "PARA_GIT_MAX_SECONDS": "8"}


@pytest.fixture
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Run a proxy between para and the engine."""
    # a socket's path has little room
    proxy = Proxy(tmp_path_factory.mktemp("p") / "s", find_address(EngineSettings(), os.environ))
    yield proxy
    proxy.close()


@pytest.fixture
def draw(request: pytest.FixtureRequest) -> Callable[[str, int, int], Iterable[int]]:
    """Choose the cases to run: with --soak all, until one is no longer reached."""

    def chosen(what: str, drawn: int, of: int) -> Iterable[int]:
        if request.config.getoption("--soak"):
            return itertools.count()
        seed = f"{request.config.getoption('--seed')} {what}"
        return sorted(random.Random(seed).sample(range(of), drawn))  # noqa: S311 # no secret

    return chosen


@pytest.fixture(scope="session")
def tally(figures: Callable[[str], None]) -> Iterator[Counter[str]]:
    """Count faults and their outcomes over all fault tests."""
    counted: Counter[str] = Counter()
    yield counted
    came = f"leftovers {counted.pop('leftovers', 0)}, losses {counted.pop('losses', 0)}"
    made = ", ".join(f"{count} {what}" for what, count in sorted(counted.items()))
    figures(f"faults: {made}; {came}")


@pytest.fixture
def whole(api: Any, home: Path, repo: Repository, tally: Counter[str]) -> Callable[..., None]:
    """Check that there are no leftovers, and that no given session has lost its work."""

    def check(told: str, *sessions: dict[str, Any]) -> None:
        gone = [name for session in sessions for name in lost(home, repo, session)]
        tally["losses"] += len(gone)
        assert gone == [], told
        left = leftovers(api, home, repo)
        tally["leftovers"] += len(left)
        assert left == [], told

    return check
