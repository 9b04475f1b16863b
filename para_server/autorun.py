"""The only place that knows which files run by themselves when a person opens or builds. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from typing import Final

# FOLDER/** is all below a folder, any other pattern a file; both at any depth, `*` in a name alone
# by what runs them: editors, agents, shells, git, package managers, build tools, CI, Python itself
_PATTERNS: Final = tuple(
    """
    .vscode/** *.code-workspace .idea/** .zed/** .nvim.lua .nvimrc .exrc .vimrc .fleet/**
    .dir-locals.el .editorconfig .devcontainer/** .devcontainer.json
    .claude/** .mcp.json CLAUDE.md AGENTS.md .codex/** .gemini/** GEMINI.md .opencode/**
    opencode.json .cursor/** .cursorrules .windsurfrules .para/** .para.toml
    .envrc .env .tool-versions mise.toml .mise.toml .direnv/** .autoenv .nvmrc
    .gitattributes .gitmodules .gitconfig .githooks/** .husky/** .pre-commit-config.yaml
    lefthook.yml lefthook.yaml .lefthook/** .overcommit.yml
    package.json .npmrc .yarnrc .yarnrc.yml .pnpmfile.cjs pnpm-workspace.yaml
    setup.py setup.cfg pyproject.toml conftest.py tox.ini noxfile.py sitecustomize.py *.pth
    build.rs Cargo.toml .cargo/** Gemfile Rakefile *.gemspec composer.json pom.xml
    build.gradle build.gradle.kts settings.gradle settings.gradle.kts gradlew mvnw gradle/**
    Makefile makefile GNUmakefile *.mk CMakeLists.txt justfile Justfile Taskfile.yml meson.build
    Dockerfile docker-compose.yml docker-compose.yaml compose.yml compose.yaml Vagrantfile
    .github/** .gitlab-ci.yml .circleci/** .buildkite/** Jenkinsfile azure-pipelines.yml
    .travis.yml .drone.yml bitbucket-pipelines.yml .woodpecker/** .forgejo/** .gitea/** .ci/**
    *.config.js *.config.cjs *.config.mjs *.config.ts .eslintrc.js .eslintrc.cjs .prettierrc.js
    flake.nix shell.nix default.nix WORKSPACE BUILD BUILD.bazel BUCK
    """.split()
)


def auto_run_files(paths: Iterable[str], submodules: Iterable[str] = ()) -> tuple[str, ...]:
    """Pick those of the changed paths that run without being asked for; submodules always do."""
    found = {path for path in paths if runs_by_itself(path)}
    return tuple(sorted(found.union(submodules)))


def runs_by_itself(path: str) -> bool:
    """Return whether a file runs without being asked for; takes time linear in the path's length.

    Case-insensitive file systems run .VSCODE/tasks.json as well, and what should be a folder may
    be a link to one.
    """
    whole = path.casefold()
    parts = whole.split("/")
    if parts[-1] in _NAMES or not _FOLDERS.isdisjoint(parts):
        return True
    if _WILD.match(parts[-1]):
        return True
    below = f"/{whole}/"
    return any(folder in below for folder in _DEEP_FOLDERS) or below.endswith(_DEEP_NAMES)


_FOLDED: Final = frozenset(pattern.casefold() for pattern in _PATTERNS)
_BELOW: Final = frozenset(p.removesuffix("/**") for p in _FOLDED if p.endswith("/**"))
_ALONE: Final = frozenset(p for p in _FOLDED if not p.endswith("/**"))
_FOLDERS: Final = frozenset(p for p in _BELOW if "/" not in p)
_DEEP_FOLDERS: Final = tuple(f"/{p}/" for p in _BELOW if "/" in p)
_NAMES: Final = frozenset(p for p in _ALONE if "/" not in p and "*" not in p)
_DEEP_NAMES: Final = tuple(f"/{p}/" for p in _ALONE if "/" in p)
_WILD: Final = re.compile("|".join(translate(p) for p in sorted(_ALONE) if "*" in p))
