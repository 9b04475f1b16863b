"""Reading and writing of records by several processes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from para_server.core.models import State
from para_server.core.records import Record
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
    return {one.name: one.prompt for one in store.read_all()}


@settings(deadline=None)  # each step waits for the disk, which may be slow
@given(st.lists(STEPS, max_size=30))
def test_a_process_reads_what_others_wrote(steps: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        writer, reader = Store(Path(folder)), Store(Path(folder))
        there: dict[str, str] = {}
        for number, (step, name) in enumerate(steps):
            if step == "write":
                there[name] = f"as of {number}"
                writer.write(record(name, there[name]))
            elif step == "forget":
                there.pop(name, None)
                writer.remove(name)
            assert prompts(reader) == there


def test_an_overwritten_record_is_read_after_invalidation(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(record("one", "before"))
    os.utime(store.records_folder, (1, 1))  # a folder that has just changed is always read again
    assert prompts(store) == {"one": "before"}
    file = store.records_folder / "one.json"
    file.write_text(record("one", "afterwards").model_dump_json(by_alias=True))
    store.invalidate_cache()
    assert prompts(store) == {"one": "afterwards"}
    file.write_text("no record")
    store.invalidate_cache()
    for _ in range(2):
        assert prompts(store) == {}
        assert set(store.unreadable) == {"one"}


def break_by_emptying(file: Path) -> None:
    file.write_text("")


def break_by_cutting(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:40])


def break_by_nesting(file: Path) -> None:
    file.write_text("[" * 100_000)


def break_by_bytes(file: Path) -> None:
    file.write_bytes(b"\xff\xfe{}")


def break_by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def break_by_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def break_by_another_version(file: Path) -> None:
    file.write_text('{"version": 99}')


def break_by_another_id(file: Path) -> None:
    file.write_text(record("two").model_dump_json(by_alias=True).replace('"two"', '"../two"'))


@pytest.mark.parametrize(
    "broken",
    [
        break_by_emptying,
        break_by_cutting,
        break_by_nesting,
        break_by_bytes,
        break_by_a_folder,
        break_by_a_pipe,
        break_by_another_version,
        break_by_another_id,
    ],
    ids=lambda one: one.__name__.removeprefix("break_by_"),
)
def test_an_unreadable_record_hides_no_other_and_is_kept(
    tmp_path: Path, broken: Callable[[Path], None]
) -> None:
    store = Store(tmp_path)
    for name in ("one", "two"):
        store.write(record(name, name))
    broken(store.record_file("one"))
    for reader in (store, Store(tmp_path)):
        assert prompts(reader) == {"two": "two"}
        assert reader.sessions_without_record() == ["one"]
        assert str(reader.record_file("one")) in reader.unreadable["one"].message
        assert reader.may_be_live("one")
        assert list(reader.leftovers()) == []
    assert os.path.lexists(store.record_file("one"))
    copy = store.read_copy("one")
    assert copy is not None
    assert copy.prompt == "one"


def test_a_session_without_record_has_ended_only_if_that_is_certain(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    store.write(record("live"))
    store.write(record("over").updated(state=State.FINISHED))
    store.write(record("forgotten"))
    for name in ("live", "over", "forgotten"):
        store.agent_folder(name).mkdir()
    for name in ("live", "over"):
        store.record_file(name).unlink()
    store.remove("forgotten")
    store.workspace("no-copy").mkdir()
    assert store.sessions_without_record() == ["live", "no-copy"]
    assert {file.name for file in store.leftovers()} == {"over", "over.json"}
    assert [store.may_be_live(name) for name in ("live", "over", "forgotten", "no-copy")] == [
        True,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", "\ud800"),
        ("createdAt", "2026-01-01T00:00:00"),
        ("updatedAt", 1e300),
        ("base", None),
        ("warnings", ["\udfff"]),
    ],
)
def test_a_record_with_an_invalid_value_is_skipped(
    tmp_path: Path, field: str, value: object
) -> None:
    store = Store(tmp_path)
    for name in ("one", "two"):
        store.write(record(name))
    file = store.record_file("one")
    content = json.loads(file.read_text()) | {field: value}
    file.unlink()
    file.write_text(json.dumps(content))
    assert [each.id for each in Store(tmp_path).read_all()] == ["two"]


def test_a_symlink_loop_in_place_of_a_record_is_skipped(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(record("two"))
    file = store.record_file("one")
    file.symlink_to(file)
    assert [each.id for each in store.read_all()] == ["two"]
    assert set(store.unreadable) == {"one"}
