"""Links, headings, modules and tests that the documentation names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "para_server"
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "editor/README.md")),
    *sorted((ROOT / ".github").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
CODE = re.compile(r"```.*?```", re.DOTALL)
WORDS_OF_CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^)\s#]*)(?:#([\w-]+))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
NAMED = re.compile(r"`((?:[a-z_]+/)+[a-z_]*(?:\.\w+)?)`")
FOLDERS = {folder.name for folder in PACKAGE.iterdir() if folder.is_dir()}


def relative(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    return CODE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(text_of(page)))
    return {title.replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    missing = []
    for path, anchor in LINK.findall(WORDS_OF_CODE.sub("", text_of(page))):
        if path.startswith("https://"):
            continue
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(f"{path}#{anchor}")
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_modules_and_tests_that_a_page_names_exist(page: Path) -> None:
    missing = []
    for name in NAMED.findall(text_of(page)):
        first = name.partition("/")[0]
        if first == "tests":
            found = (ROOT / name).exists()
        elif first in FOLDERS:
            found = (PACKAGE / name).exists() or (PACKAGE / f"{name}.py").exists()
        else:
            continue
        if not found:
            missing.append(name)
    assert missing == []
