"""Every call to the engine fails once: a command is done or undone, and nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from para_server.engine.endpoint import find
from para_server.settings import EngineSettings
from tests.client import Failed, Para
from tests.leftovers import CASES, Case, leftovers, lost, records, settled
from tests.proxy import WAYS, How, Proxy
from tests.scratch import Repository

LIKELY = 12  # calls that most commands make: a short run draws from these
CANCELLATIONS = 40
STEP = 0.01  # seconds between two moments of cancellation
CANCELLED = -32800

Servers = Callable[..., Awaitable[Para]]


@pytest.fixture
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Stand between para and the engine."""
    # a socket's path has little room
    proxy = Proxy(tmp_path_factory.mktemp("p") / "s", find(EngineSettings(), os.environ))
    yield proxy
    proxy.close()


@pytest.fixture
def environ(environ: dict[str, str], faults: Proxy) -> dict[str, str]:
    """Lead the servers through the proxy."""
    return environ | {"DOCKER_HOST": faults.address, "PARA_CONTAINER_MAX_RUNNING": "50"}


@pytest.fixture
def draw(request: pytest.FixtureRequest) -> Callable[[str, int, int], Iterable[int]]:
    """Choose which of the cases are run: with --soak all, until one no longer hits."""

    def chosen(what: str, drawn: int, of: int) -> Iterable[int]:
        if request.config.getoption("--soak"):
            return itertools.count()
        seed = f"{request.config.getoption('--seed')} {what}"
        return sorted(random.Random(seed).sample(range(of), drawn))  # noqa: S311 # no secret

    return chosen


async def attempt(para: Para, command: str, **params: object) -> Failed | dict[str, Any]:
    """Run a command that may fail; a bug of para's is no failure that it may have."""
    try:
        outcome: Failed | dict[str, Any] = await para.call(command, **params)
    except Failed as failed:
        outcome = failed
    assert not isinstance(outcome, Failed) or outcome.slug, f"a bug: {outcome}"
    return outcome


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("how", WAYS)
async def test_a_dispatch_leaves_nothing_when_a_call_fails(
    servers: Servers,
    repo: Repository,
    api: Any,
    home: Path,
    faults: Proxy,
    draw: Callable[[str, int, int], Iterable[int]],
    how: How,
) -> None:
    para = await servers(watching=False)
    for k in draw(f"dispatch {how}", 3, LIKELY):
        name = f"s{k}"
        with faults.failing(k, how):
            outcome = await attempt(para, "para.dispatch", prompt="echo done", name=name)
        told = f"call {k} ({faults.hit}) failed {how}: {outcome}"
        if isinstance(outcome, Failed):
            assert name not in {one["name"] for one in records(home).values()}, told
        else:
            await para.agent(name, "done")
            await para.call("para.cancel", name=name)
        assert leftovers(api, home, repo) == [], told
        if faults.hit is None:
            break


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_command_is_done_or_undone_when_a_call_fails(
    servers: Servers,
    repo: Repository,
    api: Any,
    home: Path,
    faults: Proxy,
    draw: Callable[[str, int, int], Iterable[int]],
    case: Case,
    how: How,
) -> None:
    para = await servers(watching=False)
    for k in draw(f"{case} {how}", 1, LIKELY):
        name = f"s{k}"
        session = await case.prepare(para, api, name)
        before = (await para.call("para.show", name=name))["state"]
        with faults.failing(k, how):
            outcome = await attempt(para, case.command, name=name, **case.params)
        told = f"call {k} ({faults.hit}) failed {how}: {outcome}"
        assert lost(home, repo, session) == [], told
        await para.call("para.clean")
        after = (await para.call("para.show", name=name))["state"]
        assert after in {before, case.leads_to}, told
        assert leftovers(api, home, repo) == [], told
        assert lost(home, repo, session) == [], told
        if case.keeps_container:
            assert await case.note_kept(para, api, name), told
        if after not in {"finished", "cancelled"} or case.keeps_container:
            await para.call("para.cancel", name=name)
        assert leftovers(api, home, repo) == [], f"cancelled after {told}"
        assert lost(home, repo, session) == [], f"cancelled after {told}"
        if faults.hit is None:
            break


async def cancelled_at(para: Para, name: str, seconds: float) -> Failed | dict[str, Any]:
    """Dispatch, and ask for it to be stopped after a while."""
    request = f"dispatch-{name}"
    params = {"prompt": "echo done", "name": name}
    sent = para.send("para.dispatch", [params], msg_id=request)
    await asyncio.sleep(seconds)
    para.cancel(request)
    try:
        answer: dict[str, Any] = await para.answer(sent)
    except Failed as failed:
        return failed
    return answer


@pytest.mark.timeout(1800)
async def test_a_dispatch_that_is_cancelled_leaves_nothing(
    servers: Servers,
    repo: Repository,
    api: Any,
    home: Path,
    draw: Callable[[str, int, int], Iterable[int]],
) -> None:
    para = await servers(watching=False)
    for point in itertools.takewhile(
        lambda n: n < CANCELLATIONS, draw("cancellation", 8, CANCELLATIONS)
    ):
        name = f"s{point}"
        outcome = await cancelled_at(para, name, point * STEP)
        if isinstance(outcome, Failed):
            assert outcome.code == CANCELLED, f"after {point} steps: {outcome}"
            assert name not in {one["name"] for one in records(home).values()}
        else:
            await para.agent(name, "done")
            await para.call("para.cancel", name=name)
        assert leftovers(api, home, repo) == [], f"after {point} steps: {outcome}"
    await settled(home)
