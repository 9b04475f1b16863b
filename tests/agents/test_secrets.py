"""An agent's secrets are its process's alone; prompts arrive as they are."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.agents.conftest import CANARY
from tests.agents.messages import Api, text
from tests.client import Para

# what shells and terminals read as their own
PIECES = "one ' two \" $(id) `id` \\ \n \t ${HOME} \x1b[31m \x07 é 漢 ; # & | < > * ? ! ~ \n\n -- "


def of_size(size: int) -> str:
    """Make up a prompt of about so many bytes."""
    return PIECES * (size // len(PIECES.encode())) + "the end"


PROMPTS = {
    "leading dashes": "--dangerously -p $(id) `id` 'x' \"y\"",
    "lines": "one\n\n  two\n\ttabs\n# three ${HOME} \\",
    "escapes": "\x1b[31mred\x1b[0m \x07 \x1b]0;title\x07 \x1b[201~ over",
    "100 kB": of_size(100_000),
}


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
async def test_a_prompt_reaches_the_agent_byte_for_byte(
    para: Para, standin: Api, api: Any, prompt: str
) -> None:
    session = await para.call("para.dispatch", prompt=prompt, name="fix")
    await para.agent("fix", "done")
    given = engine.run(api, session["container"]["name"], "cat /proc/$(pgrep -xo claude)/cmdline")
    assert given.split("\0")[-2] == prompt
    # Claude Code itself passes no other control characters on
    passed = "".join(c for c in prompt if c in "\n\t" or unicodedata.category(c) != "Cc")
    assert passed in standin.prompts()


async def test_a_prompt_that_is_too_long_for_an_argument_is_read_from_a_file(
    para: Para, standin: Api, api: Any
) -> None:
    prompt = of_size(300_000)
    session = await para.call("para.dispatch", prompt=prompt, name="fix")
    await para.agent("fix", "done")
    assert any("/para-agent/in/prompt" in said for said in standin.prompts())
    held = engine.run(api, session["container"]["name"], "cat /para-agent/in/prompt")
    assert held == prompt


def everywhere(api: Any, home: Path, session: dict[str, Any], para: Para) -> dict[str, str]:
    """Collect all that a secret could be read from, beside the agent's own process."""
    container = session["container"]["id"]
    inspected = api.inspect_container(container)
    execs = [api.inspect_exec(one) for one in inspected["ExecIDs"] or []]
    written = [f.read_bytes() for f in home.rglob("*") if f.is_file() and "kept" not in f.parts]
    inside = "tmux show-environment -g; tmux show-environment -t agent; cat /proc/[0-9]*/cmdline"
    others = "for p in $(pgrep -v -x claude); do cat /proc/$p/environ; done 2>/dev/null || true"
    return {
        "inspect": json.dumps([inspected, execs], default=str),
        "logs": "\n".join(m.message for m in para.lsp.log_messages),
        "files of para": b"".join(written).decode(errors="replace"),
        "tmux and arguments": engine.run(api, container, f"{inside} | tr '\\0' ' '"),
        "other processes": engine.run(api, container, f"({others}) | tr '\\0' ' '"),
        "files of the container": engine.run(
            api, container, f"grep -rahos {CANARY} /home /tmp /run /var /etc /para-agent || true"
        ),
    }


async def test_a_secret_is_found_nowhere_but_in_the_agents_process(
    para: Para, standin: Api, api: Any, home: Path
) -> None:
    standin.script("fix", [text("Done.")])
    session = await para.call("para.dispatch", prompt="fix it", name="fix")
    await para.agent("fix", "done")
    assert {h.get("authorization") for h in standin.headers} == {f"Bearer {CANARY}"}
    for place, content in everywhere(api, home, session, para).items():
        assert CANARY not in content, place
    paused = await para.call("para.pause", name="fix")
    image = api.inspect_image(f"para-saved:{paused['id']}")
    history = api.history(f"para-saved:{paused['id']}")
    assert CANARY not in json.dumps([image, history])
    await para.call("para.resume", name="fix", prompt="fix more")
    await para.agent("fix", "done")
    assert {h.get("authorization") for h in standin.headers} == {f"Bearer {CANARY}"}


async def test_an_api_key_is_used_without_a_question(servers: Any, standin: Api) -> None:
    key = f"sk-ant-{CANARY}"
    para = await servers(extra={"PARA_AGENT_ENV": "ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY": key})
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await para.agent("fix", "done")
    assert {h.get("x-api-key") for h in standin.headers} == {key}
