"""Run `para` as a process: output, exit codes, help, remedies."""

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
TIMEOUT_S = 90.0
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_CANCELLED = 0, 1, 2, 130
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


class Terminal:
    """Runs `para` in a folder."""

    def __init__(self, environ: dict[str, str], folder: Path) -> None:
        self.environ = environ | {"COLUMNS": "200"}
        self.folder = folder

    def run(self, *argv: str, code: int = EXIT_OK) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [PARA, *argv],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == code, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def run_on_pty(self, *argv: str) -> str:
        """Run a command on a pseudo-terminal and return its output."""
        controller, device = pty.openpty()
        with open(controller, "rb", buffering=0) as screen:  # noqa: PTH123 # a descriptor
            done = subprocess.Popen(
                [PARA, *argv],
                cwd=self.folder,
                env=self.environ,
                stdout=device,
                stderr=subprocess.DEVNULL,
            )
            os.close(device)
            screen_text = b""
            with contextlib.suppress(OSError):  # the end of a terminal's output
                while part := screen.read(65536):
                    screen_text += part
            assert done.wait(TIMEOUT_S) == EXIT_OK, argv
        return screen_text.decode()

    def json(self, *argv: str) -> Any:
        return json.loads(self.run(*argv, "--json").stdout)


@pytest.fixture
def terminal(environ: dict[str, str], repo: Repository) -> Terminal:
    """A terminal in the repository."""
    return Terminal(environ, repo.path)


@pytest.fixture
def offline(environ: dict[str, str], repo: Repository) -> Terminal:
    """A terminal in the repository, with worktrees and without an engine."""
    return Terminal(environ | NO_ENGINE | {"PARA_CONTAINER_ENABLED": "false"}, repo.path)


def test_commands_lead_from_dispatch_to_finish(
    terminal: Terminal, repo: Repository, api: Any, home: Path
) -> None:
    session = terminal.json("dispatch", "echo done >result.txt; sleep 600", "--name=fix")
    assert (session["name"], session["state"]) == ("fix", "running")
    screen_text = terminal.run("show").stdout
    assert screen_text.startswith("fix  running\n")
    assert "para/fix" in screen_text
    listing = terminal.run("list").stdout
    assert "NAME" in listing
    assert " of 50 containers run" in listing
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


def test_recover_restores_cancelled_work(offline: Terminal, repo: Repository) -> None:
    session = offline.json("start", "--name=fix")
    Repository(Path(session["workspace"])).write("kept", "kept\n")
    output = offline.run("cancel").stdout
    assert output == (f"fix is cancelled; its work is kept in refs/para/archive/{session['id']}\n")
    assert repo.show(f"refs/para/archive/{session['id']}:kept") == "kept"
    assert offline.run("recover", "fix").stdout.startswith("fix  running\n")
    assert [one["name"] for one in offline.json("list")["sessions"]] == ["fix"]


def test_current_folder_selects_the_session(offline: Terminal) -> None:
    first = offline.json("start", "--name=first")
    offline.json("start", "--name=second")
    offline.run("show", code=EXIT_USAGE)
    there = Terminal(offline.environ, Path(first["workspace"]) / "src")
    assert there.json("show")["name"] == "first"


def test_json_option_prints_only_the_raw_result(offline: Terminal) -> None:
    result = offline.json("list")
    assert result == {"sessions": [], "running": 0, "limit": 50}
    # a missing engine is only a warning: worktrees do not need one
    checks = json.loads(offline.run("doctor", "--json").stdout)["checks"]
    assert {"name", "ok", "detail", "problem", "level"} == checks[0].keys()
    assert [one["level"] for one in checks if not one["ok"]] == ["warning"]


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["show", "nobody"], EXIT_USAGE, "There is no session nobody"),
        (["pause", "here"], EXIT_FAILED, "Pause only works with container sessions"),
        (["start", "--name=here"], EXIT_FAILED, "Session here already exists"),
        (["start", "--name=a b"], EXIT_USAGE, "name"),
        (["start", "--base=v99"], EXIT_USAGE, "v99"),
        (["dispatch"], EXIT_USAGE, "prompt"),
        (["finish", "x", "here"], EXIT_FAILED, "Session here has no changes"),
        (["resume", "here"], EXIT_FAILED, "Cannot resume session here: it is running"),
        (["start", "--type=container"], EXIT_FAILED, "engine"),
        (["sttart"], EXIT_USAGE, "did you mean\n  para start"),
        (["image"], EXIT_USAGE, "image build"),
        (["list", "--nonsense"], EXIT_USAGE, "--nonsense"),
        (["logs", "here", "--tail=none"], EXIT_USAGE, "none"),
    ],
)
def test_failures_exit_with_1_and_usage_errors_with_2(
    offline: Terminal, argv: list[str], code: int, message: str
) -> None:
    offline.run("start", "--name=here")
    refused = offline.run(*argv, code=code)
    assert message in refused.stderr
    assert refused.stdout == ""


def test_remedy_is_a_complete_command_line(offline: Terminal) -> None:
    offline.run("start", "--name=fix")
    stderr = offline.run("finish", "x", "fix", code=EXIT_FAILED).stderr.splitlines()
    assert stderr[-2:] == ["Cancel it:", "  para cancel fix"]
    _, *argv = stderr[-1].split()
    assert "it had changed nothing" in offline.run(*argv).stdout


def test_remedy_for_a_setting_names_its_file(offline: Terminal) -> None:
    stderr = offline.run("start", "--type=container", code=EXIT_FAILED).stderr
    config = Path(offline.environ["PARA_CONFIG_HOME"]) / "config.toml"
    assert f"container.enabled in {config}" in stderr
    assert "para doctor" in stderr


