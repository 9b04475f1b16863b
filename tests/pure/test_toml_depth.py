"""Refusal of deeply nested TOML."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from para_server.core.toml_depth import MAX_DEPTH, MAX_DOTS, require_shallow

DOTS = "a." * (MAX_DOTS + 1) + "b"
DEEP = "[" * (MAX_DEPTH + 1)


@pytest.mark.parametrize(
    "text",
    [
        f"{DOTS} = 1",
        f"[{DOTS}]",
        f"[[{DOTS}]]",
        DOTS.replace(".", " . ") + " = 1",
        DOTS.replace("a", '"a"') + " = 1",
        DOTS.replace("a", "'a'") + " = 1",
        f"x = {{ {DOTS} = 1 }}",
        # each of these ends a string with an additional quote, which hides no key
        f'x = {{ a = """q"""", {DOTS} = "1" }}',
        f'x = {{ a = """q""""", {DOTS} = "1" }}',
        f"x = {{ a = '''q'''', {DOTS} = '1' }}",
        f'x = {{ a = "\\\\", {DOTS} = "\\"" }}',
        f'x = {{ a = """\\"""" , {DOTS} = 1 }}',
        f"x = {{ a = '\\', {DOTS} = '1' }}",
        f"x = {DEEP}",
        "x = " + "{a=" * (MAX_DEPTH + 1),
        "x = [\n" * (MAX_DEPTH + 1),
    ],
)
def test_long_keys_and_deep_tables_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="more than"):
        require_shallow(text)


@pytest.mark.parametrize(
    "text",
    [
        'container.allowedDomains = ["' + '", "'.join(["a.b.example.com"] * 50) + '"]',
        "# " + "." * 200 + "\n[container]\ncpus = 1.5\n",
        f"x = '''\n{DOTS} = 1\n{DEEP}'''",
        f'x = """\n{DOTS} \\""" {DEEP}"""',
        f'x = "{DOTS} \\" {DEEP}"',
        "agent.profiles.a.start = ['{prompt}']\n" * 200,
        "",
    ],
)
def test_ordinary_files_are_accepted(text: str) -> None:
    require_shallow(text)


@given(st.text(alphabet="\"'\\\n#.[]{}=a ", max_size=60))
def test_strings_and_comments_are_skipped_as_the_parser_does(text: str) -> None:
    """Append a long key to any text that parses: it is detected."""
    try:
        tomllib.loads(text)
    except ValueError:
        require_shallow(text[:40])
        return
    with pytest.raises(ValueError, match="dots"):
        require_shallow(f"{text}\n{DOTS} = 1")


@pytest.mark.parametrize(
    "part", ['"""\\', '"\\', '"', "'", "'''", '"""', '""""\\"', "#", "\\", "x\n"]
)
def test_unclosed_strings_take_linear_time(part: str) -> None:
    require_shallow(part * (200_000 // len(part)))  # quadratic time would take hours
