"""The address of the engine, and how editors and the docker command line get it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from para_server.core.errors import ParaError
from para_server.core.settings import EngineSettings
from para_server.engine.endpoint import (
    Endpoint,
    command_prefix,
    docker_options,
    editor_settings,
    find_address,
    find_proxy,
    locate_engine,
    read_session_proxies,
)


@pytest.mark.parametrize(
    ("settings", "environ", "expected"),
    [
        ({}, {}, {}),
        ({}, {"DOCKER_HOST": "unix:///run/user/1000/docker.sock"}, {}),
        ({}, {"DOCKER_HOST": "ssh://ada@build"}, {"host": "ssh://ada@build"}),
        ({"host": "ssh://ada@build"}, {}, {"host": "ssh://ada@build"}),
        ({"host": "tcp://build:2376"}, {"DOCKER_HOST": "ssh://x"}, {"host": "tcp://build:2376"}),
        ({"host": "unix:///var/run/docker.sock"}, {"DOCKER_HOST": "ssh://x"}, {}),
        ({"context": "build"}, {"DOCKER_HOST": "ssh://x"}, {"context": "build"}),
        ({}, {"DOCKER_CONTEXT": "build"}, {"context": "build"}),
        ({"context": "default"}, {}, {}),
    ],
)
def test_an_editor_gets_the_address_of_another_engine(
    settings: dict[str, str], environ: dict[str, str], expected: dict[str, str], tmp_path: Path
) -> None:
    environ |= {"DOCKER_CONFIG": str(tmp_path)}
    assert editor_settings(EngineSettings(**settings), environ) == expected


def test_finds_the_current_docker_context(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "build"}))
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    assert editor_settings(EngineSettings(), environ) == {"context": "build"}


@pytest.mark.parametrize(
    ("programs", "begins"),
    [
        (["docker", "podman"], ("docker", "--host")),
        (["docker"], ("docker", "--host")),
        (["podman"], ("podman", "--url")),
        ([], ("docker", "--host")),
    ],
)
def test_a_terminal_command_uses_the_installed_program(
    programs: list[str], begins: tuple[str, str], tmp_path: Path
) -> None:
    for name in programs:
        (tmp_path / name).touch(0o755)
    command = command_prefix(Endpoint(address="unix:///run/podman.sock"), {"PATH": str(tmp_path)})
    assert command == (*begins, "unix:///run/podman.sock")


@pytest.mark.parametrize(
    ("host", "environ", "address"),
    [
        ("tcp://build", {}, "tcp://build:2375"),
        ("tcp://build:", {}, "tcp://build:2375"),
        ("build", {}, "tcp://build:2375"),
        ("build:4000", {}, "tcp://build:4000"),
        ("tcp://", {}, "tcp://localhost:2375"),
        ("tcp://[::1]", {}, "tcp://[::1]:2375"),
        ("tcp://build/path", {}, "tcp://build:2375/path"),
        ("/run/docker.sock", {}, "unix:///run/docker.sock"),
        (" unix:///run/docker.sock", {}, "unix:///run/docker.sock"),
        ("ssh://ada@build", {"DOCKER_TLS_VERIFY": "1"}, "ssh://ada@build"),
        ("unix:///run/docker.sock", {"DOCKER_TLS_VERIFY": "1"}, "unix:///run/docker.sock"),
        ("tcp://build", {"DOCKER_TLS": "1"}, "tcp://build:2376"),
    ],
)
def test_an_address_is_completed_as_docker_does(
    host: str, environ: dict[str, str], address: str, tmp_path: Path
) -> None:
    environ |= {"DOCKER_HOST": host, "DOCKER_CONFIG": str(tmp_path)}
    assert find_address(EngineSettings(), environ) == address
    assert (
        find_address(EngineSettings(host=host), environ | {"DOCKER_HOST": "tcp://other"}) == address
    )


def test_an_invalid_port_is_refused(tmp_path: Path) -> None:
    environ = {"DOCKER_HOST": "tcp://build:many", "DOCKER_CONFIG": str(tmp_path)}
    with pytest.raises(ParaError, match="tcp://build:many is not a valid engine address"):
        find_address(EngineSettings(), environ)


def test_the_docker_command_line_gets_the_certificates(tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).touch()
    environ = {"DOCKER_HOST": "tcp://build", "DOCKER_CERT_PATH": str(tmp_path)}
    assert docker_options(locate_engine(EngineSettings(), environ)) == (
        "--host",
        "tcp://build:2375",
    )
    options = docker_options(locate_engine(EngineSettings(), environ | {"DOCKER_TLS_VERIFY": "1"}))
    assert options[:3] == ("--host", "tcp://build:2376", "--tlsverify")
    assert options[3:5] == ("--tlscacert", str(tmp_path / "ca.pem"))
    (tmp_path / "key.pem").unlink()
    with pytest.raises(ParaError, match=r"key\.pem"):
        locate_engine(EngineSettings(), environ | {"DOCKER_TLS_VERIFY": "1"})


@pytest.mark.parametrize(
    ("address", "environ", "found"),
    [
        ("tcp://build:2375", {"HTTP_PROXY": "http://p"}, "http://p"),
        ("tcp://build:2375", {"http_proxy": "http://p"}, "http://p"),
        ("tcp://build:2375", {"HTTPS_PROXY": "http://p", "ALL_PROXY": "http://p"}, None),
        ("tcp://127.0.0.2:2375", {"HTTP_PROXY": "http://p"}, None),
        ("tcp://localhost:2375", {"HTTP_PROXY": "http://p"}, None),
        ("tcp://[::1]:2375", {"HTTP_PROXY": "http://p"}, None),
        ("unix:///s", {"HTTP_PROXY": "http://p"}, None),
        ("ssh://build", {"HTTP_PROXY": "http://p"}, None),
    ],
)
def test_an_engine_is_behind_a_proxy_if_docker_uses_one(
    address: str, environ: dict[str, str], found: str | None
) -> None:
    assert find_proxy(Endpoint(address=address), environ) == found


def test_proxies_of_the_docker_configuration_apply_to_one_or_all_engines(
    tmp_path: Path,
) -> None:
    proxies = {
        "default": {"httpProxy": "http://all", "noProxy": "x", "allProxy": ""},
        "tcp://build:2375": {"httpsProxy": "http://build"},
    }
    (tmp_path / "config.json").write_text(json.dumps({"proxies": proxies}))
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    everywhere = {"HTTP_PROXY": "http://all", "http_proxy": "http://all"}
    assert read_session_proxies("unix:///s", environ) == {
        **everywhere,
        "NO_PROXY": "x",
        "no_proxy": "x",
    }
    there = {"HTTPS_PROXY": "http://build", "https_proxy": "http://build"}
    assert read_session_proxies("tcp://build:2375", environ) == there
    for wrong in ("[]", '{"proxies": 1}', '{"proxies": {"default": [1]}}', "\0"):
        (tmp_path / "config.json").write_text(wrong)
        assert read_session_proxies("unix:///s", environ) == {}
