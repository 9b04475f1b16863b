"""Names of sessions, and what is derived from them."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from para_server.core import names
from para_server.core.params import Name

NAMES = TypeAdapter[str](Name)
BEGINS = string.ascii_letters + string.digits
USABLE = st.builds(
    "{}{}".format, st.sampled_from(BEGINS), st.text(f"{BEGINS}-_", max_size=49)
)  # 1 to 50 characters
ID = re.compile(r"[a-z0-9]+(-[a-z0-9]*)*-[0-9a-f]{6}")
# names that Docker permits for containers and tags, and git for a component of a ref
CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
TAG = re.compile(r"para-saved:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")


def is_accepted(name: str) -> bool:
    try:
        return NAMES.validate_python(name) == name
    except ValidationError:
        return False


def is_valid(name: str) -> bool:
    """Return what the pattern should match, without a pattern."""
    return (
        1 <= len(name) <= 50
        and name[0] in BEGINS
        and all(character in f"{BEGINS}-_" for character in name)
    )


@given(st.one_of(USABLE, st.text(max_size=60), st.text(f"{BEGINS}-_ .\n/", max_size=60)))
def test_the_name_pattern_matches_its_rule(name: str) -> None:
    assert is_accepted(name) == is_valid(name)


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("a", True),
        ("7", True),
        ("Fix_login-2", True),
        ("a" * 50, True),
        ("a" * 51, False),
        ("", False),
        ("-a", False),
        ("_a", False),
        ("a.b", False),
        ("a/b", False),
        ("a b", False),
        ("a\n", False),
        ("é", False),
        ("٣", False),
    ],
)
def test_names_near_the_limits_of_the_rule(name: str, fits: bool) -> None:
    assert is_accepted(name) is fits


@given(USABLE)
def test_engine_and_git_accept_the_id_of_every_name(name: str) -> None:
    made = names.generate_session_id(name)
    assert ID.fullmatch(made), made
    assert names.container_name(made).startswith("para-session-")
    assert CONTAINER.fullmatch(names.container_name(made))
    assert TAG.fullmatch(names.saved_image(made))
    for ref in (names.base_ref(made), names.archive_ref(made), names.incoming_ref(made)):
        assert re.fullmatch(r"refs/para/[a-z]+/[a-z0-9-]+", ref)
        assert not ref.endswith((".lock", "/"))


@given(USABLE)
def test_equal_names_get_different_ids(name: str) -> None:
    assert len({names.generate_session_id(name) for _ in range(3)}) == 3


def test_a_generated_name_is_valid() -> None:
    for adjective in names.ADJECTIVES:
        for noun in names.NOUNS:
            assert is_accepted(f"{adjective}-{noun}")
    adjective, _, noun = names.generate_name().partition("-")
    assert adjective in names.ADJECTIVES
    assert noun in names.NOUNS
