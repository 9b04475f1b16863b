"""The only place that judges TOML before it is parsed: it must be shallow. Pure.

The parser takes time and memory by the square of the parts of a key, and a call for each level of
nesting. This look is linear in the text.
"""

from __future__ import annotations

import re
from typing import Final

MAX_DOTS: Final = 32  # in one line, strings and comments left out
MAX_DEPTH: Final = 16  # brackets within brackets

# strings and comments as the parser finds them: what is left are keys, numbers and brackets;
# one that is not closed ends with its line or the text, since the parser goes no further
_STRINGS_AND_COMMENTS: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5}|\\?\Z)'
    r"|'''(?:[^']|'(?!''))*+(?:'{3,5}|\Z)"
    r'|"(?:[^"\\\n]|\\[^\n])*+"?'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+",
    re.DOTALL,
)


def require_shallow(text: str) -> None:
    """Raise ValueError where a key has too many parts, or tables are nested too deep."""
    bare = _STRINGS_AND_COMMENTS.sub("", text)
    if any(line.count(".") > MAX_DOTS for line in bare.split("\n")):
        raise ValueError(f"a line has more than {MAX_DOTS} dots")
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", bare):
        depth = depth + 1 if bracket in "[{" else max(depth - 1, 0)
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
