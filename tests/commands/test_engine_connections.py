"""Connections to the engine: API versions, TLS, proxies and errors."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from para_server.core.errors import ParaError
from para_server.core.settings import EngineSettings
from para_server.engine.client import Engine
from para_server.engine.container_stats import run_within_limits
from para_server.engine.endpoint import find_address
from para_server.engine.events import watch_session_containers
from para_server.engine.exec_command import execute
from para_server.engine.exec_stream import stream_command
from tests import engine, front
from tests.client import DEADLINE, Para, eventually
from tests.front import WITHOUT_TLS, Front

Servers = Callable[..., Awaitable[Para]]
NEWER = {"ApiVersion": "1.52", "MinAPIVersion": "1.44"}


@pytest.fixture
def before(api: Any) -> Front:
    """Create a proxy for the engine, which does not listen yet."""
    assert api.ping()
    return Front(find_address(EngineSettings(), os.environ))


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a socket, which must be short."""
    return tmp_path_factory.mktemp("e") / "s"


def without_proxies() -> dict[str, str]:
    names = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
    return {name: "" for upper in names for name in (upper, upper.lower())}


async def test_newer_engine_is_used_with_its_oldest_api_version(
    servers: Servers, before: Front, place: Path
) -> None:
    before.version = NEWER
    para = await servers(extra={"DOCKER_HOST": before.on_socket(place)}, watching=False)
    await para.call("para.start", name="fix")
    await para.call("para.cancel", name="fix")
    assert len(before.requests(" /version ")) == 1, "it is asked once"
    assert before.requests(" /v1.44/containers/create")
    assert not before.requests(" /v1.41/")


async def test_upgraded_engine_is_queried_again(
    servers: Servers, before: Front, place: Path
) -> None:
    before.version = {"ApiVersion": "1.43", "MinAPIVersion": "1.24"}
    para = await servers(extra={"DOCKER_HOST": before.on_socket(place)}, watching=False)
    await para.call("para.start", name="fix")
    before.version = NEWER
    await para.call("para.cancel", name="fix")
    assert len(before.requests(" /version ")) >= 2


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ({"ApiVersion": "1.40", "MinAPIVersion": "1.12"}, "too old: it supports API 1.40"),
        ({"ApiVersion": "2.3", "MinAPIVersion": "2.1"}, "too new: it requires API 2.1"),
    ],
)
async def test_engine_without_a_common_api_version_is_refused(
    servers: Servers, before: Front, place: Path, version: dict[str, str], told: str
) -> None:
    before.version = version
    para = await servers(extra={"DOCKER_HOST": before.on_socket(place)}, watching=False)
    refused = await para.fails("engine.refused", "para.start")
    assert told in refused.message
    assert refused.remedies
    checks = {c["name"]: c for c in (await para.call("para.doctor"))["checks"]}
    assert told in checks["engine"]["detail"]


async def test_other_servers_are_not_taken_for_an_engine(
    servers: Servers, before: Front, place: Path
) -> None:
    before.answers = {" /": (200, json.dumps(["hello"]))}
    para = await servers(extra={"DOCKER_HOST": before.on_socket(place)}, watching=False)
    assert (
        "not a container engine" in (await para.fails("engine.unreachable", "para.start")).message
    )


async def test_unreachable_engine_is_named_with_its_setting(servers: Servers, place: Path) -> None:
    para = await servers(extra={"DOCKER_HOST": f"unix://{place}"}, watching=False)
    refused = await para.fails("engine.unreachable", "para.start")
    assert f"at unix://{place} (DOCKER_HOST)" in refused.message
    para = await servers(extra={"PARA_ENGINE_HOST": "tcp://me:secret@127.0.0.1:1"}, watching=False)
    refused = await para.fails("engine.unreachable", "para.start")
    assert "tcp://me@127.0.0.1:1 is not a valid engine address" in refused.message
    assert "secret" not in refused.message
    para = await servers(extra={"PARA_ENGINE_HOST": "tcp://127.0.0.1:1"}, watching=False)
    refused = await para.fails("engine.unreachable", "para.start")
    assert "at tcp://127.0.0.1:1 (engine.host)" in refused.message
    checks = (await para.call("para.doctor"))["checks"]
    (found,) = (check for check in checks if check["name"] == "engine")
    assert "para.doctor" not in [one["command"] for one in found["problem"]["remedies"]]


