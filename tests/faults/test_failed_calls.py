"""Every call to the engine fails once: commands complete or roll back, no work is lost."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.client import Failed, Para
from tests.faults.conftest import HASTY
from tests.leftovers import CASES, Case, ended, records, settled
from tests.proxy import WAYS, How, Proxy
from tests.scratch import Repository

LIKELY = 12  # calls that most commands make: a short run draws from these
CANCELLATIONS = 40
STEP = 0.01  # seconds between two moments of cancellation
CANCELLED = -32800

Servers = Callable[..., Awaitable[Para]]
Draw = Callable[[str, int, int], Iterable[int]]
Whole = Callable[..., None]


@pytest.fixture
def environ(environ: dict[str, str], faults: Proxy) -> dict[str, str]:
    """Connect the servers through the proxy."""
    return environ | {"DOCKER_HOST": faults.address}


async def attempt(
    para: Para, faults: Proxy, command: str, **params: object
) -> Failed | dict[str, Any]:
    """Run a command that may fail, but not with an internal error."""
    try:
        outcome: Failed | dict[str, Any] = await para.call(command, **params)
    except Failed as failed:
        outcome = failed
    except TimeoutError:
        raise AssertionError(f"{command} was never answered after {faults.hit}") from None
    assert not isinstance(outcome, Failed) or outcome.slug, f"a bug: {outcome}"
    return outcome


@pytest.mark.slice(3)
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("command", ["para.dispatch", "para.start"])
async def test_dispatch_is_atomic_if_a_call_fails(
    servers: Servers,
    home: Path,
    faults: Proxy,
    draw: Draw,
    whole: Whole,
    tally: Counter[str],
    command: str,
    how: How,
) -> None:
    para = await servers(watching=False)
    hasty = await servers(watching=False, extra=HASTY) if how in {"hangs", "late"} else para
    prompt = {"prompt": "echo done"} if command == "para.dispatch" else {}
    for k in draw(f"{command} {how}", 2, LIKELY):
        name = f"s{k}"
        with faults.failing(k, how):
            outcome = await attempt(hasty, faults, command, name=name, **prompt)
        told = f"call {k} ({faults.hit}) failed {how}: {outcome}"
        tally[how] += faults.hit is not None
        if how in {"hangs", "late"}:
            await para.call("para.clean")
        if isinstance(outcome, Failed):
            assert name not in {one["name"] for one in records(home).values()}, told
            assert outcome.slug == "engine.timeout" or how not in {"hangs", "late"}, told
        else:
            if prompt:
                await para.agent(name, "done")
            await para.call("para.cancel", name=name)
        whole(told)
        if faults.hit is None:
            break


@pytest.mark.slice(12)
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_commands_are_atomic_if_a_call_fails(
    servers: Servers,
    api: Any,
    faults: Proxy,
    draw: Draw,
    whole: Whole,
    tally: Counter[str],
    case: Case,
    how: How,
) -> None:
    para = await servers(watching=False)
    hasty = await servers(watching=False, extra=HASTY) if how in {"hangs", "late"} else para
    session: dict[str, Any] | None = None
    for k in draw(f"{case} {how}", 1, LIKELY):
        session = session or await case.prepare(para, api, f"s{k}")
        name = session["name"]
        before = (await para.call("para.show", name=name))["state"]
        with faults.failing(k, how):
            outcome = await attempt(hasty, faults, case.command, name=name, **case.params)
        told = f"call {k} ({faults.hit}) failed {how}: {outcome}"
        tally[how] += faults.hit is not None
        await para.call("para.clean")
        after = (await para.call("para.show", name=name))["state"]
        # an engine that freezes or stops a session late is believed
        late = {"paused", "failed"} if how == "late" else set()
        assert after in {before, case.leads_to} | late, told
        whole(told, session)
        if case.keeps_container:
            assert await case.note_kept(para, api, name), told
        if faults.hit is not None and case.serves_again(before, after):
            continue
        if after not in {"finished", "cancelled"} or case.keeps_container:
            await para.call("para.cancel", name=name)
        whole(f"cancelled after {told}", session)
        session = None
        if faults.hit is None:
            break
    if session is not None:
        await ended(para, session)
        whole("cancelled at the end", session)


async def cancelled_at(para: Para, name: str, seconds: float) -> Failed | dict[str, Any]:
    """Dispatch a session and cancel the request after a delay."""
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
async def test_cancelled_dispatch_leaves_nothing(
    servers: Servers,
    repo: Repository,
    home: Path,
    draw: Draw,
    whole: Whole,
    tally: Counter[str],
) -> None:
    para = await servers(watching=False)
    before = repo.fingerprint()
    for point in itertools.takewhile(
        lambda n: n < CANCELLATIONS, draw("cancellation", 6, CANCELLATIONS)
    ):
        name = f"s{point}"
        outcome = await cancelled_at(para, name, point * STEP)
        tally["cancellations"] += 1
        if isinstance(outcome, Failed):
            assert outcome.code == CANCELLED, f"after {point} steps: {outcome}"
            assert name not in {one["name"] for one in records(home).values()}
        else:
            await para.agent(name, "done")
            await para.call("para.cancel", name=name)
        whole(f"after {point} steps: {outcome}")
    await settled(home)
    assert repo.fingerprint() == before
