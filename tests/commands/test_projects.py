"""The base image runs the tests of common projects, with packages from registries."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests import engine
from tests.client import BUILD_DEADLINE, Para, eventually
from tests.scratch import Repository

TOOLS: Final = (
    "bash tmux git make gcc g++ pkg-config python python3 pip uv node npm npx "
    "corepack pnpm yarn rg jq gh unzip zip xz ssh less nano file patch curl"
).split()


@dataclass(frozen=True)
class Project:
    """A project: its files, the test command, and the output of a success."""

    files: dict[str, str]
    command: str
    told: str


PYTHON: Final = {
    "requirements.txt": "pytest>=8\nmarkupsafe\n",
    "shop/__init__.py": "from markupsafe import escape\n\n\ndef shown(text):\n"
    "    return str(escape(text))\n",
    "tests/test_shop.py": "from shop import shown\n\n\ndef test_shown():\n"
    '    assert shown("<") == "&lt;"\n',
}
NODE: Final = {
    "package.json": '{"name": "shop", "version": "1.0.0", "type": "module", "dependencies": '
    '{"is-number": "^7.0.0"}, "scripts": {"test": "node --test"}}\n',
    "shop.test.js": "import test from 'node:test'\nimport assert from 'node:assert'\n"
    "import isNumber from 'is-number'\ntest('counts', () => assert(isNumber('3')))\n",
}
PROJECTS: Final = {
    "Python with venv and pip": Project(
        PYTHON,
        "python3 -m venv .venv && . .venv/bin/activate && pip install -q -r requirements.txt"
        " && python -m pytest -q",
        "1 passed",
    ),
    "Python with uv": Project(
        PYTHON,
        "uv venv -q && uv pip install -q -r requirements.txt"
        " && uv run --no-project python -m pytest -q",
        "1 passed",
    ),
    "Python with pip alone": Project(
        PYTHON, "pip install -q -r requirements.txt && python -m pytest -q", "1 passed"
    ),
    "Node with npm": Project(NODE, "npm install --silent && npm test", "pass 1"),
    "C with make": Project(
        {
            "Makefile": "test: shop\n\t./shop\nshop: shop.c\n\t$(CC) -o shop shop.c\n",
            "shop.c": '#include <stdio.h>\nint main(void) { puts("well made"); }\n',
        },
        "make test",
        "well made",
    ),
    "a script for bash": Project(
        {}, 'words=(a b); [[ ${words[1]} == b ]] && echo "in bash"', "in bash"
    ),
}


@pytest.mark.parametrize("kind", PROJECTS)
async def test_project_runs_its_tests_in_a_new_session(
    para: Para, repo: Repository, figures: Callable[[str], None], kind: str
) -> None:
    project = PROJECTS[kind]
    repo.commit("the project", **project.files)
    begun = time.monotonic()
    await para.call("para.dispatch", prompt=project.command, name="tests")
    session = await eventually(
        lambda: para.call("para.show", name="tests"),
        lambda shown: shown["agent"]["state"] in {"done", "failed"},
        BUILD_DEADLINE,
    )
    seconds = time.monotonic() - begun
    text = (await para.call("para.logs", name="tests"))["text"]
    assert session["agent"]["state"] == "done", text
    assert project.told in text
    figures(f"{kind}: dispatched, installed and tested in {seconds:.1f} s")


async def test_image_has_command_line_tools(para: Para, api: Any) -> None:
    session = await para.call("para.start", name="tools")
    name = session["container"]["name"]
    script = f"for tool in {' '.join(TOOLS)}; do command -v $tool >/dev/null || echo $tool; done"
    assert engine.run(api, name, script) == ""
    assert engine.run(api, name, "node --version").startswith("v24.")
    assert engine.run(api, name, "locale charmap; printf %s $LANG").split() == ["UTF-8", "C.UTF-8"]
    assert engine.run(api, name, "npm prefix -g").strip() == "/home/para/.local"
