"""The extension finds a Python without running code of the current folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.editor.workbench import ROOT

# the extension's own module, with as much of VS Code as it asks before it installs the server
EDITOR = """
const Module = require('node:module');
const load = Module._load;
const get = (name) => (name === 'python' ? process.env.CHOSEN : '');
const token = { onCancellationRequested() {} };
const vscode = {
  workspace: { getConfiguration: () => ({ get }) },
  window: { withProgress: (how, work) => work({ report() {} }, token) },
  ProgressLocation: {},
};
Module._load = (name, ...rest) => (name === 'vscode' ? vscode : load(name, ...rest));
const { findServer } = require(process.env.BUNDLE);
const context = {
  extension: { packageJSON: { version: '0' } },
  globalStorageUri: { fsPath: process.env.STORAGE },
  asAbsolutePath: (part) => `${process.env.EXTENSION}/${part}`,
};
findServer(context).then(console.log, (error) => console.log(error.message));
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bundle") / "server.js"
    options = ("--bundle", "--platform=node", "--format=cjs", "--external:vscode")
    program = str(ROOT / "editor/node_modules/.bin/esbuild")
    source = str(ROOT / "editor/server.ts")
    subprocess.run(
        [program, source, *options, f"--outfile={made}"], check=True, capture_output=True
    )
    return made


@pytest.mark.parametrize("chosen", ["", sys.executable], ids=["from the PATH", "chosen"])
def test_modules_of_the_folder_are_not_imported(bundle: Path, tmp_path: Path, chosen: str) -> None:
    folder, extension = tmp_path / "cloned", tmp_path / "extension"
    (extension / "wheel").mkdir(parents=True)
    (extension / "install.py").write_text("import sys, platform; sys.exit('nothing to install')\n")
    folder.mkdir()
    trap = f"open({str(tmp_path / 'canary')!r}, 'w').close()\n"
    for module in ("platform", "sys", "site", "sitecustomize", "usercustomize", "re"):
        (folder / f"{module}.py").write_text(trap)
    python = tmp_path / "bin"
    python.mkdir()
    (python / "python3").symlink_to(sys.executable)
    result = subprocess.run(
        ["node", "-e", EDITOR],
        cwd=folder,
        env=os.environ
        | {
            "BUNDLE": str(bundle),
            "CHOSEN": chosen,
            "EXTENSION": str(extension),
            "STORAGE": str(tmp_path / "storage"),
            "PATH": f"{python}:/usr/bin:/bin",
            "PYTHONPATH": str(folder),
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "nothing to install" in result
    assert not (tmp_path / "canary").exists()
