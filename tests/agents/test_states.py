"""The state of an agent, from its hooks and its own status file."""

from __future__ import annotations

import json
import statistics
from datetime import datetime
from typing import Any

import pytest

from tests import engine
from tests.agents.fake_api import Block, FakeApi, bash, text, tool, wait_until_speaking
from tests.client import Para
from tests.scratch import Repository

ASK = {"PARA_AGENT_PERMISSIONS": "ask"}
QUESTION = tool(
    "AskUserQuestion",
    questions=[
        {
            "question": "Which colour?",
            "header": "Colour",
            "multiSelect": False,
            "options": [
                {"label": "Red", "description": "r"},
                {"label": "Blue", "description": "b"},
            ],
        }
    ],
)
RISKY = bash("touch risky && rm -rf build")
SLOW = text("one two three four five six seven eight nine ten " * 10, pace=0.3)


async def wait_for_detail(para: Para, name: str, *states: str) -> str:
    return str((await para.agent(name, *states))["agent"]["detail"])


async def press_key(api: Any, session: dict[str, Any], key: str) -> None:
    engine.run(api, session["container"]["name"], f"tmux send-keys -t agent {key}")


def list_files(api: Any, session: dict[str, Any]) -> set[str]:
    return set(engine.run(api, session["container"]["name"], "ls").split())


async def test_permission_request_is_shown_and_answered_by_a_digit(
    servers: Any, fake_api: FakeApi, api: Any
) -> None:
    para = await servers(extra=ASK)
    fake_api.script("fix", [RISKY], [text("Done.")])
    session = await para.call("para.dispatch", prompt="fix it", name="fix")
    assert (
        await wait_for_detail(para, "fix", "waiting")
        == f"permission: Bash: {RISKY['input']['command']}"
    )
    bar = (await para.until(lambda c: "needs you" in c["statusBar"]["text"]))["statusBar"]
    assert "permission: Bash" in bar["tooltip"]
    assert "risky" not in list_files(api, session)
    await para.call("para.send", text="1", name="fix")
    await para.agent("fix", "done")
    assert "risky" in list_files(api, session)


async def test_other_text_closes_a_request_and_is_sent_to_agent(
    servers: Any, fake_api: FakeApi, api: Any
) -> None:
    para = await servers(extra=ASK)
    fake_api.script("rather", [text("As you say.")])
    fake_api.script("fix", [RISKY])
    session = await para.call("para.dispatch", prompt="fix it", name="fix")
    await para.agent("fix", "waiting")
    await para.call("para.send", text="rather not:\nuse $(this) instead", name="fix")
    assert await wait_for_detail(para, "fix", "done") == "As you say."
    assert "rather not:\nuse $(this) instead" in fake_api.prompts()
    assert "risky" not in list_files(api, session)


async def test_question_is_shown_and_answered(para: Para, fake_api: FakeApi) -> None:
    fake_api.script("fix", [QUESTION], [text("Blue it is.")])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    assert await wait_for_detail(para, "fix", "waiting") == "question: Which colour?"
    await para.call("para.send", text="2", name="fix")
    assert await wait_for_detail(para, "fix", "done") == "Blue it is."
    assert fake_api.received("Which colour?", "Blue", "tool_result")


async def test_interrupted_agent_waits_and_continues_after_send(
    para: Para, fake_api: FakeApi, api: Any
) -> None:
    fake_api.script("go on", [text("Gone on.")])
    fake_api.script("fix", [SLOW])
    session = await para.call("para.dispatch", prompt="fix it", name="fix")
    await wait_until_speaking(fake_api)
    await press_key(api, session, "Escape")
    assert await wait_for_detail(para, "fix", "waiting") == "it was interrupted"
    await para.call("para.send", text="go on", name="fix")
    assert await wait_for_detail(para, "fix", "done") == "Gone on."


@pytest.mark.parametrize("status", [401, 500])
async def test_api_error_is_reported(para: Para, fake_api: FakeApi, status: int) -> None:
    fake_api.failing = status
    await para.call("para.dispatch", prompt="fix it", name="fix")
    assert str(status) in await wait_for_detail(para, "fix", "failed")


