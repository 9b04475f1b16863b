"""Precedence and validation of settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from para_server.core.errors import ParaError
from para_server.core.settings import Settings, parse_size, section_models
from para_server.settings_sources import merge_layers, read_layers

FINE: list[tuple[str, str, Any]] = [
    ("container", "enabled", False),
    ("container", "image", "mine:1"),
    ("container", "maxRunning", 7),
    ("container", "network", "none"),
    ("container", "env", {"A": "b"}),
    ("container", "mounts", ("/a:/b",)),
    ("agent", "name", "command"),
    ("agent", "args", ("--fast",)),
    ("engine", "timeout", 5),
    ("git", "branchPrefix", "x/"),
]
WRONG: list[tuple[str, str, Any]] = [
    ("container", "enabled", "perhaps"),
    ("container", "maxRunning", 0),
    ("container", "network", "carrier-pigeon"),
    ("container", "memory", "a lot"),
    ("container", "memory", "0g"),
    ("container", "cpus", -1),
    ("container", "pids", 1),
    ("agent", "permissions", "never"),
    ("engine", "timeout", 0),
    ("git", "objects", "stolen"),
    ("git", "maxBundle", "4 elephants"),
]


def value(settings: Settings, section: str, key: str) -> Any:
    dumped: Any = settings.model_dump(by_alias=True)
    return dumped[section][key]


@pytest.mark.parametrize(("section", "key", "wanted"), FINE)
def test_a_later_layer_overrides_an_earlier_one(section: str, key: str, wanted: Any) -> None:
    default = value(Settings(), section, key)
    assert default != wanted
    beneath: tuple[str, dict[str, Any]] = ("beneath", {section: {key: default}})
    above: tuple[str, dict[str, Any]] = ("above", {section: {key: wanted}})
    assert value(merge_layers([beneath, above]), section, key) == wanted
    assert value(merge_layers([above, beneath]), section, key) == default
    unset: tuple[str, dict[str, Any]] = ("unset", {section: {key: None}})
    assert value(merge_layers([above, unset]), section, key) == wanted


@pytest.mark.parametrize(("section", "key", "given_"), WRONG)
def test_an_invalid_value_is_refused_with_its_key(section: str, key: str, given_: Any) -> None:
    with pytest.raises(ParaError) as caught:
        merge_layers([("a file", {section: {key: given_}})])
    assert caught.value.slug == "settings.invalid"
    assert f"{section}.{key}" in caught.value.problem.message
    assert [r.setting for r in caught.value.problem.remedies] == [f"{section}.{key}"]


@given(
    st.dictionaries(
        st.text(max_size=12),
        st.one_of(
            st.integers(), st.text(max_size=5), st.dictionaries(st.text(max_size=12), st.integers())
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_layer_is_merged_or_refused(layer: dict[str, Any]) -> None:
    slug = None
    try:
        merge_layers([("a file", layer)])
    except ParaError as error:
        slug = error.slug
    assert slug in {None, "settings.invalid"}


@given(st.text(max_size=8))
def test_a_size_is_digits_and_a_unit(text: str) -> None:
    try:
        size = parse_size(text)
    except ValueError:
        return
    assert size > 0
    assert text.strip()[0].isdigit()


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("2k", 2048), ("512m", 512 << 20), ("4G", 4 << 30), ("4gb", 4 << 30)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("variable", "raw", "section", "key", "read"),
    [
        ("PARA_CONTAINER_ENABLED", "false", "container", "enabled", False),
        ("PARA_CONTAINER_MAX_RUNNING", "9", "container", "maxRunning", 9),
        ("PARA_CONTAINER_CPUS", "1.5", "container", "cpus", 1.5),
        ("PARA_CONTAINER_ENV", '{"A": "1"}', "container", "env", {"A": "1"}),
        ("PARA_CONTAINER_MOUNTS", "/a:/b, /c:/d:ro", "container", "mounts", ("/a:/b", "/c:/d:ro")),
        ("PARA_AGENT_ARGS", '["--a", "b,c"]', "agent", "args", ("--a", "b,c")),
        ("PARA_GIT_BRANCH_PREFIX", "[x]/", "git", "branchPrefix", "[x]/"),
    ],
)
def test_environment_variables_are_parsed_by_the_type_of_the_setting(
    tmp_path: Path, variable: str, raw: str, section: str, key: str, read: Any
) -> None:
    layers = read_layers(tmp_path, None, {variable: raw}, {}, trusted=False)
    assert value(merge_layers(layers), section, key) == read


def test_every_key_has_a_default_and_a_description() -> None:
    for model in section_models().values():
        for field in model.model_fields.values():
            assert field.description
            assert not field.is_required()
