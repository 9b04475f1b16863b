"""An agent's secrets are only in its process; prompts arrive unchanged."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.agents.conftest import CANARY
from tests.agents.fake_api import FakeApi, text
from tests.client import Para

# characters with a meaning for shells and terminals
PIECES = "one ' two \" $(id) `id` \\ \n \t ${HOME} \x1b[31m \x07 é 漢 ; # & | < > * ? ! ~ \n\n -- "


def prompt_of_size(size: int) -> str:
    """Return a prompt of about this many bytes."""
    return PIECES * (size // len(PIECES.encode())) + "the end"


PROMPTS = {
    "leading dashes": "--dangerously -p $(id) `id` 'x' \"y\"",
    "lines": "one\n\n  two\n\ttabs\n# three ${HOME} \\",
    "escapes": "\x1b[31mred\x1b[0m \x07 \x1b]0;title\x07 \x1b[201~ over",
    "100 kB": prompt_of_size(100_000),
}


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
async def test_prompt_reaches_agent_byte_for_byte(
    para: Para, fake_api: FakeApi, api: Any, prompt: str
) -> None:
    session = await para.call("para.dispatch", prompt=prompt, name="fix")
    await para.agent("fix", "done")
    given = engine.run(api, session["container"]["name"], "cat /proc/$(pgrep -xo claude)/cmdline")
    assert given.split("\0")[-2] == prompt
    # Claude Code removes other control characters
    passed = "".join(c for c in prompt if c in "\n\t" or unicodedata.category(c) != "Cc")
    assert passed in fake_api.prompts()


async def test_long_prompt_is_read_from_a_file(para: Para, fake_api: FakeApi, api: Any) -> None:
    prompt = prompt_of_size(300_000)
    session = await para.call("para.dispatch", prompt=prompt, name="fix")
    await para.agent("fix", "done")
    assert any("/para-agent/in/prompt" in sent for sent in fake_api.prompts())
    content = engine.run(api, session["container"]["name"], "cat /para-agent/in/prompt")
    assert content == prompt


def read_places(api: Any, home: Path, session: dict[str, Any], para: Para) -> dict[str, str]:
    """Return the content of every place outside the agent's process that could have a secret."""
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


async def test_secret_is_only_in_the_agent_process(
    para: Para, fake_api: FakeApi, api: Any, home: Path
) -> None:
    fake_api.script("fix", [text("Done.")])
    session = await para.call("para.dispatch", prompt="fix it", name="fix")
    await para.agent("fix", "done")
    assert {h.get("authorization") for h in fake_api.headers} == {f"Bearer {CANARY}"}
    for place, content in read_places(api, home, session, para).items():
        assert CANARY not in content, place
    paused = await para.call("para.pause", name="fix")
    image = api.inspect_image(f"para-saved:{paused['id']}")
    history = api.history(f"para-saved:{paused['id']}")
    assert CANARY not in json.dumps([image, history])
    await para.call("para.resume", name="fix", prompt="fix more")
    await para.agent("fix", "done")
    assert {h.get("authorization") for h in fake_api.headers} == {f"Bearer {CANARY}"}


async def test_api_key_is_used_without_a_question(servers: Any, fake_api: FakeApi) -> None:
    key = f"sk-ant-{CANARY}"
    para = await servers(extra={"PARA_AGENT_ENV": "ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY": key})
    await para.call("para.dispatch", prompt="fix it", name="fix")
    await para.agent("fix", "done")
    assert {h.get("x-api-key") for h in fake_api.headers} == {key}
