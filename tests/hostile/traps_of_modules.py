"""Traps that git itself refuses to take in, and repositories within the workspace, as data."""

from __future__ import annotations

from tests.hostile.traps import COMMIT, Trap

_LINK = "git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),lib; mkdir lib"
_GOT = 'git init -q --bare ../got && git -C ../got -c fetch.fsckObjects=true fetch -q "$PWD" HEAD'
_FETCH = f"{COMMIT} && {_GOT}"


def _module(url: str, name: str = "lib", *, commit: bool = False) -> str:
    lines = rf"[submodule \"{name}\"]\n\tpath = lib\n\turl = {url}\n"
    return f'printf "{lines}" > .gitmodules; {_LINK}; {COMMIT if commit else ":"}'


MODULES = (
    Trap(
        "submodule_that_runs",
        "canary",
        _module("ext::touch $CANARY"),
        "GIT_ALLOW_PROTOCOL=ext git submodule update --init",
    ),
    Trap("submodule_like_an_option", "fails", _module("-u./evil"), _FETCH),
    Trap(
        "committed_submodule_like_an_option",
        "fails",
        _module("-u./evil", commit=True),
        _GOT,
        whole=False,
    ),
    Trap("submodule_outside", "fails", _module("./x", "../../outside"), _FETCH),
    Trap("linked_gitmodules", "fails", "ln -s work.txt .gitmodules", _FETCH),
    Trap(
        "endless_line_of_attributes",
        "fails",
        "head -c 5000 /dev/zero | tr '\\0' a > .gitattributes; echo ' text' >> .gitattributes",
        _FETCH,
    ),
    Trap(
        "encoding", "fails", "echo '* working-tree-encoding=UTF-16' > .gitattributes", "git add -A"
    ),
    Trap("capital_git", "fails", "mkdir .GIT; echo x > .GIT/config", "git add -A"),
    Trap("short_git", "fails", "mkdir git~1; echo x > git~1/config", "git add -A"),
    Trap("hidden_git", "fails", "mkdir $'.g\\u200cit'; echo x > $'.g\\u200cit/config'", _FETCH),
    Trap("nested_without_commits", "fails", "git init -q lib; echo n > lib/n", "git add -A"),
    Trap(
        "nested_with_commits",
        "fails",
        "git init -q lib; echo n > lib/n; cd lib; git add -A;"
        "git -c user.name=a -c user.email=b commit -qm n",
        "git add -A; git show :lib/n",
    ),
    Trap("nested_like_an_option", "fails", "git init -q ./-rf; echo n > ./-rf/n", "git add *"),
)
