"""What sessions may be called, and what is made of it."""

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
# what Docker takes for a container, for a tag, and what git takes for a part of a ref
CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
TAG = re.compile(r"para-saved:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")


def accepted(name: str) -> bool:
    try:
        return NAMES.validate_python(name) == name
    except ValidationError:
        return False


def usable(name: str) -> bool:
    """Tell by hand what the pattern tells."""
    return (
        1 <= len(name) <= 50
        and name[0] in BEGINS
        and all(character in f"{BEGINS}-_" for character in name)
    )


@given(st.one_of(USABLE, st.text(max_size=60), st.text(f"{BEGINS}-_ .\n/", max_size=60)))
def test_a_name_is_1_to_50_letters_digits_dashes_underscores_and_begins_well(name: str) -> None:
    assert accepted(name) == usable(name)


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
def test_names_that_are_near_the_edge(name: str, fits: bool) -> None:
    assert accepted(name) is fits


@given(USABLE)
def test_every_name_gives_an_id_that_engine_and_git_take(name: str) -> None:
    made = names.generate_session_id(name)
    assert ID.fullmatch(made), made
    assert names.container_name(made).startswith("para-session-")
    assert CONTAINER.fullmatch(names.container_name(made))
    assert TAG.fullmatch(names.saved_image(made))
    for ref in (names.base_ref(made), names.archive_ref(made), names.incoming_ref(made)):
        assert re.fullmatch(r"refs/para/[a-z]+/[a-z0-9-]+", ref)
        assert not ref.endswith((".lock", "/"))


@given(USABLE)
def test_the_id_of_equal_names_differs(name: str) -> None:
    assert len({names.generate_session_id(name) for _ in range(3)}) == 3


def test_a_made_up_name_is_an_adjective_and_a_noun_and_fits() -> None:
    for adjective in names.ADJECTIVES:
        for noun in names.NOUNS:
            assert accepted(f"{adjective}-{noun}")
    adjective, _, noun = names.generate_name().partition("-")
    assert adjective in names.ADJECTIVES
    assert noun in names.NOUNS
