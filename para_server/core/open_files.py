"""List the files that editors, agents, shells, git and services run: a row per tool.

A row has the tool, when it runs the files, the page that documents it, and patterns: file names
with `*` for any text, `FOLDER/**` for everything below a folder, `FOLDER/NAME` for a file in one.
Case is ignored. To add a tool, add a row.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Row(NamedTuple):
    """A tool, when it runs the files, the page that documents it, and the patterns."""

    tool: str
    when: str
    source: str
    patterns: str


OPEN_FILES: Final = (
    Row(
        "VS Code",
        "opened",
        "https://code.visualstudio.com/docs/editor/workspace-trust",
        ".vscode/** *.code-workspace",
    ),
    Row(
        "VS Code's forks",
        "opened",
        "https://docs.cursor.com/context/rules",
        ".cursor/** .cursorrules .windsurf/** .windsurfrules .trae/** .void/**",
    ),
    Row(
        "Dev Containers",
        "opened",
        "https://containers.dev/implementors/json_reference/",
        ".devcontainer/** .devcontainer.json",
    ),
    Row(
        "JetBrains",
        "opened",
        "https://www.jetbrains.com/help/idea/project-security.html",
        ".idea/** *.iml *.ipr *.iws .run/** .fleet/** .junie/**",
    ),
    Row(
        "Zed",
        "opened",
        "https://zed.dev/docs/configuring-zed",
        ".zed/** .rules",
    ),
    Row(
        "Vim and Neovim",
        "entered",
        "https://neovim.io/doc/user/options.html#'exrc'",
        ".exrc .nvimrc .nvim.lua .vimrc .gvimrc _vimrc .lvimrc .local.vimrc .vim/** "
        ".nvim/** Session.vim .vimspector.json .ycm_extra_conf.py .projections.json",
    ),
    Row(
        "Emacs",
        "opened",
        "https://www.gnu.org/software/emacs/manual/html_node/emacs/Directory-Variables.html",
        ".dir-locals.el .dir-locals-2.el .emacs .emacs.d/** .projectile .eide/**",
    ),
    Row(
        "Helix and Kakoune",
        "opened",
        "https://docs.helix-editor.com/master/workspace-trust.html",
        ".helix/** .kakrc .kak/** kak-lsp.toml",
    ),
    Row(
        "Sublime Text",
        "opened",
        "https://www.sublimetext.com/docs/projects.html",
        "*.sublime-project *.sublime-workspace *.sublime-build",
    ),
    Row(
        "Eclipse, NetBeans and Qt Creator",
        "opened",
        "https://help.eclipse.org/latest/topic/org.eclipse.platform.doc.isv/reference/misc/project_description_file.html",
        ".project .classpath .settings/** .externalToolBuilders/** nbproject/** "
        "*.pro.user *.launch",
    ),
    Row(
        "Visual Studio and Xcode",
        "opened",
        "https://learn.microsoft.com/visualstudio/ide/customize-build-and-debug-tasks-in-visual-studio",
        ".vs/** tasks.vs.json launch.vs.json *.pbxproj *.xcscheme *.xcconfig .swiftpm/**",
    ),
    Row(
        "Language servers for C",
        "opened",
        "https://clangd.llvm.org/config",
        ".clangd compile_commands.json compile_flags.txt .ccls",
    ),
    Row(
        "Language server for Haskell",
        "opened",
        "https://github.com/haskell/hie-bios",
        "hie.yaml",
    ),
    Row(
        "Visual debuggers",
        "started",
        "https://sourceware.org/gdb/current/onlinedocs/gdb.html/Auto_002dloading.html",
        ".gdbinit *-gdb.py *-gdb.gdb *-gdb.scm .lldbinit .pdbrc .radare2rc",
    ),
    Row(
        "EditorConfig",
        "opened",
        "https://editorconfig.org",
        ".editorconfig",
    ),
    Row(
        "Hosted workspaces",
        "opened",
        "https://www.gitpod.io/docs/references/gitpod-yml",
        ".gitpod.yml .gitpod/** .gitpod.Dockerfile devfile.yaml .devfile.yaml .replit "
        "replit.nix .idx/** .stackblitzrc .codesandbox/** sandbox.config.json .coder/** "
        ".ona/**",
    ),
    Row(
        "Claude Code",
        "started",
        "https://docs.anthropic.com/en/docs/claude-code/settings",
        ".claude/** CLAUDE.md CLAUDE.local.md .mcp.json .claude.json .claude-plugin/**",
    ),
    Row(
        "Agents",
        "started",
        "https://agents.md",
        "AGENTS.md AGENTS.override.md AGENT.md .agents/**",
    ),
    Row(
        "Codex and Gemini CLI",
        "started",
        "https://github.com/google-gemini/gemini-cli/blob/main/docs/cli/configuration.md",
        ".codex/** .gemini/** GEMINI.md gemini-extension.json",
    ),
    Row(
        "OpenCode and Crush",
        "started",
        "https://opencode.ai/docs/config/",
        ".opencode/** opencode.json opencode.jsonc crush.json .crush.json .crush/**",
    ),
    Row(
        "Further agents",
        "started",
        "https://docs.cline.bot/features/cline-rules",
        ".clinerules .clinerules/** .roo/** .roorules .roomodes .kilocode/** .kiro/** "
        ".continue/** .continuerc.json .aider.conf.yml .aider.model.settings.yml .qwen/** "
        "QWEN.md .goosehints .goose/** .augment/** .augment-guidelines .amazonq/** "
        ".factory/** .amp/** .openhands/** .warp/** WARP.md .codeium/** .tabnine/** "
        ".sourcery.yaml .trunk/** .coderabbit.yaml mcp.json",
    ),
    Row(
        "para",
        "dispatched",
        "docs/reference/settings.md",
        ".para/** .para.toml",
    ),
    Row(
        "direnv and the like",
        "entered",
        "https://direnv.net/man/direnv.1.html",
        ".envrc .env .env.* .direnv/** .direnvrc .autoenv .autoenv.zsh .autoenv.leave .in "
        ".out .rvmrc .smartcd .ondirrc",
    ),
    Row(
        "Version managers",
        "entered",
        "https://mise.jdx.dev/configuration.html",
        "mise.toml .mise.toml mise.*.toml .mise.*.toml .mise/** .config/mise/** "
        ".config/mise.toml .tool-versions .rtx.toml .nvmrc .node-version .python-version "
        ".ruby-version .ruby-gemset .java-version .sdkmanrc .proto/** .prototools .asdfrc "
        ".pkgx.yaml .go-version .terraform-version .crystal-version .swift-version "
        "mise/config.toml",
    ),
    Row(
        "Shells",
        "started",
        "https://www.gnu.org/software/bash/manual/html_node/Bash-Startup-Files.html",
        ".bashrc .bash_profile .bash_login .bash_logout .bash_aliases .profile .zshrc "
        ".zshenv .zprofile .zlogin .zlogout .kshrc .cshrc .tcshrc .login .inputrc "
        "config.fish .tmux.conf .screenrc .xinitrc .xsession .tmuxinator.yml "
        ".tmuxinator/** .zellij/**",
    ),
    Row(
        "Nix, devenv and Devbox",
        "entered",
        "https://nix.dev/manual/nix/latest/command-ref/nix-shell.html",
        "*.nix devbox.json devenv.yaml .envrc.*",
    ),
    Row(
        "git",
        "checked out",
        "https://git-scm.com/docs/gitattributes",
        ".gitattributes .gitmodules .gitconfig .lfsconfig .gitinclude",
    ),
    Row(
        "Hooks of git",
        "committed",
        "https://typicode.github.io/husky/how-to.html",
        ".githooks/** .git-hooks/** githooks/** .hooks/** .husky/** .huskyrc .huskyrc.* "
        ".pre-commit-config.yaml .pre-commit-config.yml .pre-commit-hooks.yaml "
        "lefthook.yml lefthook.yaml lefthook.toml lefthook.json lefthook-local.* "
        ".lefthook/** .lefthook-local/** .overcommit.yml .simple-git-hooks.* "
        "simple-git-hooks.* prek.toml .lintstagedrc .lintstagedrc.* lint-staged.config.* "
        ".commitlintrc .commitlintrc.* .czrc .cz.* cz.* .versionrc .versionrc.* "
        ".releaserc .releaserc.* hk.pkl .lefthook.yml .lefthook.yaml .lefthook.toml "
        ".lefthook.json",
    ),
    Row(
        "Mercurial and Jujutsu",
        "entered",
        "https://www.mercurial-scm.org/doc/hgrc.5.html",
        ".hgrc",
    ),
    Row(
        "GitHub and Gitea",
        "pushed",
        "https://docs.github.com/actions/using-workflows/workflow-syntax-for-github-actions",
        ".github/** .forgejo/** .gitea/** action.yml action.yaml .actrc renovate.json "
        "renovate.json5 .renovaterc .renovaterc.json dependabot.yml .mergify.yml",
    ),
    Row(
        "GitLab",
        "pushed",
        "https://docs.gitlab.com/ci/yaml/",
        ".gitlab-ci.yml .gitlab-ci.yaml *.gitlab-ci.yml .gitlab/** .gitlab-ci/**",
    ),
    Row(
        "Other services",
        "pushed",
        "https://circleci.com/docs/configuration-reference/",
        ".circleci/** .buildkite/** Jenkinsfile Jenkinsfile.* *.jenkinsfile "
        "azure-pipelines.yml azure-pipelines.yaml azure-pipelines*.yml "
        ".azure-pipelines/** .azuredevops/** .travis.yml .drone.yml .drone.star "
        ".drone.jsonnet bitbucket-pipelines.yml .woodpecker/** .woodpecker.yml "
        ".woodpecker.yaml .ci/** .appveyor.yml appveyor.yml .teamcity/** cloudbuild.yaml "
        "cloudbuild.yml cloudbuild.json .tekton/** .cirrus.yml .cirrus.star .semaphore/** "
        ".harness/** .builds/** .build.yml buildspec.yml wercker.yml codefresh.yml "
        ".codefresh/** .space.kts .readthedocs.yml .readthedocs.yaml .pipelines/** "
        ".concourse/** .prow.yaml .zuul.yaml .zuul.d/** zuul.yaml bamboo-specs/** "
        ".taskcluster.yml codemagic.yaml bitrise.yml xcodebuild.yml ci_scripts/** "
        ".packit.yaml .copr/** snapcraft.yaml debian/** PKGBUILD *.spec *.ebuild APKBUILD",
    ),
)
