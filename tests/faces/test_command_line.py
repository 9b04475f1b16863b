"""The command line: real `para` processes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import para_server.commands.all  # noqa: F401 # fills the registry
from para_server.registry import COMMANDS
from tests import engine
from tests.killed_runs import logins, set_aside
from tests.scratch import Repository

PARA = str(Path(sys.executable).with_name("para"))
DEADLINE = 90.0  # seconds
DONE, CANNOT, WRONG, CANCELLED = 0, 1, 2, 130
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


class Terminal:
    """A person at a terminal, in the repository."""

    def __init__(self, environ: dict[str, str], folder: Path) -> None:
        self.environ = environ | {"COLUMNS": "200"}
        self.folder = folder

    def run(self, *argv: str, code: int = DONE) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [PARA, *argv],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == code, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def seen(self, *argv: str) -> str:
        """Run a command as a person sees it: on a terminal."""
        ours, theirs = pty.openpty()
        with open(ours, "rb", buffering=0) as screen:  # noqa: PTH123 # it has no path
            done = subprocess.Popen(
                [PARA, *argv],
                cwd=self.folder,
                env=self.environ,
                stdout=theirs,
                stderr=subprocess.DEVNULL,
            )
            os.close(theirs)
            shown = b""
            with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it
                while part := screen.read(65536):
                    shown += part
            assert done.wait(DEADLINE) == DONE, argv
        return shown.decode()

    def json(self, *argv: str) -> Any:
        return json.loads(self.run(*argv, "--json").stdout)


@pytest.fixture
def terminal(environ: dict[str, str], repo: Repository) -> Terminal:
    """Sit in the repository."""
    return Terminal(environ, repo.path)


@pytest.fixture
def alone(environ: dict[str, str], repo: Repository) -> Terminal:
    """Sit in the repository, where containers are not wanted and no engine is."""
    return Terminal(environ | NO_ENGINE | {"PARA_CONTAINER_ENABLED": "false"}, repo.path)


def test_a_whole_life_at_a_terminal(
    terminal: Terminal, repo: Repository, api: Any, home: Path
) -> None:
    session = terminal.json("dispatch", "echo done >result.txt; sleep 600", "--name=fix")
    assert (session["name"], session["state"]) == ("fix", "running")
    shown = terminal.run("show").stdout
    assert shown.startswith("fix  running\n")
    assert "para/fix" in shown
    listed = terminal.run("list").stdout
    assert "NAME" in listed
    assert " of 50 containers run" in listed
    engine.run(api, session["container"]["name"], "until [ -s result.txt ]; do sleep 0.1; done")
    assert "+done" in terminal.run("diff", "fix").stdout
    assert terminal.run("file", "result.txt").stdout == "done\n"
    assert "changed  1 file +1 -0" in terminal.run("stats").stdout
    assert terminal.run("send", "hello").stdout.startswith("fix  running\n")
    paused = terminal.run("pause", "fix")
    assert paused.stdout.startswith("fix  paused\n")
    assert "Saving fix" in paused.stderr
    assert terminal.run("resume", "fix").stdout.startswith("fix  running\n")
    assert terminal.run("open").stdout.startswith("docker --host ")
    finished = terminal.run("finish", "the result").stdout
    assert "fix is finished: branch para/fix" in finished
    assert "1 file +1" in finished
    assert repo.show("para/fix:result.txt") == "done"
    assert terminal.run("branches").stdout == "para/fix\nmain\n"
    assert terminal.run("list").stdout.startswith("No sessions")
    assert engine.containers(api, home) == []


def test_cancel_and_recover_at_a_terminal(alone: Terminal, repo: Repository) -> None:
    session = alone.json("start", "--name=fix")
    Repository(Path(session["workspace"])).write("kept", "kept\n")
    told = alone.run("cancel").stdout
    assert told == (f"fix is cancelled; its work is kept in refs/para/archive/{session['id']}\n")
    assert repo.show(f"refs/para/archive/{session['id']}:kept") == "kept"
    assert alone.run("recover", "fix").stdout.startswith("fix  running\n")
    assert [one["name"] for one in alone.json("list")["sessions"]] == ["fix"]


def test_a_session_is_told_by_the_folder_that_one_is_in(alone: Terminal) -> None:
    first = alone.json("start", "--name=first")
    alone.json("start", "--name=second")
    alone.run("show", code=WRONG)
    inside = Terminal(alone.environ, Path(first["workspace"]) / "src")
    assert inside.json("show")["name"] == "first"


def test_json_is_the_raw_result_and_all_that_is_on_stdout(alone: Terminal) -> None:
    result = alone.json("list")
    assert result == {"sessions": [], "running": 0, "limit": 50}
    # there is no engine, which worktrees do not need
    checks = json.loads(alone.run("doctor", "--json").stdout)["checks"]
    assert {"name", "ok", "detail", "problem", "level"} == checks[0].keys()
    assert [one["level"] for one in checks if not one["ok"]] == ["warning"]


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["show", "nobody"], WRONG, "There is no session nobody"),
        (["pause", "here"], CANNOT, "Pause only works with container sessions"),
        (["start", "--name=here"], CANNOT, "Session here already exists"),
        (["start", "--name=a b"], WRONG, "name"),
        (["start", "--base=v99"], WRONG, "v99"),
        (["dispatch"], WRONG, "prompt"),
        (["finish", "x", "here"], CANNOT, "Session here has no changes"),
        (["resume", "here"], CANNOT, "Cannot resume session here: it is running"),
        (["start", "--type=container"], CANNOT, "engine"),
        (["sttart"], WRONG, "did you mean\n  para start"),
        (["image"], WRONG, "image build"),
        (["list", "--nonsense"], WRONG, "--nonsense"),
        (["logs", "here", "--tail=none"], WRONG, "none"),
    ],
)
def test_refusals_exit_with_1_and_wrong_calls_with_2(
    alone: Terminal, argv: list[str], code: int, says: str
) -> None:
    alone.run("start", "--name=here")
    refused = alone.run(*argv, code=code)
    assert says in refused.stderr
    assert refused.stdout == ""


def test_a_remedy_can_be_typed_as_it_stands(alone: Terminal) -> None:
    alone.run("start", "--name=fix")
    said = alone.run("finish", "x", "fix", code=CANNOT).stderr.splitlines()
    assert said[-2:] == ["Cancel it:", "  para cancel fix"]
    _, *argv = said[-1].split()
    assert "it had changed nothing" in alone.run(*argv).stdout


def test_a_remedy_that_is_a_setting_names_its_file(alone: Terminal) -> None:
    said = alone.run("start", "--type=container", code=CANNOT).stderr
    config = Path(alone.environ["PARA_CONFIG_HOME"]) / "config.toml"
    assert f"container.enabled in {config}" in said
    assert "para doctor" in said


def test_help_is_a_command_too(alone: Terminal) -> None:
    for words in ([], ["auth"], ["dispatch"], ["auth", "setup"]):
        assert alone.run("help", *words).stdout == alone.run(*words, "--help").stdout != ""
    assert "there is no command nosuch" in alone.run("help", "nosuch", code=WRONG).stderr


def test_help_lists_every_command_and_tells_of_each(alone: Terminal) -> None:
    overview = alone.run("--help").stdout
    for name in COMMANDS:
        words = name.removeprefix("para.").split(".")
        assert f"  {' '.join(words)} " in overview
        assert alone.run(*words, "--help").stdout.startswith(f"usage: para {' '.join(words)}")


def test_an_interrupt_undoes_what_was_begun(
    terminal: Terminal, repo: Repository, api: Any, home: Path
) -> None:
    with subprocess.Popen(
        [PARA, "dispatch", "true"],
        cwd=terminal.folder,
        env=terminal.environ,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "Preparing" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == CANCELLED, said
    assert (out, said.splitlines()[-1]) == ("", "para: cancelled")
    assert engine.containers(api, home) == []
    assert not list((home / "sessions").glob("*"))
    assert not list((home / "work").glob("*"))
    assert set(repo.refs()) == {"refs/heads/main"}


def test_a_build_at_a_terminal_shows_its_steps(terminal: Terminal, api: Any) -> None:
    assert api.ping()
    built = terminal.run("image", "build")
    assert built.stdout.startswith("para-base:latest is built: ")
    assert "Step 2/" in built.stderr


def test_a_login_at_a_terminal(terminal: Terminal, api: Any) -> None:
    with set_aside(api, *logins(api)):
        assert terminal.run("auth", "status", "--agent=claude").stdout == "The login is missing\n"
        begun = terminal.run("auth", "setup", "--agent=claude").stdout
        assert begun.splitlines()[-1].startswith("  docker --host ")
        assert begun.rstrip().endswith(" claude auth login")
        refused = terminal.run("auth", "complete", "--agent=claude", code=CANNOT).stderr
        assert "is not logged in yet" in refused
        assert "para auth setup --agent=claude" in refused
        assert terminal.run("auth", "cleanup").stdout.startswith("removed  container para-login-")


def test_clean_and_logs_at_a_terminal(terminal: Terminal, api: Any, home: Path) -> None:
    session = terminal.json("dispatch", "echo hello", "--name=fix")
    engine.run(
        api,
        session["container"]["name"],
        "until grep -q done /para-agent/out/state; do sleep 0.1; done",
    )
    assert terminal.run("logs").stdout == "hello\n"
    would = terminal.run("clean", "--dry-run").stdout
    assert f"would keep  container {session['container']['name']}" in would
    assert "removed" not in would
    assert "nothing has changed" in terminal.run("diff").stderr
    assert len(engine.containers(api, home)) == 1


def test_the_version_is_told(alone: Terminal) -> None:
    assert alone.run("--version").stdout.startswith("para ")


def test_what_a_session_says_draws_nothing_on_a_terminal(terminal: Terminal, api: Any) -> None:
    drawing = r"\033]0;title\007\033[2J\033[31m\302\233"
    task = f"printf '{drawing}' | tee drawing.txt \"$(printf '{drawing}.txt')\""
    session = terminal.json("dispatch", task, "--name=fix")
    engine.run(
        api,
        session["container"]["name"],
        "until grep -q done /para-agent/out/state; do sleep 0.1; done; "
        f"printf 'waiting\\n1\\n{drawing}' >/para-agent/out/state",
    )
    for argv in ("logs", "show", "list", "diff", "finish it"):
        shown = terminal.seen(*argv.split())
        assert shown
        assert not {"\x1b", "\x07", "\x9b"} & set(shown), argv


def test_a_session_whose_set_up_fails_is_a_failure(
    environ: dict[str, str], repo: Repository, api: Any
) -> None:
    assert api.ping()
    repo.commit("set-up", **{".para/setup.sh": "exit 3"})
    done = subprocess.run(
        [PARA, "dispatch", "true", "--name", "fix", "--json"],
        env=environ,
        cwd=repo.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["problem"] is not None
    assert "exit code 3" in done.stderr


def test_the_logs_that_are_meant_are_those_of_the_live_session(alone: Terminal) -> None:
    alone.run("start", "--name=ended")
    alone.run("cancel", "ended")
    alone.run("start", "--name=live")
    nothing = alone.run("logs")
    assert nothing.stdout == ""
    assert "nothing has been printed" in nothing.stderr
    assert alone.json("logs") == {"text": ""}
    alone.run("cancel", "live")
    assert "Specify a session: ended, live" in alone.run("logs", code=WRONG).stderr


def test_worktrees_are_listed_without_an_engine(environ: dict[str, str], repo: Repository) -> None:
    usual = Terminal(environ | NO_ENGINE, repo.path)
    usual.run("start", "--name=here", "--type=worktree")
    listed = usual.json("list")
    assert [one["name"] for one in listed["sessions"]] == ["here"]
    assert listed["running"] == 0
    usual.run("cancel", "here")
    assert "does not answer" in usual.run("list", code=CANNOT).stderr


def test_another_branch_is_proposed_by_the_name_of_its_option(
    alone: Terminal, repo: Repository
) -> None:
    repo.git("branch", "para/fix")
    said = alone.run("start", "--name=fix", code=CANNOT).stderr
    assert "The branch para/fix already exists" in said
    assert "--branch=BRANCH" in said
    alone.run("start", "--name=fix", "--branch=other")


def test_an_engine_that_is_off_is_said_once(
    environ: dict[str, str], repo: Repository, terminal: Terminal, api: Any
) -> None:
    session = terminal.json("start", "--name=fix")
    engine.run(api, session["container"]["name"], "echo done >done")
    off = Terminal(environ | NO_ENGINE, repo.path)
    for argv in (["diff", "fix"], ["show", "fix"]):  # the first leaves a folder to be cleared
        told = off.run(*argv, code=CANNOT).stderr.splitlines()
        assert [line for line in told if line.startswith("para: ")] == told[:1], told
        assert "does not answer at" in told[0]
        assert "Start Docker or Podman, where one is installed" in told
        assert "Set this to false to work without containers:" in told
    assert off.run("start", "--type=worktree", "--name=other").stderr == "10% Preparing other\n"
    assert "+done" in terminal.run("diff", "fix").stdout


def test_what_is_logged_is_one_plain_line_for_a_person(alone: Terminal, home: Path) -> None:
    alone.run("start", "--name=fix")
    (record,) = (home / "sessions").glob("*.json")
    record.unlink()
    logged = alone.run("recover", "fix").stderr
    assert logged == "para: fix: its record is made anew from its copy\n"
