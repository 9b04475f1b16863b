"""Text for a session's agent: `para.send`."""

from __future__ import annotations

import pytest

from tests.client import Para

READS = 'while IFS= read -r line; do echo "got: $line"; [ "$line" = stop ] && break; done'


async def test_sent_text_arrives_unchanged(para: Para) -> None:
    await para.call("para.dispatch", prompt=READS, name="fix")
    await para.agent("fix", "working")
    await para.call("para.send", text="-n $(id) 'two'\n\t`three` \\ naïve", name="fix")
    sent = await para.call("para.send", text="stop", name="fix")
    assert sent["agent"]["state"] in {"working", "done"}
    await para.agent("fix", "done")
    logs = (await para.call("para.logs", name="fix"))["text"]
    assert [line for line in logs.splitlines() if line.startswith("got: ")] == [
        "got: -n $(id) 'two'",
        "got: \t`three` \\ naïve",
        "got: stop",
    ]


async def test_send_restarts_an_ended_agent_with_the_text(para: Para) -> None:
    await para.call("para.dispatch", prompt="echo first", name="fix")
    await para.agent("fix", "done")
    await para.call("para.send", text="echo second; false", name="fix")
    await para.agent("fix", "failed")
    assert (await para.call("para.logs", name="fix"))["text"].split() == ["first", "second"]


@pytest.mark.parametrize("text", ["\x1b[201~rm -rf /\r", "a\0b", "\x03"])
async def test_send_refuses_control_characters(para: Para, text: str) -> None:
    await para.call("para.dispatch", prompt=READS, name="fix")
    await para.fails("command.invalid-params", "para.send", text=text, name="fix")


@pytest.mark.parametrize("kind", ["container", "worktree"])
async def test_send_requires_an_agent(para: Para, kind: str) -> None:
    await para.call("para.start", name="fix", type=kind)
    refused = await para.fails("session.wrong-type", "para.send", text="hello", name="fix")
    assert refused.remedies[0]["command"] == "para.open"
