"""The rules that the project keeps of itself; docs/architecture.md says why each."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from para_server.codegen import reference

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "para_server"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 300  # lines of a module

TOP_LEVEL = set(
    "pyproject.toml para_server editor tests images docs "
    "README.md Makefile LICENSE CHANGELOG.md".split()
)
STARTS_PROCESSES = {"git", "agents"}
PROCESS_MODULES = {"subprocess", "multiprocessing", "pty", "pexpect"}
PROCESS_CALLS = re.compile(
    r"^(create_subprocess_\w+|subprocess_\w+|system|popen|fork|forkpty|exec[lv]\w*|"
    r"spawn[lv]\w*|posix_spawnp?)$"
)
# what would tie the project to one machine, or to hosts that only an allow-list may name
MACHINE = re.compile(r"/work/(?:main|shared)\b|bash_jobs")
REGISTRIES = re.compile(r"pypi\.org|pythonhosted\.org|registry\.npmjs\.org")
NAMES_REGISTRIES = {
    "para_server/core/settings.py",
    "docs/reference/settings.md",
    "editor/package.json",
}

Item = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def relative(file: Path) -> str:
    return str(file.relative_to(ROOT))


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def tracked() -> list[str]:
    listed = run("git", "ls-files", "-z")
    assert listed.returncode == 0, listed.stderr
    return [name for name in listed.stdout.split("\0") if name]


def passes(*argv: str) -> None:
    done = run(*argv)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def imported_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*(name.partition('.')[0] for name in sys.modules))"
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def public_items(tree: ast.Module) -> Iterator[Item]:
    for item in tree.body:
        if isinstance(item, Item) and not item.name.startswith("_"):
            yield item
            inner = item.body if isinstance(item, ast.ClassDef) else ()
            yield from (i for i in inner if isinstance(i, Item) and not i.name.startswith("_"))


def process_starters(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (a.name for a in names if a.name in PROCESS_MODULES)
            case ast.ImportFrom(module=str(module)):
                yield from [module] if module in PROCESS_MODULES else []
            case ast.Attribute(value=ast.Name(id="os" | "asyncio" | "loop"), attr=called):
                yield from [called] if PROCESS_CALLS.match(called) else []


def test_generated_files_are_fresh() -> None:
    assert [str(path) for path in reference.find_stale()] == [], "run `make generate`"


def test_nothing_stands_in_the_folder_of_generated_files_that_is_not_generated() -> None:
    written = {str(path) for path in reference.generate_files()}
    assert {name for name in tracked() if name.startswith("docs/reference/")} <= written


@pytest.mark.parametrize("file", MODULES, ids=relative)
def test_a_module_is_short_and_documented(file: Path) -> None:
    text = file.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= LONGEST
    assert ast.get_docstring(tree)
    bare = [item.name for item in public_items(tree) if not ast.get_docstring(item)]
    assert bare == []


@pytest.mark.parametrize("file", MODULES, ids=relative)
def test_only_git_and_agents_start_processes(file: Path) -> None:
    if file.relative_to(PACKAGE).parts[0] not in STARTS_PROCESSES:
        assert list(process_starters(ast.parse(file.read_text()))) == []


def test_imports_keep_to_their_layers() -> None:
    passes(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")


def test_ruff_finds_nothing() -> None:
    passes(sys.executable, "-m", "ruff", "check", ".")


def test_ruff_would_format_nothing() -> None:
    passes(sys.executable, "-m", "ruff", "format", "--check", ".")


def test_mypy_finds_nothing() -> None:
    passes(sys.executable, "-m", "mypy")


def test_the_top_level_holds_only_what_it_may() -> None:
    names = {name.partition("/")[0] for name in tracked()}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


def test_docker_is_not_imported_before_it_is_needed() -> None:
    assert "docker" not in imported_by("para_server.__main__, para_server.commands.all")


def test_the_command_line_does_not_pay_for_the_server() -> None:
    dear = {"pygls", "lsprotocol", "docker"}
    assert imported_by("para_server.cli.main").isdisjoint(dear)


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    found = []
    for name in tracked():
        try:
            text = (ROOT / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        if name == relative(Path(__file__)):
            continue
        found += [f"{name}: {match[0]}" for match in MACHINE.finditer(text)]
        if name not in NAMES_REGISTRIES:
            found += [f"{name}: {match[0]}" for match in REGISTRIES.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (True, ".venv/bin/python cannot be run by this user: remove .venv, and run make again"),
        (False, "./python cannot be run by this user: make PYTHON=/path/to/python3.11 …"),
    ],
    ids=["of .venv", "that is named"],
)
def test_make_says_which_python_cannot_be_run(tmp_path: Path, made: bool, told: str) -> None:
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "python").write_text("")  # nobody may run it
    if made:
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        (tmp_path / ".venv" / "bin" / "python").write_text("")
        for name in (".stamp", ".compiled"):
            (tmp_path / ".venv" / name).write_text("")
    done = subprocess.run(
        ["make", "-C", str(tmp_path), "venv", "PYTHON=./python"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == told
