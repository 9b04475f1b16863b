"""Run Neovim and Emacs headless with the configuration in docs/editors.md."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.editor.workbench import ROOT
from tests.scratch import Repository

NEOVIM = """
local messages = {}
vim.notify = function(text) table.insert(messages, text) end
local function wait_for(what)
  local function came()
    return (Para() .. "\\n" .. table.concat(messages, "\\n")):find(what, 1, true) ~= nil
  end
  if not vim.wait(60000, came, 20) then
    print("never came: " .. what .. ", but " .. Para() .. ": " .. vim.inspect(messages))
    vim.cmd("cquit 1")
  end
  messages = {}
end
vim.api.nvim_exec_autocmds("VimEnter", {})
wait_for("Para 0/50")
vim.cmd("Para finish nothing")
wait_for("There is no active session")
vim.cmd("Para dispatch echo done >result")
wait_for("is done: exit code 0")
vim.cmd("Para list")
wait_for("running  para/")
assert(vim.api.nvim_eval_statusline(vim.o.statusline, {}).str:find("Para 1/50", 1, true))
vim.cmd("Para finish The result")
wait_for("finished  para/")
wait_for("Para 0/50")
vim.cmd("qa!")
"""
EMACS = """
(defun wait-for (what)
  (let ((until (+ (float-time) 60)))
    (while (not (string-match-p what para-segment))
      (when (> (float-time) until) (error "never came: %s, but %s" what para-segment))
      (accept-process-output nil 0.05))))
(para-server)
(wait-for "Para 0/50")
(condition-case failed (para "finish" "nothing") (error (message "%s" failed)))
(para "dispatch" "echo done >result; exit 3")
(wait-for "1 needs you")
(para "list")
(para "finish" "The result")
(wait-for "Para 0/50")
"""


def read_configuration(language: str) -> str:
    """Return the configuration of an editor from the docs."""
    match = re.search(
        rf"```{language}\n(.*?)```", (ROOT / "docs/editors.md").read_text(), re.DOTALL
    )
    assert match is not None
    return match[1]


def run_editor(environ: dict[str, str], repo: Repository, *argv: str) -> str:
    """Run an editor in the repository and return its output."""
    tools = Path(sys.executable).parent
    environ = environ | {"PATH": f"{tools}:{environ['PATH']}"}
    done = subprocess.run(
        argv,
        cwd=repo.path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(autouse=True)
def _limit_of_50(environ: dict[str, str], api: Any) -> None:
    assert environ["PARA_CONTAINER_MAX_RUNNING"] == "50"
    assert api.ping()


def test_neovim_configuration_has_at_most_40_lines() -> None:
    assert len(read_configuration("lua").splitlines()) <= 40


def test_neovim_runs_commands(
    environ: dict[str, str], repo: Repository, tmp_path: Path, api: Any, home: Path
) -> None:
    (tmp_path / "init.lua").write_text(read_configuration("lua"))
    (tmp_path / "drive.lua").write_text(NEOVIM)
    nvim = str(Path(sys.executable).with_name("nvim"))
    script = str(tmp_path / "drive.lua")
    run_editor(environ, repo, nvim, "--headless", "-u", str(tmp_path / "init.lua"), "-S", script)
    assert_finished(repo, api, home)


def test_emacs_runs_commands(
    environ: dict[str, str], repo: Repository, tmp_path: Path, api: Any, home: Path
) -> None:
    (tmp_path / "init.el").write_text(read_configuration("elisp"))
    (tmp_path / "drive.el").write_text(EMACS)
    emacs = shutil.which("emacs")
    assert emacs, "there is no Emacs to test in: make workbench"
    loads = [word for name in ("init.el", "drive.el") for word in ("-l", str(tmp_path / name))]
    output = run_editor(environ, repo, emacs, "--batch", *loads)
    for line in ("There is no active session", "has failed: exit code 3", "  finished  para/"):
        assert line in output
    assert_finished(repo, api, home)


def assert_finished(repo: Repository, api: Any, home: Path) -> None:
    """Assert that the work is on a branch and that no container is left."""
    (branch,) = repo.refs("refs/heads/para")
    assert repo.show(f"{branch}:result") == "done"
    assert repo.git("log", "-1", "--format=%s", branch) == "The result"
    assert engine.containers(api, home) == []
