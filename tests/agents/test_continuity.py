"""Whatever happens to its container, an agent goes on with its conversation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests import engine
from tests.agents.messages import LONG, Api, bash, speaking, text
from tests.client import Para, eventually
from tests.scratch import Repository


def seconds(request: pytest.FixtureRequest) -> float:
    """Say for how long to freeze: a minute in a long run."""
    return 60.0 if request.config.getoption("--soak") else 2.0


async def test_a_freeze_in_the_midst_of_an_answer_does_not_hurt(
    para: Para, standin: Api, request: pytest.FixtureRequest
) -> None:
    standin.script("fix", [LONG])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await speaking(standin)
    await para.call("para.pause", name="fix", mode="freeze")
    await asyncio.sleep(seconds(request))
    await para.call("para.resume", name="fix")
    assert (await para.agent("fix", "done"))["agent"]["detail"].startswith("word word")
    assert len(standin.requests) == 1


async def test_a_frozen_agent_is_given_more_without_losing_what_it_is_at(
    para: Para, standin: Api
) -> None:
    standin.script("also", [text("That too.")])
    standin.script("fix", [LONG])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await speaking(standin)
    await para.call("para.pause", name="fix", mode="freeze")
    await para.call("para.resume", name="fix", prompt="also this")
    await eventually(
        lambda: para.call("para.show", name="fix"), lambda s: s["agent"]["detail"] == "That too."
    )
    assert standin.seen("fix it", "word end", "also this")


async def test_a_freeze_in_the_midst_of_a_tool_does_not_hurt(
    para: Para, standin: Api, api: Any, request: pytest.FixtureRequest
) -> None:
    standin.script("fix", [bash("touch begun; sleep 5; echo over >result")], [text("Done.")])
    session = await para.call("para.dispatch", prompt="fix it", name="fix")
    container = session["container"]["name"]
    engine.run(api, container, "until [ -e begun ]; do sleep 0.1; done")
    await para.call("para.pause", name="fix", mode="freeze")
    await asyncio.sleep(seconds(request))
    await para.call("para.resume", name="fix")
    assert (await para.agent("fix", "done"))["agent"]["detail"] == "Done."
    assert engine.run(api, container, "cat result") == "over\n"


async def test_a_save_in_the_midst_of_a_turn_is_continued(para: Para, standin: Api) -> None:
    standin.script("interrupted", [text("Gone on.")])
    standin.script("fix", [text("First."), bash("echo 1 >one")], [LONG])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await speaking(standin)
    await speaking(standin)
    paused = await para.call("para.pause", name="fix")
    assert (paused["state"], paused["container"]) == ("paused", None)
    await para.call("para.resume", name="fix")
    assert (await para.agent("fix", "done"))["agent"]["detail"] == "Gone on."
    assert standin.seen("fix it", "echo 1 >one", "You were interrupted")


async def test_a_save_between_turns_goes_on_when_there_is_more_to_do(
    para: Para, standin: Api
) -> None:
    standin.script("more", [text("More.")])
    standin.script("fix", [text("Done.")])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await para.agent("fix", "done")
    await para.call("para.pause", name="fix")
    resumed = await para.call("para.resume", name="fix")
    assert resumed["agent"]["state"] == "done"
    await para.call("para.send", text="more of it", name="fix")
    await eventually(
        lambda: para.call("para.show", name="fix"), lambda s: s["agent"]["detail"] == "More."
    )
    assert standin.seen("fix it", "Done.", "more of it")
    assert not standin.seen("You were interrupted")


async def test_a_finished_session_goes_on_with_its_conversation(
    para: Para, repo: Repository, standin: Api, api: Any, home: object
) -> None:
    standin.script("also", [bash("echo 2 >two")], [text("Both.")])
    standin.script("fix", [bash("echo 1 >one")], [text("One.")])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await para.agent("fix", "done")
    await para.call("para.finish", message="one", name="fix")
    assert engine.containers(api, home) == []
    await para.call("para.resume", name="fix", prompt="also two")
    await para.agent("fix", "done")
    assert standin.seen("fix it", "One.", "also two")
    assert "* Bash: echo 1 >one" in (await para.call("para.logs", name="fix"))["text"]
    result = await para.call("para.finish", message="two", name="fix")
    assert repo.git("log", "--format=%s", result["branch"]) == "two\none\nfirst"


async def test_a_finish_that_is_refused_lets_the_agent_go_on(para: Para, standin: Api) -> None:
    standin.script("interrupted", [text("Gone on.")])
    standin.script("fix", [LONG])
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await speaking(standin)
    await para.fails("workspace.nothing-to-finish", "para.finish", message="x", name="fix")
    assert (await para.agent("fix", "done"))["agent"]["detail"] == "Gone on."


async def test_a_server_that_dies_leaves_the_agent_at_work(servers: Any, standin: Api) -> None:
    standin.script("fix", [LONG], [text("Done.")])
    first = await servers()
    await first.call("para.dispatch", prompt="fix it", name="fix")
    await speaking(standin)
    first.kill()
    second = await servers()
    assert (await second.agent("fix", "done"))["agent"]["detail"].startswith("word word")
    assert len(standin.requests) == 1
