"""The setup script of a repository runs in the container before the agent."""

from __future__ import annotations

from typing import Any

import pytest

from tests import engine
from tests.client import Failed, Para, eventually
from tests.scratch import Repository

SCRIPT = ".para/setup.sh"
WATCHED = "set-up"


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    """Return an environment whose agent needs no account."""
    return environ | {"PARA_AGENT_NAME": "command"}


def progress(para: Para) -> list[str]:
    return [
        str(r.message) for r in para.lsp.progress_reports[WATCHED] if getattr(r, "message", None)
    ]


def dispatch(para: Para, prompt: str, msg_id: str | None = None) -> Any:
    para.lsp.progress_reports[WATCHED] = []
    params = {"prompt": prompt, "name": "fix"}
    return para.send("para.dispatch", [params], token=WATCHED, msg_id=msg_id)


async def test_setup_script_runs_before_agent_and_reports_progress(
    para: Para, repo: Repository
) -> None:
    repo.commit("set-up", **{SCRIPT: "echo installing; touch ready; (sleep 600 &); echo over"})
    session = await para.answer(dispatch(para, "cat ready && echo at work"))
    assert (session["state"], session["problem"]) == ("running", None)
    await para.agent("fix", "done")
    assert "Set-up: installing" in progress(para)
    logs = (await para.call("para.logs", name="fix"))["text"]
    assert logs.split("\n") == ["installing", "over", "at work", ""]


async def test_failed_setup_is_a_problem_and_resume_retries_it(
    para: Para, repo: Repository, api: Any
) -> None:
    repo.commit("set-up", **{SCRIPT: "echo no luck; [ -e lucky ] || exit 3"})
    session = await para.answer(dispatch(para, "echo at work"))
    assert (session["state"], session["agent"]["state"]) == ("failed", "exited")
    problem = session["problem"]
    assert problem["message"] == "The set-up script .para/setup.sh of fix failed with exit code 3"
    shown = await para.call(problem["remedies"][0]["command"], **problem["remedies"][0]["params"])
    assert shown["text"] == "no luck\n"
    terminal = (await para.call("para.open", name="fix"))["terminal"]
    assert terminal["args"][-3:-1] == ["sh", "-c"]
    engine.run(api, session["container"]["name"], "touch lucky")
    again = next(r for r in problem["remedies"] if r["command"] == "para.resume")
    resumed = await para.call(again["command"], **again["params"])
    assert (resumed["state"], resumed["problem"]) == ("running", None)
    await para.agent("fix", "done")
    assert (await para.call("para.logs", name="fix"))["text"].endswith("at work\n")


async def test_finish_keeps_files_of_a_failed_setup(para: Para, repo: Repository) -> None:
    repo.commit("set-up", **{SCRIPT: "echo made >made; exit 3"})
    await para.answer(dispatch(para, "echo at work"))
    result = await para.call("para.finish", message="what there is", name="fix")
    assert repo.show(f"{result['branch']}:made") == "made"


async def test_cancelled_setup_leaves_nothing(
    para: Para, repo: Repository, api: Any, home: Any
) -> None:
    repo.commit("set-up", **{SCRIPT: "echo hanging; sleep 600"})
    sent = dispatch(para, "echo at work", msg_id="hangs")

    async def reported() -> list[str]:
        return progress(para)

    await eventually(reported, lambda lines: "Set-up: hanging" in lines)
    para.cancel("hangs")
    with pytest.raises(Failed) as cancelled:
        await para.answer(sent)
    assert cancelled.value.code == -32800
    assert engine.containers(api, home) == []
    assert (await para.call("para.list"))["sessions"] == []


async def test_missing_setup_script_of_settings_is_a_problem(servers: Any) -> None:
    para = await servers(extra={"PARA_CONTAINER_SETUP_SCRIPT": "scripts/none.sh"})
    session = await para.call("para.dispatch", prompt="true", name="fix")
    assert (
        session["problem"]["message"] == "The set-up script scripts/none.sh of fix does not exist"
    )


async def test_pause_after_failed_setup_reports_the_reason(para: Para, repo: Repository) -> None:
    repo.commit("set-up", **{SCRIPT: "exit 3"})
    session = await para.answer(dispatch(para, "echo at work"))
    refused = await para.fails("session.illegal-transition", "para.pause", name="fix")
    assert refused.message.startswith("Cannot pause session fix: it is failed: The set-up script")
    proposed = [remedy["command"] for remedy in refused.remedies if remedy.get("command")]
    assert proposed == ["para.logs", "para.resume", "para.cancel", "para.list"]
    assert refused.remedies[0] == session["problem"]["remedies"][0]
