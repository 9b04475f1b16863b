"""`para.send`: more text for an agent at work."""

from __future__ import annotations

import pytest

from tests.client import Para

READS = 'while IFS= read -r line; do echo "got: $line"; [ "$line" = stop ] && break; done'


async def test_what_is_sent_arrives_as_it_was_typed(para: Para) -> None:
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


async def test_an_agent_that_has_ended_takes_up_what_it_is_sent(para: Para) -> None:
    await para.call("para.dispatch", prompt="echo first", name="fix")
    await para.agent("fix", "done")
    await para.call("para.send", text="echo second; false", name="fix")
    await para.agent("fix", "failed")
    assert (await para.call("para.logs", name="fix"))["text"].split() == ["first", "second"]


@pytest.mark.parametrize("text", ["\x1b[201~rm -rf /\r", "a\0b", "\x03"])
async def test_control_characters_are_not_sent(para: Para, text: str) -> None:
    await para.call("para.dispatch", prompt=READS, name="fix")
    await para.fails("command.invalid-params", "para.send", text=text, name="fix")


@pytest.mark.parametrize("kind", ["container", "worktree"])
async def test_there_must_be_an_agent_to_send_to(para: Para, kind: str) -> None:
    await para.call("para.start", name="fix", type=kind)
    refused = await para.fails("session.wrong-type", "para.send", text="hello", name="fix")
    assert refused.remedies[0]["command"] == "para.open"
