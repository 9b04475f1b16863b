"""Fuzz the server: every request gets one response, and the server keeps running."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from para_server.commands import all as every_command
from para_server.registry import COMMANDS
from tests.wire import Process, Wire, framed

assert every_command
SOAK_SECONDS = 330
Figures = Callable[[str], None]
MEMORY_MB = 400  # above the need of a server, below a leak of these messages

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
fields = st.sampled_from(
    sorted({f.alias or n for c in COMMANDS.values() for n, f in c.params.model_fields.items()})
)
# without sessions; other tests run commands on sessions
commands = st.fixed_dictionaries(
    {
        "command": st.sampled_from([*sorted(COMMANDS), "para.none", ""]) | st.text(max_size=20),
        "arguments": st.lists(
            st.dictionaries(fields, json_values, max_size=3) | json_values, max_size=2
        )
        | json_values,
    }
)
methods = st.sampled_from(
    [
        "textDocument/hover",
        "workspace/symbol",
        "para/none",
        "$/none",
        "initialize",
        "window/workDoneProgress/cancel",
        "workspace/didChangeConfiguration",
        "workspace/didChangeWorkspaceFolders",
        "$/cancelRequest",
        "$/setTrace",
    ]
)
requests = st.fixed_dictionaries(
    {"method": st.just("workspace/executeCommand"), "params": commands}
) | st.fixed_dictionaries({"method": methods | st.text(max_size=20), "params": json_values})
notifications = st.fixed_dictionaries({"method": methods, "params": json_values})
garbage = st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode())
messages = st.lists(
    st.tuples(st.just("request"), requests)
    | st.tuples(st.just("notification"), notifications)
    | st.tuples(st.just("noise"), garbage),
    max_size=12,
)
# these stop the server
STOPPING_METHODS = {"shutdown", "exit"}


@pytest.fixture
def process(environ: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    # no engine and no repository, so that no random command starts anything
    no_engine = {"DOCKER_HOST": f"unix://{tmp_path}/no.sock"}
    running = Process(environ | no_engine, tmp_path / "stderr")
    yield running
    running.popen.kill()
    running.popen.wait()


def test_server_survives_a_short_fuzz_run(process: Process, figures: Figures) -> None:
    run_fuzz(process, figures, lambda turn: turn < 1, examples=80)


@pytest.mark.soak
@pytest.mark.timeout(SOAK_SECONDS * 3)
def test_server_survives_a_long_fuzz_run(process: Process, figures: Figures) -> None:
    until = time.monotonic() + SOAK_SECONDS
    run_fuzz(process, figures, lambda _: time.monotonic() < until, examples=500)


def run_fuzz(
    process: Process, figures: Figures, more: Callable[[int], bool], examples: int
) -> None:
    wire = process.stdio()
    wire.initialize()
    tally: Counter[str] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(messages)
    def send_batch(batch: list[tuple[str, Any]]) -> None:
        exchange_batch(wire, batch, tally)

    turn = 0
    while more(turn):
        send_batch()
        turn += 1
    assert process.popen.poll() is None
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    memory = int(status.partition("VmRSS:")[2].split()[0]) >> 10
    unanswered = tally["request"] - tally["answer"]
    figures(f"fuzz: {dict(tally)}; restarts 0, unanswered {unanswered}, {memory} MB")
    assert unanswered == 0
    assert memory < MEMORY_MB


def exchange_batch(wire: Wire, batch: list[tuple[str, Any]], tally: Counter[str]) -> None:
    """Send a batch and a final request, and wait for all responses."""
    waiting: set[int] = set()
    for kind, message in batch:
        tally[kind] += 1
        if kind == "noise":
            wire.raw(framed(message))
        elif message["method"] in STOPPING_METHODS:
            tally[kind] -= 1
        elif kind == "request":
            waiting.add(wire.request(message["method"], message["params"]))
        else:
            wire.notify(message["method"], message["params"])
    waiting.add(wire.request("para/none"))
    tally["request"] += 1
    while waiting:
        answer = wire.until(lambda m: "method" not in m and m.get("id") in waiting)
        waiting.remove(answer["id"])
        tally["answer"] += 1
    wire.heard.clear()
