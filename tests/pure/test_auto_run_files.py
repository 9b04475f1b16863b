"""Detection of files that run automatically."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from para_server.core.auto_run_files import auto_run_files
from para_server.core.build_files import BUILD_FILES
from para_server.core.open_files import OPEN_FILES


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
def test_detects_files_that_run_automatically(path: str) -> None:
    assert auto_run_files([path]) == (path,)


@pytest.mark.parametrize(
    "path",
    """
    .mvn/extensions.xml .mvn/jvm.config .mvn/wrapper/maven-wrapper.properties mvnw
    .yarn/releases/yarn-4.0.0.cjs .yarn/plugins/x.cjs .pnp.cjs .pnp.loader.mjs .pnpmfile.mjs
    rust-toolchain.toml rust-toolchain .eslintrc .eslintrc.json .eslintrc.yml eslint.config.mjs
    .prettierrc .prettierrc.json .prettierrc.yaml .prettierrc.mjs .stylelintrc.json .babelrc
    babel.config.json .lintstagedrc .lintstagedrc.json tsconfig.json tsconfig.build.json
    bunfig.toml deno.json deno.jsonc gulpfile.js Gruntfile.js jest.config.ts webpack.common.js
    .pylintrc pylintrc pytest.ini mypy.ini .flake8 requirements.txt requirements-dev.txt Pipfile
    uv.toml usercustomize.py sub/conftest.py ruff.toml
    .rubocop.yml .rspec .irbrc .pryrc gems.rb .bundle/config .rvmrc Guardfile tasks/x.rake
    mix.exs .formatter.exs rebar.config.script rebar.config build.sbt project/plugins.sbt
    app.csproj Directory.Build.props Directory.Build.targets app.sln x.targets nuget.config
    NuGet.Config global.json build.zig Package.swift .swiftpm/config/x hie.yaml Setup.hs x.cabal
    cabal.project stack.yaml dune lib/dune dune-project project.clj deps.edn shadow-cljs.edn
    CMakePresets.json x.cmake configure.ac configure build.xml SConstruct wscript conanfile.py
    .helix/languages.toml .ycm_extra_conf.py .lvimrc .vim/x .nvim/init.lua Session.vim
    .dir-locals-2.el x.sublime-project .gdbinit .lldbinit .gitpod.yml devfile.yaml .replit
    .idx/dev.nix .bazelrc MODULE.bazel WORKSPACE.bazel defs.bzl .bazelversion tools/bazel
    devenv.nix devbox.json any.nix Containerfile Dockerfile.dev docker-compose.override.yml
    docker-bake.hcl compose.prod.yaml Tiltfile skaffold.yaml Procfile .clinerules .clinerules/a.md
    .roo/rules/a.md .kiro/x .windsurf/x .continue/x .aider.conf.yml .junie/x .qwen/x crush.json
    CLAUDE.local.md AGENT.md opencode.jsonc sub/AGENTS.md .appveyor.yml .azure-pipelines/a.yml
    azure-pipelines.yaml .gitlab/x.yml .teamcity/settings.kts cloudbuild.yaml .tekton/x.yaml
    .lfsconfig .huskyrc.json lefthook-local.yml turbo.json nx.json lerna.json .mocharc.js
    .bashrc .zshenv .profile .env.local .python-version .node-version .sdkmanrc mise.local.toml
    composer.json phpunit.xml pubspec.yaml analysis_options.yaml go.work go.mod gradle.properties
    gradle/libs.versions.toml buildSrc/build.gradle.kts init.gradle .golangci.yml Taskfile.yaml
    main.tf ansible.cfg App.xcodeproj/project.pbxproj .clangd compile_commands.json
    binding.gyp .npmrc .vs/launch.vs.json Gemfile.lock .storybook/main.ts meson.build zlib.wrap
    """.split(),
)
def test_detects_files_of_common_tools(path: str) -> None:
    assert auto_run_files([path]) == (path,)
    assert auto_run_files([f"deep/er/{path}"]) == (f"deep/er/{path}",)
    assert auto_run_files([path.upper()]) == (path.upper(),)


@pytest.mark.parametrize(
    "path",
    [
        ".vscode",  # a link to a folder
        ".vs\u200ccode/tasks.json",
        ".VSCODE /tasks.json",
        ".vscode./tasks.json",
        "package.json.",
        "Make\ufefffile",
        "caf\u00e9/Makefile",
    ],
)
def test_detects_equivalent_spellings_of_file_systems(path: str) -> None:
    assert auto_run_files([path]) == (path,)


def test_every_row_has_a_tool_and_a_source() -> None:
    rows = (*OPEN_FILES, *BUILD_FILES)
    assert len({row.tool for row in rows}) == len(rows)
    for row in rows:
        assert row.source.startswith(("https://", "docs/"))
        assert row.when
        for pattern in row.patterns.split():
            assert "*" not in pattern.removesuffix("/**") or "/" not in pattern, pattern


@pytest.mark.parametrize(
    "path",
    """
    docs/index.md src/index.ts src/main.rs lib/src.js app/arc.ts tests/test_app.py data.json
    image.png src/compose.py notes.txt src/settings.py web/login project/readme.md env.py
    build/output.txt WORKSPACE.md BUILD.md vimrc.md config.yaml LICENSE makefile.txt dune.md
    README.md src/app.py vscode/tasks.json package.json.md docs/Makefile.md github/workflows.yml
    mypackage.json env src/setup.python conftest.pyi CLAUDE.markdown
    """.split(),
)
def test_ignores_similar_names(path: str) -> None:
    assert auto_run_files([path]) == ()


@given(st.lists(st.text(max_size=30)), st.lists(st.text(min_size=1, max_size=10)))
def test_result_is_sorted_unique_and_changed(paths: list[str], submodules: list[str]) -> None:
    result = auto_run_files(paths, submodules)
    assert list(result) == sorted(set(result))
    assert set(submodules) <= set(result) <= {*paths, *submodules}
