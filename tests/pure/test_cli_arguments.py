"""Parsing and formatting of command lines."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from para_server.command_line import format_command_line, parse_arguments, usage_line
from para_server.core import models
from para_server.core import params as shapes
from para_server.registry import Command


async def do_nothing(_context: object, _params: object) -> BaseModel:
    """Do nothing."""
    raise NotImplementedError


def make_command(name: str, params: type[BaseModel]) -> Command:
    return Command(name, "", params, models.Session, do_nothing)


DISPATCH = make_command("para.dispatch", shapes.DispatchParams)
FINISH = make_command("para.finish", shapes.FinishParams)
PAUSE = make_command("para.pause", shapes.PauseParams)
LOGS = make_command("para.logs", shapes.LogsParams)
LIST = make_command("para.list", shapes.ListParams)

# arguments of a process cannot contain NUL
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@pytest.mark.parametrize(
    ("command", "line", "params"),
    [
        (DISPATCH, "'fix it' --name x", {"prompt": "fix it", "name": "x"}),
        (DISPATCH, "--prompt-file task.md", {"promptFile": "task.md"}),
        (DISPATCH, "-- --help", {"prompt": "--help"}),
        (FINISH, "done", {"message": "done"}),
        (FINISH, "done --branch b x", {"message": "done", "branch": "b", "name": "x"}),
        (FINISH, "done -- -x", {"message": "done", "name": "-x"}),
        (FINISH, "-- --", {"message": "--"}),
        (PAUSE, "", {}),
        (PAUSE, "--mode=freeze x", {"mode": "freeze", "name": "x"}),
        (LOGS, "--tail 5", {"tail": 5}),
        (LIST, "--all", {"all": True}),
    ],
)
def test_a_command_line_is_parsed(command: Command, line: str, params: dict[str, Any]) -> None:
    assert parse_arguments(command, shlex.split(line)) == (params, False)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (FINISH, ""),
        (FINISH, "-x"),
        (FINISH, "done x y"),
        (FINISH, "done --bra b"),
        (PAUSE, "--mode other"),
        (LOGS, "--tail many"),
        (LIST, "--repo"),
    ],
)
def test_an_invalid_command_line_exits_with_code_2(command: Command, line: str) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_arguments(command, shlex.split(line))
    assert stop.value.code == 2


def test_help_lists_all_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_arguments(FINISH, ["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert (
        usage_line(FINISH) == "para finish MESSAGE [NAME] [--repo REPO] [--branch BRANCH] [--json]"
    )
    assert usage_line(FINISH) in text
    assert "commit message for uncommitted changes" in text


@given(
    message=TEXTS,
    name=st.none() | TEXTS,
    branch=st.none() | TEXTS,
)
def test_a_formatted_command_line_is_parsed_as_the_same_params(
    message: str, name: str | None, branch: str | None
) -> None:
    params = {"message": message, "name": name, "branch": branch}
    given_ones = {key: value for key, value in params.items() if value is not None}
    words = shlex.split(format_command_line(FINISH, params))
    assert words[:2] == ["para", "finish"]
    assert parse_arguments(FINISH, words[2:]) == (given_ones, False)
