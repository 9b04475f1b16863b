"""The only place that knows which files run by themselves when a person opens or builds. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

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
    found = {path for path in paths if _runs(path)}
    return tuple(sorted(found.union(submodules)))


def _runs(path: str) -> bool:
    # case-insensitive file systems run .VSCODE/tasks.json as well
    parts = path.casefold().split("/")
    tails = ["/".join(parts[start:]) for start in range(len(parts))]
    tails += [f"{parts[-1]}/"]  # what should be a folder may be a link to one
    return any(fnmatchcase(tail, pattern.casefold()) for tail in tails for pattern in _PATTERNS)
