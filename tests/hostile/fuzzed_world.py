"""A server under fuzz, which owes one proper answer in time to whatever it is asked."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.scratch import Repository
from tests.wire import Wire

LATEST = 30.0  # seconds that an answer may take
BUG = -32603


@dataclass
class World:
    """A server and what it is given to read; `ask` demands one proper answer in time."""

    wire: Wire
    pid: int
    home: Path
    repo: Repository
    api: Any
    canary: Path
    ids: dict[str, str] = field(default_factory=dict)
    tally: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")

    def ask(self, command: str, **params: object) -> dict[str, Any]:
        began = time.monotonic()
        sent = {"command": f"para.{command}", "arguments": [params]}
        try:
            answer = self.wire.ask("workspace/executeCommand", sent)
        except AssertionError:
            raise AssertionError(f"{command} {params} is not answered") from None
        took = time.monotonic() - began
        self.slowest = max(self.slowest, (took, command))
        self.wire.heard.clear()
        error = answer.get("error") or {}
        slug = (error.get("data") or {}).get("slug", "done" if not error else "?")
        self.tally[slug] += 1
        assert error.get("code") != BUG, (command, params, error, self.wire.log()[-4000:])
        assert took < LATEST, (command, params, took)
        assert self.canary.read_text() == "alive\n"
        return answer

    def memory(self) -> int:
        """Tell the most that the server ever took, in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) >> 10
