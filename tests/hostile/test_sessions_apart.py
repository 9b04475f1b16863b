"""Sessions do not reach each other over the network, which is there when one needs it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError

from para_server.core.names import SESSION_NETWORK
from tests import engine, scratch
from tests.client import Para, eventually
from tests.scratch import Repository

SERVE = "require('http').createServer((_, answer) => answer.end('private')).listen(8000)"
GET = "timeout {seconds} bash -c 'exec 3<>/dev/tcp/{host}/8000; {ask} >&3; cat <&3'"
ASK = r'printf "GET / HTTP/1.0\r\n\r\n"'


def networks(api: Any) -> list[dict[str, Any]]:
    return [one for one in api.networks() if one["Name"] == SESSION_NETWORK]


def without_network(api: Any) -> None:
    for one in networks(api):
        api.remove_network(one["Id"])


def get(host: str, seconds: int) -> str:
    return f"{GET.format(host=host, seconds=seconds, ask=ASK)} 2>&1 || true"


@pytest.fixture
def bare(api: Any) -> Iterator[None]:
    """Leave the engine without a network of sessions, before and after."""
    without_network(api)
    yield
    without_network(api)


async def test_no_session_reaches_another_and_each_reaches_itself(
    para: Para, api: Any, tmp_path: Path
) -> None:
    other = scratch.make(tmp_path / "elsewhere")
    mine = await para.call("para.start", name="mine")
    theirs = await para.call("para.start", name="theirs", repo=str(other.path))
    container = mine["container"]["id"]
    engine.run(api, container, f'nohup node -e "{SERVE}" >/dev/null 2>&1 &')
    address = engine.run(api, container, "hostname -i").split()[0]
    await eventually(
        lambda: asyncio.to_thread(engine.run, api, container, get(address, 5)),
        lambda answer: "private" in answer,
    )
    reached = get(address, 5)
    assert "private" not in engine.run(api, theirs["container"]["id"], reached)
    assert "private" not in engine.run(api, theirs["container"]["id"], get("mine", 5))
    # no address of IPv6 goes round the rules of IPv4, either
    script = "awk '$6 != \"lo\" { print $1 }' /proc/net/if_inet6 2>/dev/null || true"
    for found in engine.run(api, container, script).split():
        host = ":".join(found[n : n + 4] for n in range(0, 32, 4))
        ask = f"curl -s -g -m 5 'http://[{host}%25eth0]:8000' || true"
        assert "private" in engine.run(api, container, ask)
        assert "private" not in engine.run(api, theirs["container"]["id"], ask)
    # and a container of somebody else's does not reach it, either
    stranger = api.create_container(
        "para-base:latest", ["sleep", "60"], name=f"stranger-{mine['id']}"
    )
    try:
        api.start(stranger)
        assert "private" not in engine.run(api, stranger["Id"], reached)
    finally:
        api.remove_container(stranger, force=True)


@pytest.mark.usefixtures("bare")
async def test_many_who_start_at_once_make_one_network(
    servers: Callable[..., Awaitable[Para]], api: Any, home: Path
) -> None:
    one, two = await servers(), await servers()
    starts = [para.call("para.start", name=f"s{n}") for n, para in enumerate([one, two] * 2)]
    sessions = await asyncio.gather(*starts)
    assert len(networks(api)) == 1
    for session in sessions:
        inspected = api.inspect_container(session["container"]["id"])
        assert list(inspected["NetworkSettings"]["Networks"]) == [SESSION_NETWORK]
    engine.clear(api, home)


@pytest.mark.usefixtures("bare")
async def test_a_network_that_is_gone_is_made_again_and_clean_removes_an_unused_one(
    para: Para, api: Any, home: Path
) -> None:
    session = await para.call("para.start", name="fix")
    container = session["container"]["id"]
    what = f"network {SESSION_NETWORK}"
    assert what in (await para.call("para.clean"))["kept"]
    api.stop(container, timeout=0)
    assert what in (await para.call("para.clean"))["kept"]  # it will be started again
    without_network(api)
    resumed = await para.call("para.resume", name="fix")
    assert resumed["state"] == "running"
    await para.call("para.pause", name="fix")
    without_network(api)
    assert (await para.call("para.resume", name="fix"))["state"] == "running"
    assert networks(api)[0]["Labels"]["dev.para.home"] == str(home)
    await para.call("para.cancel", name="fix")
    assert what in (await para.call("para.clean", dryRun=True))["removed"]
    assert networks(api)
    assert what in (await para.call("para.clean"))["removed"]
    assert networks(api) == []


@pytest.mark.usefixtures("bare")
async def test_a_network_of_another_making_is_not_used(
    para: Para, api: Any, repo: Repository, home: Path
) -> None:
    api.create_network(SESSION_NETWORK, "bridge")
    refused = await para.fails("engine.refused", "para.start", name="fix")
    assert "does not isolate its containers" in refused.message
    assert refused.remedies[0]["title"] == f"Remove it: docker network rm {SESSION_NETWORK}"
    assert engine.containers(api, home) == []
    assert set(repo.refs()) == {"refs/heads/main"}
    assert (await para.call("para.clean"))["removed"] == []
    without_network(api)
    assert (await para.call("para.start", name="fix"))["state"] == "running"
    engine.clear(api, home)


@pytest.mark.usefixtures("bare")
async def test_an_engine_without_addresses_says_so(para: Para, api: Any, home: Path) -> None:
    made: list[str] = []

    def take_all() -> None:
        while True:
            name = f"para-test-{os.getpid()}-{len(made)}"
            made.append(api.create_network(name, "bridge")["Id"])

    try:
        with pytest.raises(APIError, match=r"non-overlapping|fully subnetted"):
            take_all()
        refused = await para.fails("engine.refused", "para.start", name="fix")
        assert "no addresses left" in refused.message
        assert engine.containers(api, home) == []
        for session, network in (("host", "host"), ("none", "none")):
            assert (await para.call("para.start", name=session, network=network))["state"]
    finally:
        for one in made:
            api.remove_network(one)
