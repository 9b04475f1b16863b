"""What tests are given: a scratch installation, a repository, a real server on the real engine."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests import client, engine, killed_runs, scratch
from tests.client import Para
from tests.scratch import Repository


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make soak` ask for all cases."""
    parser.addoption("--soak", action="store_true", help="run all cases, however long it takes")
    parser.addoption("--shared", action="store_true", help="let sessions share even a few files")
    parser.addoption("--loaded", action="store_true", help="the images come from another engine")
    parser.addoption("--seed", type=int, default=1, help="which cases a short run draws")


def pytest_configure() -> None:
    """Let programs of the tests be interrupted, also where this run is in the background."""
    # a shell starts what runs in the background with the interrupt ignored, and para respects that
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to `make soak` the long runs, and of a slice all cases but some that the seed draws."""
    left = set() if config.getoption("--soak") else _of_soak(config, items)
    if os.geteuid() != 0 and "CI" not in os.environ:
        left |= {item for item in items if item.get_closest_marker("root")}
    if config.getoption("--loaded"):
        left |= {item for item in items if item.get_closest_marker("built_here")}
    if left:
        config.hook.pytest_deselected(items=list(left))
        items[:] = [item for item in items if item not in left]


def _of_soak(config: pytest.Config, items: list[pytest.Item]) -> set[pytest.Item]:
    left = {item for item in items if item.get_closest_marker("soak")}
    slices: dict[tuple[str, int], list[pytest.Item]] = {}
    for item in items:
        mark = item.get_closest_marker("slice")
        if mark is not None:
            slices.setdefault((item.nodeid.partition("[")[0], mark.args[0]), []).append(item)
    for (name, drawn), cases in slices.items():
        chance = random.Random(f"{config.getoption('--seed')} {name}")  # noqa: S311 # no secret
        left.update(chance.sample(cases, max(len(cases) - drawn, 0)))
    return left


_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Note a line of figures, to be shown at the end of the run."""
    return pytestconfig.stash.setdefault(_FIGURES, []).append


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show the figures."""
    found = config.stash.get(_FIGURES, [])
    if found:
        terminalreporter.section("figures")
        for line in found:
            terminalreporter.line(line)


@pytest.fixture(autouse=True)
def _own_git_config(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep the machine's own git configuration out of the tests."""
    home = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    for name in [name for name in os.environ if name.startswith("PARA_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    """Make a repository with one commit."""
    return scratch.make(tmp_path / "repo")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Name a PARA_HOME of the test's own."""
    return tmp_path / "home"


@pytest.fixture
def environ(home: Path, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """Give the environment of a server: its own home, and the agent that needs no account."""
    shared = {"PARA_GIT_SHARE_FROM": "0"} if request.config.getoption("--shared") else {}
    return (
        dict(os.environ)
        | shared
        | {
            "PARA_HOME": str(home),
            "PARA_CONFIG_HOME": str(tmp_path / "config"),
            "PARA_AGENT_NAME": "command",
            "PARA_CONTAINER_MAX_RUNNING": "50",  # other tests use the same engine
        }
    )


@pytest.fixture(scope="session")
def mended_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Clear up after killed runs of the tests; this one fails where a test leaves a session."""
    api = engine.connect()
    killed_runs.mend(api)
    yield
    left = engine.clear_below(api, tmp_path_factory.getbasetemp())
    api.close()
    assert left == []


@pytest.fixture
def api(
    home: Path,
    request: pytest.FixtureRequest,
    mended_engine: None,  # noqa: ARG001 # needed before the engine is used
) -> Iterator[Any]:
    """Connect to the engine; afterwards nothing of the test is left on it."""
    connection = engine.connect()
    yield connection
    if getattr(request.node, "failed", False):
        print(engine.report(connection, home))
    engine.clear(connection, home)
    connection.close()


@pytest_asyncio.fixture
async def servers(
    environ: dict[str, str], repo: Repository, request: pytest.FixtureRequest
) -> AsyncIterator[Callable[..., Awaitable[Para]]]:
    """Start servers; each is ended with the test."""
    started: list[Para] = []

    async def start(
        *arguments: str,
        folders: list[Path] | None = None,
        extra: dict[str, str] | None = None,
        watching: bool = True,
        prefix: tuple[str, ...] = (),
        **options: Any,
    ) -> Para:
        para = await client.connect(
            environ | (extra or {}),
            [repo.path] if folders is None else folders,
            *arguments,
            options=options,
            watching=watching,
            prefix=prefix,
        )
        started.append(para)
        return para

    yield start
    for para in started:
        if getattr(request.node, "failed", False):
            print("\n".join(message.message for message in para.lsp.log_messages))
        await client.disconnect(para)


@pytest_asyncio.fixture
async def para(api: Any, servers: Callable[..., Awaitable[Para]]) -> Para:
    """Start a server on the real engine, with the repository open."""
    assert api.ping()
    return await servers()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let fixtures know that their test failed, so that they tell what happened."""
    report = yield
    if report.when == "call" and report.failed:  # type: ignore[attr-defined] # what pytest gives back
        item.failed = True  # type: ignore[attr-defined] # read above
    return report