def test_vanished_engine_address_is_reported() -> None:
    lost = Engine(EngineSettings(context="removed"), {})
    translated = lost.translate_error(ConnectionError())
    assert isinstance(translated, ParaError)
    assert str(translated) == "The container engine does not answer"


@pytest.mark.parametrize("by", ["variables", "context"])
async def test_tls_engine_is_reached_like_docker_does(
    servers: Servers, before: Front, tmp_path: Path, by: str
) -> None:
    certificates = tmp_path / "certificates"
    port = before.on_port(front.certificates(certificates))
    host = f"tcp://127.0.0.1:{port}"
    # what is set for other programs is not for the engine
    extra = {"DOCKER_CONFIG": str(tmp_path / "docker"), "REQUESTS_CA_BUNDLE": "/dev/null"}
    if by == "variables":
        extra |= {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)}
        extra |= {"DOCKER_HOST": host}
    else:
        extra |= {"DOCKER_HOST": "", "DOCKER_CONTEXT": "far"}
        engine.make_context(tmp_path / "docker", "far", host, certificates)
    para = await servers(extra=extra, watching=False)
    await para.call("para.dispatch", prompt="echo done > done; cat done", name="fix")
    await para.agent("fix", "done")
    assert (await para.call("para.logs", name="fix"))["text"].strip() == "done"
    opened = (await para.call("para.open", name="fix"))["terminal"]["args"]
    assert "--tlsverify" in opened
    assert any(word.endswith("/cert.pem") for word in opened)
    finished = await para.call("para.finish", name="fix", message="Do it")
    assert finished["files"] == 1


@pytest.mark.parametrize("way", ["socket", "tls", "ssh"])
async def test_stream_ends_with_its_reader_over_every_transport(
    para: Para, api: Any, environ_of: dict[str, str]
) -> None:
    session = await para.call("para.start", name="fix")
    box, reached = session["container"]["name"], Engine(EngineSettings(timeout=5), environ_of)
    much = ["timeout", "3", "cat", "/dev/zero"]
    try:
        assert await run_within_limits(reached, box, much, seconds=DEADLINE, max_bytes=1) == "\0"
        # an engine that writes to a stream that nobody reads reports the end of no later program
        engine.run(api, box, "while pgrep -x cat; do sleep 0.1; done")
        silent = asyncio.ensure_future(execute(reached, box, ["sleep", "infinity"]))
        await asyncio.wait({silent}, timeout=DEADLINE)
        assert silent.done(), "it is read on, though its time is up"
        with pytest.raises(ParaError, match="timed out"):
            await silent
        listening = watch_session_containers(reached)
        assert await anext(listening) == ""
        await listening.aclose()  # type: ignore[attr-defined] # it is a generator
        await eventually(_event_readers, lambda found: not found)
        assert (await execute(reached, box, ["echo", "on"])) == (0, "on\n")
    finally:
        await para.call("para.cancel", name="fix")  # with it ends whatever is still read
        reached.close()


@pytest.mark.parametrize("way", ["socket", "tls", "ssh"])
async def test_output_of_a_command_arrives_as_it_is_printed_however_the_engine_is_reached(
    para: Para, api: Any, environ_of: dict[str, str]
) -> None:
    session = await para.call("para.start", name="fix")
    box, reached = session["container"]["name"], Engine(EngineSettings(), environ_of)
    reported: list[str] = []

    async def lines() -> list[str]:
        return reported

    script = "echo begun; until [ -e /tmp/go ]; do sleep 0.1; done; exit 3"
    try:
        command = ["sh", "-c", script]
        running = asyncio.ensure_future(stream_command(reached, box, command, reported.append))
        await eventually(lines, lambda seen: seen == ["begun"])
        engine.run(api, box, "touch /tmp/go")
        assert await running == 3
    finally:
        await para.call("para.cancel", name="fix")  # with it ends whatever is still read
        reached.close()


async def _event_readers() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "engine-events"]


