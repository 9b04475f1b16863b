"""What tests of agents are given: the real Claude Code, and a stand-in of its API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests import engine
from tests.agents import messages
from tests.agents.messages import Api

CANARY = "canary-4f1d8a-not-for-anybody"  # the agent's secret


@pytest.fixture
def standin(api: Any) -> Iterator[Api]:
    """Serve a stand-in of the Messages API where containers reach it."""
    with messages.serving(engine.gateway(api)) as serving:
        yield serving


@pytest.fixture
def environ(environ: dict[str, str], standin: Api) -> dict[str, str]:
    """Give the environment of a server whose agent is Claude Code."""
    container = {
        "ANTHROPIC_BASE_URL": standin.address,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "1",
    }
    return environ | {
        "PARA_AGENT_NAME": "claude",
        "PARA_AGENT_CREDENTIALS": "env",
        "PARA_AGENT_ENV": "ANTHROPIC_AUTH_TOKEN",
        "PARA_CONTAINER_ENV": json.dumps(container),
        "ANTHROPIC_AUTH_TOKEN": CANARY,
    }
