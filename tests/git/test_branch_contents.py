"""The branch of a finished session contains exactly its changes, by the user's rules."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests import engine
from tests.client import Para
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
TOUCH = "find . -path ./.git -prune -o -type f -exec touch {} +"  # so that git reads every file


async def finish_and_list_changes(para: Para, repo: Repository, api: Any, script: str) -> set[str]:
    """Finish a session that ran a script, and return the files that its branch changes."""
    session = await para.call("para.start", name="w")
    engine.run(api, session["container"]["name"], script)
    await para.call("para.finish", name="w", message="it")
    names = repo.git("diff", "--name-only", "--no-renames", "main", "para/w")
    return set(names.splitlines())


async def test_unchanged_files_stay_unchanged_under_newer_attributes(
    para: Para, repo: Repository, api: Any
) -> None:
    (repo.path / "old.txt").write_bytes(b"a\r\nb\r\n")
    (repo.path / "mixed.bat").write_bytes(b"a\r\nb\n")
    (repo.path / "id.c").write_bytes(b"$Id: 12 $\n")
    repo.commit("before there were rules")
    repo.commit(**{".gitattributes": "*.txt text\n*.bat text eol=crlf\n*.c ident\n"})
    assert await finish_and_list_changes(para, repo, api, f"{TOUCH}; echo 2 >README.md") == {
        "README.md"
    }


async def test_temporary_failure_of_git_does_not_change_the_branch(
    servers: Servers, repo: Repository, api: Any, tmp_path: Path
) -> None:
    failing = f"! mkdir {tmp_path}/failed 2>/dev/null || exit 1"
    once = f'case "$*" in *"rev-list --quiet"*) {failing} ;; esac'
    shim = tmp_path / "bin/git"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\n{once}\nexec {shutil.which("git")} "$@"\n')
    shim.chmod(0o755)
    repo.commit(**{".gitattributes": "*.bat text eol=crlf\n", "run.bat": "one\n"})
    para = await servers(extra={"PATH": f"{shim.parent}:/usr/local/bin:/usr/bin:/bin"})
    assert await finish_and_list_changes(para, repo, api, "echo 1 >1") == {"1"}
    assert (tmp_path / "failed").is_dir(), "it did not fail"


async def test_new_attributes_apply_to_files_that_the_session_changes(
    para: Para, repo: Repository, api: Any
) -> None:
    (repo.path / "old.txt").write_bytes(b"a\r\nb\r\n")
    repo.commit()
    script = f"echo '*.txt text' >.gitattributes; printf 'n\\r\\n' >new.txt; {TOUCH}"
    assert await finish_and_list_changes(para, repo, api, script) == {".gitattributes", "new.txt"}
    assert repo.git("cat-file", "-s", "para/w:new.txt") == "2"


async def test_nested_repository_is_added_by_its_own_rules_only(
    para: Para, repo: Repository, api: Any
) -> None:
    repo.commit(**{".gitattributes": "*.bat text eol=crlf\n", ".gitignore": "/vendor/\n*.log\n"})
    repo.commit(**{"run.bat": "one\n"})
    script = (
        "git init -q vendor/in; echo v >vendor/in/v; git init -q lib; cd lib; mkdir bin; "
        "echo '/bin' >.gitignore; echo '*.txt text' >.gitattributes; echo b >bin/b; echo l >x.log; "
        "printf 'a\\r\\n' >a.txt; git init -q deep; echo d >deep/d"
    )
    assert await finish_and_list_changes(para, repo, api, f"{script}; cd ..; {TOUCH}") == {
        *("lib/.gitignore", "lib/.gitattributes", "lib/a.txt", "lib/deep/d"),
    }
    assert repo.git("cat-file", "-s", "para/w:lib/a.txt") == "2"


async def test_nested_repositories_with_odd_names_are_distinguished(
    para: Para, repo: Repository, api: Any
) -> None:
    session = await para.call("para.start", name="w")
    made = 'git init -q "./$at"; echo 1 >"./$at/file"'
    script = f"for at in a $'a\\nb' -x --help '*' @ ']'; do {made}; done; echo /a >.gitignore"
    engine.run(api, session["container"]["name"], script)
    finished = await para.call("para.finish", name="w", message="it")
    assert [(one["what"], one["path"]) for one in finished["left"]] == [("ignored-repository", "a")]
    names = set(repo.git("ls-tree", "-r", "-z", "--name-only", "para/w").split("\0"))
    assert {f"{at}/file" for at in ("a\nb", "-x", "--help", "*", "@", "]")} <= names


async def test_user_ignore_files_apply_to_sessions(
    para: Para, repo: Repository, api: Any, tmp_path: Path
) -> None:
    ignored = tmp_path / "my ignores"
    ignored.write_text("# mine\n*.swp\n")
    repo.git("config", "--global", "core.excludesFile", str(ignored))
    (repo.path / ".git/info/exclude").write_text(".env.local\n")
    script = (
        "echo 1 >.env.local; echo 2 >a.swp; echo '/notes' >>.git/info/exclude; echo 3 >notes; "
        "git status --short; echo 4 >work"
    )
    assert await finish_and_list_changes(para, repo, api, script) == {"work"}


@pytest.mark.parametrize("shared", [False, True], ids=["in a clone", "in a shared checkout"])
async def test_user_filters_write_files_and_finish_refuses_changed_ones(
    servers: Servers, repo: Repository, api: Any, tmp_path: Path, shared: bool
) -> None:
    clear, stored = "clear text\n", "PYRNE GRKG\n"
    for way in ("clean", "smudge"):
        script = tmp_path / way
        script.write_text("#!/bin/sh\ntr a-zA-Z N-ZA-Mn-za-m\n")
        script.chmod(0o755)
        repo.git("config", "--global", f"filter.rot.{way}", str(script))
    repo.git("config", "filter.evil.smudge", f"touch {tmp_path}/canary; cat")
    rules = "*.key filter=rot\n*.evil filter=evil\n"
    repo.commit(**{".gitattributes": rules, "a.key": clear, "b.evil": "b\n"})
    assert repo.show("HEAD:a.key") == stored.strip()
    (tmp_path / "canary").unlink(missing_ok=True)
    para = await servers(extra={"PARA_GIT_SHARE_FROM": "0"} if shared else {})
    session = await para.call("para.start", name="w")
    assert {"rot", "evil"} <= set(" ".join(session["warnings"]).split())
    container = session["container"]["name"]
    inspect = f"{TOUCH}; cat a.key b.evil; git status --short"
    assert engine.run(api, container, inspect) == f"{clear}b\n"
    engine.run(api, container, "echo new >new; echo secret >>a.key")
    refused = await para.fails("workspace.git-failed", "para.finish", name="w", message="it")
    assert "filter" in refused.message
    assert "a.key" in refused.message
    engine.run(api, container, "git commit -qam secret; git rm -q a.key; git commit -qm gone")
    await para.fails("workspace.git-failed", "para.finish", name="w", message="it")
    engine.run(api, container, f"git reset -q --soft {session['base']}; git reset -q")
    engine.run(api, container, "git show HEAD:a.key | tr a-zA-Z N-ZA-Mn-za-m >a.key")
    await para.call("para.finish", name="w", message="it")
    assert repo.git("diff", "--name-only", "main", "para/w") == "new"
    assert not repo.holds("a.key", f"{clear}secret\n")
    assert not (tmp_path / "canary").exists(), "a filter of the repository's own configuration ran"


async def test_commits_have_the_identity_of_the_user(
    servers: Servers, repo: Repository, api: Any
) -> None:
    repo.git("config", "author.name", "An Author")
    repo.git("config", "--unset", "user.email")
    extra = {"EMAIL": "env@example.org", "GIT_COMMITTER_EMAIL": "committer@example.org"}
    para = await servers(extra=extra)
    session = await para.call("para.start", name="w")
    engine.run(api, session["container"]["name"], "echo 1 >1; git add 1; git commit -qm 1; echo >2")
    await para.call("para.finish", name="w", message="it")
    authors = repo.git("log", "-2", "--format=%an <%ae> %cn <%ce>", "para/w").splitlines()
    assert authors == ["An Author <env@example.org> Ada <committer@example.org>"] * 2


async def test_finish_fails_without_a_required_address(
    para: Para, repo: Repository, api: Any
) -> None:
    session = await para.call("para.start", name="w")
    engine.run(api, session["container"]["name"], "echo 1 >1")
    repo.git("config", "--unset", "user.email")
    repo.git("config", "user.useConfigOnly", "true")
    refused = await para.fails("workspace.git-failed", "para.finish", name="w", message="it")
    assert "user.email" in refused.message
    repo.git("config", "user.email", "ada@example.org")
    await para.call("para.finish", name="w", message="it")
