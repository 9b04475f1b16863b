"""List the container variables that a repository must not set. Pure.

Each row has a reason and patterns of names; case is ignored. A repository's variables affect every
process of its container: shells, interpreters, the agent, and the programs that para runs there.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

_RESERVED: Final = {
    "the loader and the C library of every program read it": """
        LD_* DYLD_* GLIBC_* GCONV_PATH MALLOC_* LOCPATH NLSPATH HOSTALIASES LOCALDOMAIN
        RES_OPTIONS RESOLV_* NSS_* TZDIR GETCONF_DIR
    """,
    "shells and their child processes read it": """
        PATH CDPATH HOME USER LOGNAME PWD OLDPWD SHELL ENV BASH* IFS PS0 PS1 PS2 PS4
        PROMPT_COMMAND SHELLOPTS GLOBIGNORE POSIXLY_CORRECT ZDOTDIR FPATH INPUTRC TMPDIR TMP
        TEMP TMOUT HIST* SUDO_*
    """,
    "it names a program that other programs start": """
        EDITOR VISUAL PAGER *_PAGER LESS* MANPAGER MANOPT BROWSER SSH_* GPG_* *_ASKPASS EXINIT
        VIMINIT *_EDITOR
    """,
    "the agent's terminal reads it": """
        LANG LANGUAGE LC_* TERM* TMUX* COLORTERM COLUMNS LINES
    """,
    "it moves the folders of settings and state": "XDG_*",
    "Python reads it as it starts": """
        PYTHON* PIP_* UV_* VIRTUAL_ENV CONDA_* POETRY_* PDM_*
    """,
    "Node.js, in which agents run, reads it as it starts": """
        NODE_* NPM_* YARN_* PNPM_* COREPACK_* BUN_* DENO_* NVM_* TS_NODE_* ELECTRON_*
    """,
    "an interpreter, a compiler or a package manager reads it as it starts": """
        PERL* RUBY* GEM_* BUNDLE_* PHP* LUA* JAVA_* JDK_* _JAVA_* CLASSPATH MAVEN_* GRADLE_*
        SBT_* JVM_* CARGO_* RUSTC* RUSTUP_* RUSTFLAGS GOFLAGS GOPROXY GOROOT GOPATH GOENV
        GOSUMDB GONOSUMDB GONOSUMCHECK GONOPROXY GOPRIVATE GOINSECURE GOTOOLCHAIN GOAUTH ERL_*
        ELIXIR_* DOTNET_* CORECLR_* COMPLUS_* MSBUILD* NUGET_* R_* GUILE_* TCLLIBPATH MAKEFLAGS
        MAKEFILES GNUMAKEFLAGS
    """,
    "git and its tools read it": """
        GIT_* GH_* GITHUB_TOKEN GLAB_* GITLAB_* HG* SVN_*
    """,
    "container tools read it": """
        DOCKER_* BUILDKIT_* BUILDX_* CONTAINER_HOST CONTAINER_SSHKEY CONTAINER_CONNECTION
        PODMAN_* KUBE*
    """,
    "it redirects network traffic": "*_PROXY",
    "it sets which certificates are trusted": """
        SSL_* SSLKEYLOGFILE OPENSSL_* GNUTLS_* REQUESTS_* CURL_* *_CA_BUNDLE *_CA_CERT* *_CAFILE
        *_CAINFO WGETRC AXEL_* P11_KIT_* PKCS11_*
    """,
    "it is reserved for para": "PARA_*",
    "Claude Code reads it": """
        ANTHROPIC_* CLAUDE* CCR_* MCP_* API_TIMEOUT_MS MAX_THINKING_TOKENS DISABLE_*
        ENABLE_TOOL_SEARCH FORCE_AUTOUPDATE* USE_BUILTIN_RIPGREP IS_SANDBOX IS_DEMO
    """,
    "Codex reads it": "OPENAI_* CODEX_* AZURE_* RUST_LOG",
    "Gemini CLI reads it": """
        GEMINI_* GOOGLE_* GCLOUD_* CLOUDSDK_* VERTEX* CLOUD_ML_REGION SANDBOX SANDBOX_FLAGS
        SANDBOX_MOUNTS SANDBOX_ENV SANDBOX_SET_UID_GID BUILD_SANDBOX SEATBELT_*
    """,
    "OpenCode or a model provider reads it": """
        OPENCODE* AWS_* BEDROCK_* GROQ_* XAI_* MISTRAL_* DEEPSEEK_* OPENROUTER_* COHERE_*
        TOGETHER_* FIREWORKS_* CEREBRAS_* PERPLEXITY_* HF_* HUGGINGFACE_* OLLAMA_* COPILOT_*
        LM_STUDIO_* LMSTUDIO_* VENICE_* MOONSHOT_* KIMI_* ZHIPU_* DASHSCOPE_* QWEN_*
        CLOUDFLARE_* SAP_* AICORE_* NVIDIA_API_*
    """,
    "it sets where agents send telemetry": """
        OTEL_* SENTRY_DSN POSTHOG_* DO_NOT_TRACK
    """,
}
# projects set these in their ordinary work
_EXCEPTIONS: Final = frozenset({"NODE_ENV", "NODE_CONFIG_ENV", "JAVA_OPTS_APPEND"})
_ROWS: Final = tuple(
    (pattern, reason) for reason, patterns in _RESERVED.items() for pattern in patterns.split()
)


def refusal_reason(name: str) -> str | None:
    """Return why a repository must not set a variable; None if it may."""
    plain = name.upper()
    if plain in _EXCEPTIONS:
        return None
    return next((reason for pattern, reason in _ROWS if fnmatchcase(plain, pattern)), None)
