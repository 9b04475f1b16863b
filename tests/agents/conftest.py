"""Fixtures for tests of agents: the real Claude Code, and a fake of its API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests import engine
from tests.agents.fake_api import FakeApi, serve_api

CANARY = "canary-4f1d8a-not-for-anybody"  # the agent's secret


@pytest.fixture
def fake_api(api: Any) -> Iterator[FakeApi]:
    """Serve a fake Messages API where containers can reach it."""
    with serve_api(engine.gateway(api)) as serving:
        yield serving


@pytest.fixture
def environ(environ: dict[str, str], fake_api: FakeApi) -> dict[str, str]:
    """Return the environment of a server whose agent is Claude Code."""
    container = {
        "ANTHROPIC_BASE_URL": fake_api.address,
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
