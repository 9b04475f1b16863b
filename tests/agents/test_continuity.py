"""An agent's conversation survives freezes, pauses and crashes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests import engine
from tests.agents.fake_api import LONG, FakeApi, bash, text, wait_until_speaking
from tests.client import Para, eventually
from tests.scratch import Repository


def freeze_seconds(request: pytest.FixtureRequest) -> float:
    """Return how long to freeze: a minute in a soak run."""
    return 60.0 if request.config.getoption("--soak") else 2.0


async def test_agent_completes_its_answer_after_freeze(
    para: Para, fake_api: FakeApi, request: pytest.FixtureRequest
) -> None:
    fake_api.script("fix", [LONG])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await wait_until_speaking(fake_api)
    await para.call("para.pause", name="fix", mode="freeze")
    await asyncio.sleep(freeze_seconds(request))
    await para.call("para.resume", name="fix")
    assert (await para.agent("fix", "done"))["agent"]["detail"].startswith("word word")
    assert len(fake_api.requests) == 1


async def test_frozen_agent_completes_its_answer_before_the_next_prompt(
    para: Para, fake_api: FakeApi
) -> None:
    fake_api.script("also", [text("That too.")])
    fake_api.script("fix", [LONG])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await wait_until_speaking(fake_api)
    await para.call("para.pause", name="fix", mode="freeze")
    await para.call("para.resume", name="fix", prompt="also this")
    await eventually(
        lambda: para.call("para.show", name="fix"), lambda s: s["agent"]["detail"] == "That too."
    )
    assert fake_api.received("fix it", "word end", "also this")


async def test_tool_completes_after_freeze(
    para: Para, fake_api: FakeApi, api: Any, request: pytest.FixtureRequest
) -> None:
    fake_api.script("fix", [bash("touch begun; sleep 5; echo over >result")], [text("Done.")])
    session = await para.call("para.dispatch", prompt="fix it", name="fix")
    container = session["container"]["name"]
    engine.run(api, container, "until [ -e begun ]; do sleep 0.1; done")
    await para.call("para.pause", name="fix", mode="freeze")
    await asyncio.sleep(freeze_seconds(request))
    await para.call("para.resume", name="fix")
    assert (await para.agent("fix", "done"))["agent"]["detail"] == "Done."
    assert engine.run(api, container, "cat result") == "over\n"


async def test_resume_continues_an_interrupted_turn(para: Para, fake_api: FakeApi) -> None:
    fake_api.script("interrupted", [text("Gone on.")])
    fake_api.script("fix", [text("First."), bash("echo 1 >one")], [LONG])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await wait_until_speaking(fake_api)
    await wait_until_speaking(fake_api)
    paused = await para.call("para.pause", name="fix")
    assert (paused["state"], paused["container"]) == ("paused", None)
    await para.call("para.resume", name="fix")
    assert (await para.agent("fix", "done"))["agent"]["detail"] == "Gone on."
    assert fake_api.received("fix it", "echo 1 >one", "You were interrupted")


async def test_resume_between_turns_waits_for_a_prompt(para: Para, fake_api: FakeApi) -> None:
    fake_api.script("more", [text("More.")])
    fake_api.script("fix", [text("Done.")])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await para.agent("fix", "done")
    await para.call("para.pause", name="fix")
    resumed = await para.call("para.resume", name="fix")
    assert resumed["agent"]["state"] == "done"
    await para.call("para.send", text="more of it", name="fix")
    await eventually(
        lambda: para.call("para.show", name="fix"), lambda s: s["agent"]["detail"] == "More."
    )
    assert fake_api.received("fix it", "Done.", "more of it")
    assert not fake_api.received("You were interrupted")


async def test_finished_session_resumes_its_conversation(
    para: Para, repo: Repository, fake_api: FakeApi, api: Any, home: object
) -> None:
    fake_api.script("also", [bash("echo 2 >two")], [text("Both.")])
    fake_api.script("fix", [bash("echo 1 >one")], [text("One.")])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await para.agent("fix", "done")
    await para.call("para.finish", message="one", name="fix")
    assert engine.containers(api, home) == []
    await para.call("para.resume", name="fix", prompt="also two")
    await para.agent("fix", "done")
    assert fake_api.received("fix it", "One.", "also two")
    assert "* Bash: echo 1 >one" in (await para.call("para.logs", name="fix"))["text"]
    result = await para.call("para.finish", message="two", name="fix")
    assert repo.git("log", "--format=%s", result["branch"]) == "two\none\nfirst"


async def test_a_finish_that_is_refused_lets_the_agent_go_on(para: Para, fake_api: FakeApi) -> None:
    fake_api.script("interrupted", [text("Gone on.")])
    fake_api.script("fix", [LONG])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await wait_until_speaking(fake_api)
    await para.fails("workspace.nothing-to-finish", "para.finish", message="x", name="fix")
    assert (await para.agent("fix", "done"))["agent"]["detail"] == "Gone on."


async def test_agent_keeps_working_after_server_is_killed(servers: Any, fake_api: FakeApi) -> None:
    fake_api.script("fix", [LONG], [text("Done.")])
    first = await servers()
    await first.call("para.dispatch", prompt="fix it", name="fix")
    await wait_until_speaking(fake_api)
    first.kill()
    second = await servers()
    assert (await second.agent("fix", "done"))["agent"]["detail"].startswith("word word")
    assert len(fake_api.requests) == 1
