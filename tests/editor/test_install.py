"""Install the extension's server with unusual pip settings, once for all windows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.editor.workbench import ROOT

INSTALL = ROOT / "editor" / "install.py"
# settings for other purposes, each of which would keep pip from installing into an environment
PIP_CONFIG = """[global]
require-virtualenv = true
[install]
user = true
target = {home}/lib
prefix = {home}/prefix
require-hashes = true
dry-run = true
"""


@pytest.fixture
def pip_user(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user with unusual pip settings."""
    settings = tmp_path / "config/pip/pip.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(PIP_CONFIG.format(home=tmp_path))
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/__init__.py").write_text("raise SystemExit('foreign code')")
    return os.environ | {
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "PIP_USER": "1",
        "PYTHONPATH": str(tmp_path),
    }


def start_installation(home: Path, environ: dict[str, str]) -> subprocess.Popen[str]:
    wheels = [str(wheel) for wheel in (ROOT / "build/editor/wheel").glob("*.whl")]
    assert wheels, "there is nothing to install: make editor"
    return subprocess.Popen(
        [sys.executable, "-I", INSTALL, home, *wheels],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def version(home: Path) -> str:
    return subprocess.check_output([str(home / "bin/para-server"), "--version"], text=True)


@pytest.mark.timeout(600)
def test_concurrent_windows_install_once_and_replace_a_missing_python(
    tmp_path: Path, pip_user: dict[str, str]
) -> None:
    home = tmp_path / "a place" / "server-1"
    (home / "bin").mkdir(parents=True)  # as an installation that was killed left it
    windows = [start_installation(home, pip_user) for _ in range(3)]
    lines = [window.communicate()[0] for window in windows]
    assert [window.returncode for window in windows] == [0, 0, 0], lines
    assert sum("Creating an environment" in one for one in lines) == 1
    assert sum("Waiting for the installation in another window" in one for one in lines) == 2
    assert version(home).startswith("para-server ")
    assert not [f for f in ("lib", "prefix") if (tmp_path / f).exists()]
    for link in (home / "bin").resolve().iterdir():
        if link.name.startswith("python") and link.is_symlink() and link.readlink().is_absolute():
            link.unlink()
            link.symlink_to("/removed/bin/python3")
    again = start_installation(home, pip_user)
    again.communicate()
    assert again.returncode == 0
    assert version(home).startswith("para-server ")
    assert len([f for f in home.iterdir() if f.name != "bin"]) == 1


def test_stopped_installation_leaves_nothing(tmp_path: Path, pip_user: dict[str, str]) -> None:
    home = tmp_path / "place" / "server-1"
    window = start_installation(home, pip_user)
    assert window.stdout is not None
    assert "Creating" in window.stdout.readline()
    window.terminate()
    window.communicate()
    assert window.returncode == 1
    assert list(home.iterdir()) == []
