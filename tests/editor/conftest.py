"""Fixtures: a workbench with the extension, and a window."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from para_server import __version__
from para_server.core.settings import EngineSettings
from para_server.engine.endpoint import find_address
from tests import engine, scratch
from tests.editor.workbench import (
    ROOT,
    Switch,
    Window,
    Workbench,
    browser,
    create_attaching_extension,
    without_para,
)
from tests.scratch import Repository

VSIX = ROOT / "dist" / f"para-{__version__}.vsix"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a workbench."""
    return tmp_path_factory.mktemp("editor")


@pytest.fixture(scope="module", autouse=True)
def _idle_engine(
    tmp_path_factory: pytest.TempPathFactory,
    mended_engine: None,  # noqa: ARG001 # needed before the engine is used
) -> None:
    """Stop containers of earlier tests, which the status bar would count."""
    api = engine.connect()
    left = engine.clear_below(api, tmp_path_factory.getbasetemp())
    api.close()
    assert left == []


@pytest.fixture(scope="module")
def switch(place: Path) -> Switch:
    """Return a switch between para and the engine."""
    return Switch(place / "engine.sock", find_address(EngineSettings(), os.environ))


@pytest.fixture(scope="module")
def machine(place: Path, switch: Switch) -> Iterator[dict[str, str]]:
    """Return an environment without para; remove its containers afterwards."""
    home = place / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PARA_", "GIT_"))}
    tools = engine.far_away(place, switch.address)
    # a workbench takes the PATH of the person's shell
    (home / ".profile").write_text(f'PATH="{tools}:$PATH"\n')
    yield without_para(kept) | {
        "HOME": str(home),
        "SHELL": "/bin/bash",
        "DOCKER_HOST": switch.address,
        "PARA_HOME": str(place / "para"),
        "PARA_CONFIG_HOME": str(place / "config"),
        "PARA_AGENT_NAME": "command",
    }
    api = engine.connect()
    engine.clear(api, place / "para")
    api.close()


@pytest.fixture(scope="module")
def project(place: Path) -> Repository:
    """Create the repository of the sessions."""
    return scratch.make(place / "shop")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start a browser for all windows."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def workbench(place: Path, machine: dict[str, str]) -> Workbench:
    """Create a workbench with the extension."""
    made = Workbench(place / "workbench", machine)
    assert VSIX.exists(), "there is no extension to test: make editor"
    made.install(VSIX)
    return made


@pytest.fixture(scope="module")
def address(workbench: Workbench) -> Iterator[str]:
    """Serve the workbench."""
    with workbench.serving() as url:
        yield url


@pytest.fixture(scope="module")
def shared(address: str, chromium: Browser, project: Repository) -> Window:
    """Open the repository in a window."""
    return Window.open(chromium, address, project.path)


@pytest.fixture
def window(shared: Window, request: pytest.FixtureRequest) -> Iterator[Window]:
    """Return the window; save a picture of it if the test fails."""
    yield shared
    if getattr(request.node, "failed", False):
        shared.save_failure(request.node.name)
    shared.page.keyboard.press("Escape")


@pytest.fixture
def attaching(
    place: Path,
    workbench: Workbench,
    address: str,
    chromium: Browser,
    project: Repository,
    request: pytest.FixtureRequest,
) -> Iterator[Window]:
    """Open a window of an editor that can attach to containers."""
    workbench.install(create_attaching_extension(place / "attacher.vsix"))
    opened = Window.open(chromium, address, project.path)
    yield opened
    if getattr(request.node, "failed", False):
        opened.save_failure(request.node.name)
    opened.page.context.close()


@pytest.fixture(scope="module")
def containers(place: Path, machine: dict[str, str]) -> Any:
    """Return a function that lists the containers of this para."""
    assert machine
    api = engine.connect()

    def look() -> list[str]:
        return [one["Names"][0] for one in engine.containers(api, place / "para")]

    yield look
    api.close()