def test_help_command_equals_help_option(offline: Terminal) -> None:
    for words in ([], ["auth"], ["dispatch"], ["auth", "setup"]):
        assert offline.run("help", *words).stdout == offline.run(*words, "--help").stdout != ""
    assert "there is no command nosuch" in offline.run("help", "nosuch", code=EXIT_USAGE).stderr


def test_help_lists_and_describes_every_command(offline: Terminal) -> None:
    overview = offline.run("--help").stdout
    for name in COMMANDS:
        words = name.removeprefix("para.").split(".")
        assert f"  {' '.join(words)} " in overview
        assert offline.run(*words, "--help").stdout.startswith(f"usage: para {' '.join(words)}")


def test_interrupt_rolls_back_a_dispatch(
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
        out, stderr = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == EXIT_CANCELLED, stderr
    assert (out, stderr.splitlines()[-1]) == ("", "para: cancelled")
    assert engine.containers(api, home) == []
    assert not list((home / "sessions").glob("*"))
    assert not list((home / "work").glob("*"))
    assert set(repo.refs()) == {"refs/heads/main"}


def test_image_build_shows_its_steps(terminal: Terminal, api: Any) -> None:
    assert api.ping()
    build = terminal.run("image", "build")
    assert build.stdout.startswith("para-base:latest is built: ")
    assert "Step 2/" in build.stderr


def test_login_commands_create_and_remove_a_login_container(terminal: Terminal, api: Any) -> None:
    with set_aside(api, *logins(api)):
        assert terminal.run("auth", "status", "--agent=claude").stdout == "The login is missing\n"
        setup = terminal.run("auth", "setup", "--agent=claude").stdout
        assert setup.splitlines()[-1].startswith("  docker --host ")
        assert setup.rstrip().endswith(" claude auth login")
        refused = terminal.run("auth", "complete", "--agent=claude", code=EXIT_FAILED).stderr
        assert "is not logged in yet" in refused
        assert "para auth setup --agent=claude" in refused
        assert terminal.run("auth", "cleanup").stdout.startswith("removed  container para-login-")


def test_clean_dry_run_keeps_the_container_of_a_session(
    terminal: Terminal, api: Any, home: Path
) -> None:
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


def test_version_option_prints_the_version(offline: Terminal) -> None:
    assert offline.run("--version").stdout.startswith("para ")


def test_session_output_cannot_control_the_terminal(terminal: Terminal, api: Any) -> None:
    escapes = r"\033]0;title\007\033[2J\033[31m\302\233"
    task = f"printf '{escapes}' | tee drawing.txt \"$(printf '{escapes}.txt')\""
    session = terminal.json("dispatch", task, "--name=fix")
    engine.run(
        api,
        session["container"]["name"],
        "until grep -q done /para-agent/out/state; do sleep 0.1; done; "
        f"printf 'waiting\\n1\\n{escapes}' >/para-agent/out/state",
    )
    for argv in ("logs", "show", "list", "diff", "finish it"):
        screen_text = terminal.run_on_pty(*argv.split())
        assert screen_text
        assert not {"\x1b", "\x07", "\x9b"} & set(screen_text), argv


def test_failed_setup_script_exits_with_1(
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


def test_logs_default_to_the_active_session(offline: Terminal) -> None:
    offline.run("start", "--name=ended")
    offline.run("cancel", "ended")
    offline.run("start", "--name=live")
    logs = offline.run("logs")
    assert logs.stdout == ""
    assert "nothing has been printed" in logs.stderr
    assert offline.json("logs") == {"text": ""}
    offline.run("cancel", "live")
    assert "Specify a session: ended, live" in offline.run("logs", code=EXIT_USAGE).stderr


def test_list_shows_worktrees_without_an_engine(environ: dict[str, str], repo: Repository) -> None:
    offline = Terminal(environ | NO_ENGINE, repo.path)
    offline.run("start", "--name=here", "--type=worktree")
    listing = offline.json("list")
    assert [one["name"] for one in listing["sessions"]] == ["here"]
    assert listing["running"] == 0
    offline.run("cancel", "here")
    assert "does not answer" in offline.run("list", code=EXIT_FAILED).stderr


def test_branch_conflict_suggests_the_branch_option(offline: Terminal, repo: Repository) -> None:
    repo.git("branch", "para/fix")
    stderr = offline.run("start", "--name=fix", code=EXIT_FAILED).stderr
    assert "The branch para/fix already exists" in stderr
    assert "--branch=BRANCH" in stderr
    offline.run("start", "--name=fix", "--branch=other")


def test_unreachable_engine_is_reported_once(
    environ: dict[str, str], repo: Repository, terminal: Terminal, api: Any
) -> None:
    session = terminal.json("start", "--name=fix")
    engine.run(api, session["container"]["name"], "echo done >done")
    unreachable = Terminal(environ | NO_ENGINE, repo.path)
    for argv in (["diff", "fix"], ["show", "fix"]):  # the first leaves a folder to reconcile
        output = unreachable.run(*argv, code=EXIT_FAILED).stderr.splitlines()
        assert [line for line in output if line.startswith("para: ")] == output[:1], output
        assert "does not answer at" in output[0]
        assert "Start Docker or Podman if it is installed" in output
        assert "Set this to false to work without containers:" in output
    assert (
        unreachable.run("start", "--type=worktree", "--name=other").stderr
        == "10% Preparing other\n"
    )
    assert "+done" in terminal.run("diff", "fix").stdout


def test_warnings_are_logged_as_one_plain_line(offline: Terminal, home: Path) -> None:
    offline.run("start", "--name=fix")
    (record,) = (home / "sessions").glob("*.json")
    record.unlink()
    logged = offline.run("recover", "fix").stderr
    assert logged == "para: fix: its record is restored from its copy\n"
