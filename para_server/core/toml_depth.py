"""Refuse deeply nested TOML before it is parsed. Pure.

The parser needs time and memory quadratic in the parts of a key, and a recursion for each level of
nesting. This check is linear in the text.
"""

from __future__ import annotations

import re
from typing import Final

MAX_DOTS: Final = 32  # in one line, outside of strings and comments
MAX_DEPTH: Final = 16  # brackets within brackets

# strings and comments; keys, numbers and brackets remain
# an unclosed string ends with its line or the text, where the parser stops
_STRINGS_AND_COMMENTS: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5}|\\?\Z)'
    r"|'''(?:[^']|'(?!''))*+(?:'{3,5}|\Z)"
    r'|"(?:[^"\\\n]|\\[^\n])*+"?'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+",
    re.DOTALL,
)


def require_shallow(text: str) -> None:
    """Raise ValueError if a key has too many parts, or tables are nested too deeply."""
    bare = _STRINGS_AND_COMMENTS.sub("", text)
    if any(line.count(".") > MAX_DOTS for line in bare.split("\n")):
        raise ValueError(f"a line has more than {MAX_DOTS} dots")
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", bare):
        depth = depth + 1 if bracket in "[{" else max(depth - 1, 0)
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
