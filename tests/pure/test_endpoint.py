"""How an editor that asks the docker command line is told of the engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from para_server.engine.endpoint import for_editors
from para_server.settings import EngineSettings


@pytest.mark.parametrize(
    ("settings", "environ", "told"),
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
def test_an_editor_is_told_of_an_engine_that_is_not_the_usual_one(
    settings: dict[str, str], environ: dict[str, str], told: dict[str, str], tmp_path: Path
) -> None:
    environ |= {"DOCKER_CONFIG": str(tmp_path)}
    assert for_editors(EngineSettings(**settings), environ) == told


def test_the_current_context_of_the_docker_command_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "build"}))
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    assert for_editors(EngineSettings(), environ) == {"context": "build"}
