"""Which files run without being asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from para_server.autorun import auto_run_files


@pytest.mark.parametrize(
    "path",
    """
    .vscode/tasks.json .VSCODE/tasks.json sub/.vscode/settings.json a.code-workspace
    .devcontainer/devcontainer.json .devcontainer.json .claude/settings.json CLAUDE.md .mcp.json
    .envrc package.json web/package.json .npmrc setup.py conftest.py tests/conftest.py x.pth
    Makefile makefile build.rs .cargo/config.toml .github/workflows/ci.yml .gitattributes
    .gitmodules .husky/pre-commit .pre-commit-config.yaml .para.toml .para/setup.sh vite.config.ts
    Dockerfile docker-compose.yml .idea/workspace.xml .ci/run
    """.split(),
)
def test_files_that_run_by_themselves_are_found(path: str) -> None:
    assert auto_run_files([path]) == (path,)


@pytest.mark.parametrize(
    "path",
    """
    README.md src/app.py vscode/tasks.json package.json.md docs/Makefile.md github/workflows.yml
    mypackage.json env src/setup.python conftest.pyi CLAUDE.markdown
    """.split(),
)
def test_files_that_only_look_alike_are_not(path: str) -> None:
    assert auto_run_files([path]) == ()


@given(st.lists(st.text(max_size=30)), st.lists(st.text(min_size=1, max_size=10)))
def test_what_is_told_is_sorted_unique_and_was_changed(
    paths: list[str], submodules: list[str]
) -> None:
    told = auto_run_files(paths, submodules)
    assert list(told) == sorted(set(told))
    assert set(submodules) <= set(told) <= {*paths, *submodules}
