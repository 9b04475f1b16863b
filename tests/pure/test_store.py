"""The records: each process sees at once what another one wrote, also where it looks rarely."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from para_server.errors import ParaError
from para_server.models import State
from para_server.records import Record
from para_server.store import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = st.sampled_from(["one", "two", "three"])
STEPS = st.one_of(
    st.tuples(st.just("write"), NAMES),
    st.tuples(st.just("forget"), NAMES),
    st.tuples(st.just("look"), st.just("")),
)


def record(name: str, prompt: str = "") -> Record:
    return Record(
        id=name,
        name=name,
        type="container",
        state=State.PAUSED,
        repo="/repo",
        base="0" * 40,
        branch=f"para/{name}",
        prompt=prompt,
        created_at=NOW,
        updated_at=NOW,
    )


def prompts(store: Store) -> dict[str, str]:
    return {one.name: one.prompt for one in store.all()}


@given(st.lists(STEPS, max_size=30))
def test_whoever_looks_sees_what_others_wrote(steps: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        writer, reader = Store(Path(folder)), Store(Path(folder))
        there: dict[str, str] = {}
        for number, (step, name) in enumerate(steps):
            if step == "write":
                there[name] = f"as of {number}"
                writer.write(record(name, there[name]))
            elif step == "forget":
                there.pop(name, None)
                writer.forget(name)
            assert prompts(reader) == there


def test_a_record_that_was_written_over_in_its_place_is_seen_by_who_doubts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(record("one", "before"))
    os.utime(store.records_folder, (1, 1))  # one that has just changed is looked at in any case
    assert prompts(store) == {"one": "before"}
    file = store.records_folder / "one.json"
    file.write_text(record("one", "afterwards").model_dump_json(by_alias=True))
    store.doubt()
    assert prompts(store) == {"one": "afterwards"}
    file.write_text("no record")
    store.doubt()
    for _ in range(2):
        with pytest.raises(ParaError):
            store.all()
