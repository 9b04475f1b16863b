"""A recovered session is set up again; its agent starts when it is sent a prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.client import Para
from tests.scratch import Repository

SCRIPT = ".para/setup.sh"


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    """Return an environment whose agent needs no account."""
    return environ | {"PARA_AGENT_NAME": "command"}


async def test_recover_runs_setup_but_not_the_agent(para: Para, repo: Repository, api: Any) -> None:
    repo.commit("set-up", **{SCRIPT: "echo >>/home/para/set-up", ".gitignore": "count\n"})
    await para.call("para.dispatch", prompt="echo run >>ran", name="fix")
    await para.agent("fix", "done")
    await para.call("para.cancel", name="fix")
    back = await para.call("para.recover", name="fix")
    assert (back["state"], back["agent"]["state"]) == ("running", "exited")
    assert "not started again" in back["agent"]["detail"]
    container = back["container"]["name"]
    assert engine.run(api, container, "wc -l </home/para/set-up").strip() == "1"
    assert engine.run(api, container, "cat ran").split() == ["run"]
    await para.call("para.pause", name="fix")
    await para.call("para.resume", name="fix")
    assert (await para.call("para.show", name="fix"))["agent"]["state"] == "exited"
    await para.call("para.send", name="fix", text="echo more >>ran")
    await para.agent("fix", "done")
    assert "more" in engine.run(api, container, "cat ran").split()


async def test_recover_reports_a_failed_setup(para: Para, repo: Repository) -> None:
    repo.commit("set-up", **{SCRIPT: "exit 3"})
    await para.call("para.dispatch", prompt="true", name="fix")
    await para.call("para.cancel", name="fix")
    back = await para.call("para.recover", name="fix")
    assert back["state"] == "failed"
    assert "exit code 3" in back["problem"]["message"]


async def test_uncommitted_setup_script_is_a_warning(
    para: Para, repo: Repository, home: Path
) -> None:
    repo.commit("ignored", **{".gitignore": ".para/\n"})
    repo.write(SCRIPT, "true")
    session = await para.call("para.start", name="fix")
    assert any(SCRIPT in warning for warning in session["warnings"])
    (shown,) = (await para.call("para.list"))["sessions"]
    assert shown["warnings"] == session["warnings"]
    repo.git("add", "-f", SCRIPT)
    repo.git("commit", "-qm", "set-up")
    assert (await para.call("para.start", name="other"))["warnings"] == []
    assert home.is_dir()
