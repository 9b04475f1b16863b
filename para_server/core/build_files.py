"""List the files that languages and build tools run: a row per tool, as in `open_files`."""

from __future__ import annotations

from typing import Final

from para_server.core.open_files import Row

BUILD_FILES: Final = (
    Row(
        "npm",
        "installed",
        "https://docs.npmjs.com/cli/using-npm/scripts",
        "package.json package.json5 .npmrc binding.gyp *.gyp *.gypi",
    ),
    Row(
        "Yarn",
        "installed",
        "https://yarnpkg.com/configuration/yarnrc",
        ".yarnrc .yarnrc.yml .yarn/** .pnp.cjs .pnp.js .pnp.loader.mjs .pnp.data.json",
    ),
    Row(
        "pnpm",
        "installed",
        "https://pnpm.io/pnpmfile",
        ".pnpmfile.cjs .pnpmfile.mjs pnpmfile.js pnpm-workspace.yaml .pnp.*",
    ),
    Row(
        "Bun and Deno",
        "started",
        "https://bun.sh/docs/runtime/bunfig",
        "bunfig.toml deno.json deno.jsonc",
    ),
    Row(
        "Monorepo tools",
        "built",
        "https://nx.dev/reference/project-configuration",
        "turbo.json turbo.jsonc nx.json project.json workspace.json .nx/** .turbo/** "
        "lerna.json rush.json .moon/** moon.yml wireit.json common/config/rush/**",
    ),
    Row(
        "Configurations that are code",
        "built or opened",
        "https://vite.dev/config/",
        "*.config.js *.config.cjs *.config.mjs *.config.ts *.config.cts *.config.mts "
        "*.conf.js *.conf.cjs *.conf.mjs *.conf.ts *.setup.js *.setup.ts gulpfile.* "
        "gruntfile.* jakefile.* brunch-config.* ember-cli-build.* angular.json "
        "quasar.conf.* metro.config.* jest.setup.* .storybook/** .mocharc .mocharc.* "
        ".taprc .c8rc.json .ncurc.* .swcrc .parcelrc svelte.config.* webpack.*.js "
        "webpack.*.ts webpack.*.mjs webpack.*.cjs rollup.*.js rollup.*.mjs karma.conf.* "
        "wdio.conf.* nightwatch.conf.* vitest.workspace.* .*rc.js .*rc.cjs .*rc.mjs "
        ".*rc.ts",
    ),
    Row(
        "ESLint",
        "opened",
        "https://eslint.org/docs/latest/use/configure/plugins",
        ".eslintrc .eslintrc.* eslint.config.* .oxlintrc.json biome.json biome.jsonc",
    ),
    Row(
        "Prettier",
        "saved",
        "https://prettier.io/docs/plugins",
        ".prettierrc .prettierrc.* prettier.config.*",
    ),
    Row(
        "stylelint",
        "opened",
        "https://stylelint.io/user-guide/configure/",
        ".stylelintrc .stylelintrc.* stylelint.config.* .postcssrc .postcssrc.* .sassrc .sassrc.*",
    ),
    Row(
        "Babel",
        "built",
        "https://babeljs.io/docs/config-files",
        ".babelrc .babelrc.* babel.config.* .remarkrc .remarkrc.* .markdownlint-cli2.* "
        ".markdownlint.cjs .textlintrc .textlintrc.*",
    ),
    Row(
        "TypeScript",
        "opened",
        "https://www.typescriptlang.org/tsconfig/#plugins",
        "tsconfig.json tsconfig.*.json jsconfig.json tslint.json",
    ),
    Row(
        "Python",
        "started",
        "https://docs.python.org/3/library/site.html",
        "sitecustomize.py usercustomize.py *.pth .pythonrc .pythonrc.py pyvenv.cfg .venv/**",
    ),
    Row(
        "pip and build backends",
        "installed",
        "https://pip.pypa.io/en/stable/reference/build-system/",
        "setup.py setup.cfg pyproject.toml requirements*.txt requirements*.in "
        "constraints*.txt Pipfile uv.toml poetry.toml pdm.toml hatch.toml hatch_build.py "
        "pip.conf pip.ini environment.yml environment.yaml conda.yaml pixi.toml "
        "buildout.cfg",
    ),
    Row(
        "pytest",
        "tests found",
        "https://docs.pytest.org/en/stable/reference/customize.html",
        "conftest.py pytest.ini .pytest.ini pytest.toml .pytest.toml tox.ini tox.toml "
        "noxfile.py .coveragerc .noserc nose.cfg",
    ),
    Row(
        "Linters of Python",
        "opened",
        "https://pylint.readthedocs.io/en/stable/user_guide/configuration/all-options.html",
        ".pylintrc pylintrc .pylintrc.toml pylintrc.toml mypy.ini .mypy.ini .flake8 "
        ".pycodestyle ruff.toml .ruff.toml pyrightconfig.json .pre-commit-hooks.yaml "
        ".bandit",
    ),
    Row(
        "Tasks of Python",
        "run",
        "https://docs.pyinvoke.org/en/stable/concepts/loading.html",
        "fabfile.py dodo.py pavement.py wscript waf SConstruct SConscript conanfile.py "
        "conanfile.txt ipython_config.py jupyter_*config.py gunicorn.conf.py snakefile",
    ),
    Row(
        "Cargo and rustup",
        "opened or built",
        "https://rust-lang.github.io/rustup/overrides.html",
        "build.rs Cargo.toml .cargo/** rust-toolchain rust-toolchain.toml "
        "rust-analyzer.toml .rust-analyzer.toml clippy.toml .clippy.toml "
        "rust-project.json",
    ),
    Row(
        "Go",
        "opened or built",
        "https://go.dev/doc/toolchain",
        "go.mod go.work go.env .golangci.yml .golangci.yaml .golangci.toml .golangci.json "
        "magefile.go .air.toml .goreleaser.yml .goreleaser.yaml",
    ),
    Row(
        "Maven",
        "opened or built",
        "https://maven.apache.org/configure.html",
        "pom.xml *.pom .mvn/** mvnw mvnw.cmd",
    ),
    Row(
        "Gradle",
        "opened or built",
        "https://docs.gradle.org/current/userguide/gradle_wrapper.html",
        "*.gradle *.gradle.kts *.gradle.dcl gradle.properties gradlew gradlew.bat "
        "gradle/** buildSrc/** local.properties",
    ),
    Row(
        "Builds of the JVM",
        "opened or built",
        "https://www.scala-sbt.org/1.x/docs/Directories.html",
        "*.sbt build.sc build.mill .mill-version .scalafix.conf .jvmopts .sbtopts "
        "build.xml ivy.xml project.clj deps.edn bb.edn shadow-cljs.edn build.boot "
        "profiles.clj .clj-kondo/** .lsp/** *.main.kts project/build.properties "
        "project/Build.scala",
    ),
    Row(
        "Ruby",
        "opened or built",
        "https://bundler.io/guides/gemfile.html",
        "Gemfile gems.rb *.gemspec .bundle/** Rakefile Rakefile.rb *.rake rakelib/** "
        ".rubocop.yml .rubocop_*.yml .rspec .irbrc .pryrc Guardfile Capfile Brewfile "
        "Fastfile fastlane/** Podfile Dangerfile Vagrantfile Berksfile .solargraph.yml "
        ".standard.yml .ruby-lsp/** config.ru Appraisals Thorfile Gemfile.lock",
    ),
    Row(
        "PHP",
        "installed",
        "https://getcomposer.org/doc/articles/scripts.md",
        "composer.json .php-cs-fixer.php .php-cs-fixer.dist.php .php_cs .php_cs.* "
        "phpstan.neon phpstan.neon.dist phpunit.xml phpunit.xml.dist psalm.xml rector.php "
        ".user.ini php.ini .htaccess artisan pint.json grumphp.yml",
    ),
    Row(
        "Elixir and Erlang",
        "opened or built",
        "https://hexdocs.pm/mix/Mix.html",
        "mix.exs .formatter.exs .iex.exs .credo.exs rebar.config rebar.config.script "
        "*.app.src.script Emakefile erlang.mk .erlang config/config.exs "
        "config/runtime.exs config/dev.exs config/test.exs",
    ),
    Row(
        ".NET",
        "opened or built",
        "https://learn.microsoft.com/visualstudio/msbuild/customize-by-directory",
        "*.csproj *.fsproj *.vbproj *.vcxproj *.sqlproj *.proj *.props *.targets *.sln "
        "*.slnx *.slnf *.rsp nuget.config global.json dotnet-tools.json "
        ".config/dotnet-tools.json *.csx *.fsx packages.config *.ruleset *.globalconfig "
        ".globalconfig cake.config *.cake *.csproj.user *.vcxproj.user",
    ),
    Row(
        "Swift and Dart",
        "opened",
        "https://docs.swift.org/package-manager/PackageDescription/PackageDescription.html",
        "Package.swift Package@swift-*.swift .swiftlint.yml .sourcekit-lsp/** "
        "pubspec.yaml pubspec_overrides.yaml analysis_options.yaml build.yaml melos.yaml "
        "hook/build.dart dart_test.yaml",
    ),
    Row(
        "Haskell and OCaml",
        "opened or built",
        "https://cabal.readthedocs.io/en/stable/cabal-package-description-file.html",
        "Setup.hs Setup.lhs *.cabal cabal.project cabal.project.* stack.yaml .ghci dune "
        "dune-project dune-workspace *.opam .ocamlinit .merlin _tags myocamlbuild.ml",
    ),
    Row(
        "Zig, Nim, D, Crystal, Julia, R, Perl, Lua",
        "opened or built",
        "https://ziglang.org/learn/build-system/",
        "build.zig build.zig.zon *.nimble config.nims nim.cfg *.nims dub.json dub.sdl "
        "shard.yml deps/build.jl .Rprofile .Renviron *.Rproj Makefile.PL Build.PL "
        "cpanfile dist.ini .perlcriticrc .proverc .luarc.json *.rockspec .busted "
        "foundry.toml hardhat.config.* remappings.txt gleam.toml v.mod Scarb.toml "
        "Move.toml Anchor.toml configure.win renv/activate.R",
    ),
    Row(
        "make",
        "built",
        "https://www.gnu.org/software/make/manual/html_node/Makefile-Names.html",
        "Makefile GNUmakefile BSDmakefile *.mk *.mak Makefile.in Makefile.common Makefile.inc",
    ),
    Row(
        "CMake",
        "opened",
        "https://cmake.org/cmake/help/latest/manual/cmake-presets.7.html",
        "CMakeLists.txt CMakePresets.json CMakeUserPresets.json *.cmake *.cmake.in "
        "cmake-kits.json cmake-variants.* vcpkg.json vcpkg-configuration.json "
        "portfile.cmake",
    ),
    Row(
        "Autotools, Meson, Ninja and others",
        "built",
        "https://www.gnu.org/software/automake/manual/html_node/Autotools-Introduction.html",
        "configure configure.ac configure.in Makefile.am *.m4 autogen.sh bootstrap.sh "
        "meson.build meson_options.txt meson.options *.ninja xmake.lua premake*.lua "
        "Jamfile Jamroot Jamfile.v2 tup.config Tupfile Tuprules.tup *.pro *.pri *.qbs "
        "*.wrap",
    ),
    Row(
        "Bazel, Buck and Pants",
        "opened or built",
        "https://bazel.build/run/bazelrc",
        "WORKSPACE MODULE.bazel *.MODULE.bazel BUILD *.bzl *.bazel .bazelrc *.bazelrc "
        ".bazelversion .bazeliskrc .bazelproject tools/bazel BUCK BUCK.v2 "
        "TARGETS .buckconfig .buckconfig.* .buckconfig.d/** .buckversion pants.toml "
        ".pants.rc .pants.bootstrap Earthfile .plzconfig .plzconfig.* .please/** pleasew "
        "dagger.json BUILD.bazel WORKSPACE.bazel WORKSPACE.bzlmod",
    ),
    Row(
        "Runners of tasks",
        "run",
        "https://just.systems/man/en/",
        "justfile .justfile *.just Taskfile.yml Taskfile.yaml Taskfile.dist.yml "
        "Taskfile.dist.yaml Procfile Procfile.* Makefile.toml Tiltfile tilt_config.json "
        "skaffold.yaml process-compose.yml process-compose.yaml .overmind.env .foreman "
        "devspace.yaml okteto.yml garden.yml maskfile.md Rakefile nodemon.json pm2.json "
        "ecosystem.config.*",
    ),
    Row(
        "Containers",
        "built",
        "https://docs.docker.com/compose/how-tos/multiple-compose-files/merge/",
        "Dockerfile Dockerfile.* *.Dockerfile Containerfile Containerfile.* "
        "docker-compose*.yml docker-compose*.yaml compose*.yml compose*.yaml "
        "docker-bake.* podman-compose.yml Vagrantfile .docker/** mkosi.conf lima.yaml "
        "helmfile.yaml nixpacks.toml render.yaml vercel.json netlify.toml wrangler.toml "
        "serverless.ts cdk.json",
    ),
    Row(
        "Terraform, Ansible, Pulumi and Packer",
        "run",
        "https://developer.hashicorp.com/terraform/language/files",
        "*.tf *.tf.json *.tfvars .terraformrc terragrunt.hcl terramate.tm.hcl ansible.cfg "
        "Pulumi.yaml Pulumi.*.yaml *.pkr.hcl .tflint.hcl atlantis.yaml",
    ),
)
