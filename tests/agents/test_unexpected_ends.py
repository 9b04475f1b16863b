"""An agent whose processes ended unexpectedly is not shown as working."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client import Para, eventually


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    """Return an environment whose agent needs no account."""
    return environ | {"PARA_AGENT_NAME": "command"}


def restart(api: Any, container: str) -> None:
    api.restart(container, timeout=0)


def kill_terminal(api: Any, container: str) -> None:
    kill(api, container, "tmux kill-server")


def kill_supervisor(api: Any, container: str) -> None:
    kill(api, container, "pkill -9 -f [s]upervise.sh")


def kill(api: Any, container: str, command: str) -> None:
    made = api.exec_create(container, ["sh", "-c", command], user="para")
    api.exec_start(made["Id"])


@pytest.mark.parametrize("end", [restart, kill_terminal, kill_supervisor])
async def test_ended_agent_is_shown_as_exited_and_resumes(para: Para, api: Any, end: Any) -> None:
    session = await para.call("para.dispatch", prompt="nohup sleep 600", name="fix")
    await para.agent("fix", "working")
    await para.until(lambda change: states(change) == ["working"])
    end(api, session["container"]["name"])
    shown = await para.agent("fix", "exited")
    assert shown["state"] == "running"
    assert "ended unexpectedly" in shown["agent"]["detail"]
    # clients are notified without a request
    await para.until(lambda change: states(change) == ["exited"])
    await para.call("para.pause", name="fix")
    await para.call("para.resume", name="fix")
    await para.agent("fix", "working")


def states(change: dict[str, Any]) -> list[str]:
    return [one["agent"]["state"] for one in change["sessions"]]


async def test_session_with_ended_agent_pauses_when_idle(servers: Any, api: Any) -> None:
    para = await servers(extra={"PARA_AGENT_IDLE_MINUTES": "0.05"})
    session = await para.call("para.dispatch", prompt="sleep 600", name="fix")
    await para.agent("fix", "working")
    restart(api, session["container"]["name"])

    async def state() -> Any:
        return (await para.call("para.show", name="fix"))["state"]

    await eventually(state, lambda state: state == "paused")


async def test_frozen_agent_is_not_shown_as_exited(para: Para) -> None:
    await para.call("para.dispatch", prompt="sleep 600", name="fix")
    await para.agent("fix", "working")
    await para.call("para.pause", name="fix", mode="freeze")
    await para.call("para.resume", name="fix")
    assert (await para.call("para.show", name="fix"))["agent"]["state"] == "working"
