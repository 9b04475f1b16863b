"""Display of text from sessions."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from para_server.core.untrusted import MAX_MESSAGE, one_line, printable, read_bounded, safe_message

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text\n\tas it is", "plain text\n\tas it is"),
        ("naïve 日本 ✓", "naïve 日本 ✓"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\rb", "a\\x0db"),
        ("bell\x07", "bell\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202eoverride", "\\u202eoverride"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\u2028", "\\u2028"),
        ("blank\u3164\u2800", "blank\\u3164\\u2800"),
        ("joined\u034f\U000e0101", "joined\\u034f\\ue0101"),
        ("\u26a0\ufe0f", "\u26a0\ufe0f"),  # an emoji
    ],
)
def test_control_characters_become_codes(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "link",
    [
        "[Answer](command:workbench.action.quit)",
        "![](http://example.org/seen)",
        "[a](file:///etc/passwd) and [b](https://example.org)",
        "]](](](",
    ],
)
def test_no_message_has_a_link(link: str) -> None:
    assert "](" not in safe_message(link)
    assert safe_message(safe_message(link)) == safe_message(link)
    assert safe_message(link).replace("] (", "](") == link


@given(st.text(st.characters(), max_size=80), st.integers(1, 9))
def test_a_message_has_a_maximum_length(text: str, times: int) -> None:
    assert len(safe_message(text * 1000 * times)) <= MAX_MESSAGE
    assert safe_message("x" * 10_000_000) == "x" * (MAX_MESSAGE - 1) + "…"


@given(st.text(st.characters(), max_size=80))
def test_no_hidden_character_is_left(text: str) -> None:
    shown = printable(text)
    left = {c for c in shown if c not in "\n\t" and unicodedata.category(c) in HIDDEN}
    assert left == set()
    assert printable(shown) == shown


@given(st.text(st.characters(), max_size=300), st.integers(min_value=1, max_value=60))
def test_one_line_is_one_line_and_short(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert "\n" not in line


def test_reads_only_the_start_or_the_end_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    assert read_bounded(file, 4) == b"0123"
    assert read_bounded(file, 4, from_end=True) == b"6789"
    assert read_bounded(file, 40, from_end=True) == b"0123456789"


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (tmp_path / "link").symlink_to(secret)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "missing", "."):
        assert read_bounded(tmp_path / name, 10) is None