async def test_unreachable_api_is_reported(servers: Any, environ: dict[str, str]) -> None:
    given = json.loads(environ["PARA_CONTAINER_ENV"]) | {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    para = await servers(extra={"PARA_CONTAINER_ENV": json.dumps(given)})
    await para.call("para.dispatch", prompt="fix it", name="fix")
    assert "connect" in (await wait_for_detail(para, "fix", "failed")).lower()


@pytest.mark.parametrize(("signal", "number"), [("KILL", 9), ("SEGV", 11)])
async def test_killed_agent_fails_and_restarts_on_send(
    para: Para, fake_api: FakeApi, api: Any, signal: str, number: int
) -> None:
    fake_api.script("again", [text("Here again.")])
    fake_api.script("fix", [SLOW])
    session = await para.call("para.dispatch", prompt="fix it", name="fix")
    await wait_until_speaking(fake_api)
    engine.run(api, session["container"]["name"], f"pkill -{signal} -x claude")
    assert await wait_for_detail(para, "fix", "failed") == f"killed by signal {number}"
    await para.call("para.send", text="again", name="fix")
    assert await wait_for_detail(para, "fix", "done") == "Here again."


async def test_stopped_container_is_reported_and_resumed(
    para: Para, fake_api: FakeApi, api: Any
) -> None:
    fake_api.script("interrupted", [text("Gone on.")])
    fake_api.script("fix", [SLOW])
    session = await para.call("para.dispatch", prompt="fix it", name="fix")
    await wait_until_speaking(fake_api)
    api.stop(session["container"]["id"], timeout=0)
    failed = await para.agent("fix", "exited")
    assert (failed["state"], failed["problem"]["slug"]) == ("failed", "session.stopped")
    await para.call("para.resume", name="fix")
    assert await wait_for_detail(para, "fix", "done") == "Gone on."
    assert fake_api.received("fix it", "interrupted")


async def test_repository_cannot_disable_hooks_or_redirect_the_api(
    para: Para, repo: Repository, fake_api: FakeApi
) -> None:
    settings = {
        "disableAllHooks": True,
        "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "touch /tmp/settings"}]}]},
        "env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "CLAUDE_CODE_SANDBOXED": "0"},
    }
    repo.commit("settings", **{".claude/settings.json": json.dumps(settings)})
    fake_api.script("fix", [text("Here.")])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    assert await wait_for_detail(para, "fix", "done") == "Here."
    assert "fix it" in fake_api.prompts()


def reported_states(para: Para) -> list[tuple[str, float]]:
    """Return the reported states in order, each with its delay in seconds."""
    states: list[tuple[str, float]] = []
    for received_at, change in zip(para.heard, para.changes, strict=True):
        for session in change["sessions"]:
            agent = session["agent"]
            if agent is None or agent["since"] is None:
                continue
            since = datetime.fromisoformat(agent["since"]).timestamp()
            if not states or states[-1][0] != agent["state"]:
                states.append((agent["state"], received_at - since))
    return states


async def test_states_are_reported_in_order_and_without_delay(
    servers: Any, fake_api: FakeApi
) -> None:
    para = await servers(extra=ASK)
    turns: list[list[Block] | int] = []
    rounds = 5
    for number in range(rounds):
        turns += [[bash(f"touch file{number}; true")], [text(f"Round {number}.")]]
    fake_api.script("round", *turns)
    await para.call("para.dispatch", prompt="round 0", name="fix")
    for number in range(rounds):
        await para.agent("fix", "waiting")
        await para.call("para.send", text="1", name="fix")
        assert await wait_for_detail(para, "fix", "done") == f"Round {number}."
        if number + 1 < rounds:
            await para.call("para.send", text=f"round {number + 1}", name="fix")
    expected = ["working", "waiting", "working", "done"] * rounds
    await para.until(lambda _: len(reported_states(para)) >= len(expected))
    states = reported_states(para)
    assert [state for state, _ in states] == expected
    delay = statistics.quantiles([seconds for _, seconds in states], n=20)[-1]
    print(f"\n{len(states)} states, p95 after {delay * 1000:.0f} ms")
    assert delay <= 0.150