@pytest.fixture
def environ_of(
    way: str, before: Front, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Return the environment in which the engine is reached in this way."""
    if way == "socket":
        return {"DOCKER_HOST": before.on_socket(place)}
    if way == "tls":
        certificates = tmp_path / "certificates"
        host = f"tcp://127.0.0.1:{before.on_port(front.certificates(certificates))}"
        secured = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)}
        return {"DOCKER_HOST": host, **secured}
    ssh = engine.far_away(tmp_path, find_address(EngineSettings(), os.environ))
    monkeypatch.setenv("PATH", f"{ssh}:{os.environ['PATH']}")
    return {"DOCKER_HOST": "ssh://ada@far"}


async def test_wrong_certificates_are_reported_as_the_cause(
    servers: Servers, before: Front, tmp_path: Path
) -> None:
    port = before.on_port(front.certificates(tmp_path / "right"))
    front.certificates(tmp_path / "wrong")
    asked = {"DOCKER_HOST": f"tcp://127.0.0.1:{port}", "DOCKER_TLS_VERIFY": "1"}
    wrong = await servers(extra=asked | {"DOCKER_CERT_PATH": str(tmp_path / "wrong")})
    assert "TLS" in (await wrong.fails("engine.unreachable", "para.start")).message
    missing = await servers(extra=asked | {"DOCKER_CERT_PATH": str(tmp_path / "none")})
    refused = await missing.fails("engine.unreachable", "para.start")
    assert str(tmp_path / "none" / "ca.pem") in refused.message


async def test_loopback_engine_is_reached_without_a_proxy(servers: Servers, before: Front) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    extra = without_proxies() | {"HTTP_PROXY": nobody, "http_proxy": nobody}
    extra |= WITHOUT_TLS | {"DOCKER_HOST": f"tcp://127.0.0.1:{before.on_port()}"}
    para = await servers(extra=extra)
    checks = {c["name"]: c for c in (await para.call("para.doctor"))["checks"]}
    assert checks["engine"]["ok"], checks["engine"]


async def test_session_gets_proxies_of_the_docker_configuration(
    servers: Servers, api: Any, tmp_path: Path
) -> None:
    proxies = {"httpProxy": "http://proxy.invalid:3128", "noProxy": "127.0.0.1"}
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text(json.dumps({"proxies": {"default": proxies}}))
    extra = {"DOCKER_CONFIG": str(tmp_path / "docker"), "PARA_CONTAINER_ENV": '{"NO_PROXY": "x"}'}
    para = await servers(extra=extra | {"DOCKER_HOST": find_address(EngineSettings(), os.environ)})
    session = await para.call("para.start", name="fix")
    inside = engine.run(api, session["container"]["name"], "env").splitlines()
    assert "HTTP_PROXY=http://proxy.invalid:3128" in inside
    assert "http_proxy=http://proxy.invalid:3128" in inside
    assert "NO_PROXY=x" in inside, "the user's own settings count more"
    assert "no_proxy=127.0.0.1" in inside


@pytest.mark.parametrize(
    "words",
    [
        "unshare: no space left on device",
        "could not create session key: no space left on device",
        "inotify_add_watch: no space left on device",
        "mkdir /sys/fs/cgroup/memory/docker/1: no space left on device",
        "exec: /bin/x: permission denied",
    ],
)
async def test_engine_errors_are_not_blamed_on_other_causes(
    servers: Servers, before: Front, place: Path, words: str
) -> None:
    before.answers = {"POST .*/containers/.*/start": (500, json.dumps({"message": words}))}
    para = await servers(extra={"DOCKER_HOST": before.on_socket(place)}, watching=False)
    refused = await para.fails("engine.refused", "para.start")
    assert words in refused.message


async def test_full_disk_of_the_engine_is_reported_in_its_words(
    servers: Servers, before: Front, place: Path
) -> None:
    words = "write /var/lib/docker/overlay2/x/file: no space left on device"
    before.answers = {"POST .*/containers/.*/start": (500, json.dumps({"message": words}))}
    para = await servers(extra={"DOCKER_HOST": before.on_socket(place)}, watching=False)
    refused = await para.fails("engine.disk-full", "para.start")
    assert refused.message == f"The engine's disk is full: {words}"
