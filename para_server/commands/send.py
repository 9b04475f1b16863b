"""The only place that gives an agent at work more text: `para.send`."""

from __future__ import annotations

from typing import Final

from para_server.concurrency.cancellation import ignore_cancellation
from para_server.context import Context
from para_server.core.errors import Issue, ParaError, Remedy
from para_server.core.models import AgentState, Session
from para_server.core.params import SendParams
from para_server.core.records import Record
from para_server.registry import command
from para_server.sessions import agent_process, locking, present

_MAX_TEXT: Final = 1 << 20  # characters; what is typed, not a data set


@command("para.send", "Send to Agent")
async def send(context: Context, params: SendParams) -> Session:
    """Give a session's agent more text, as if a person had typed it at its terminal.

    A question or a request for permission is answered by a digit; any other text closes it, and is
    what the agent is told instead. An agent that has ended is started again on the text.
    """
    text = params.text.replace("\r\n", "\n")
    if len(text) > _MAX_TEXT or not agent_process.can_be_typed(text):
        message = "A text to send is at most 1 MiB long and has no control characters"
        issue = Issue(path="text", message=message)
        raise ParaError("command.invalid-params", message, issues=[issue])
    async with locking.locked_session(context, "send", params.name, params.repo) as (
        record,
        session,
        _,
    ):
        _demand_agent(record, session)
        if session.agent and session.agent.state is AgentState.WORKING:
            _demand_ears(context, record)
        await ignore_cancellation(agent_process.send_text(context, record, text))
        return await present.load_session(context, record)


def _demand_agent(record: Record, session: Session) -> None:
    open_it = Remedy(title="Open it", command="para.open", params=_params(record))
    if record.type == "worktree" or session.agent is None:
        what = "a worktree session" if record.type == "worktree" else "a session for a person"
        raise ParaError(
            "session.wrong-type", f"No agent of para's runs in {record.name}: it is {what}", open_it
        )


def _demand_ears(context: Context, record: Record) -> None:
    if agent_process.can_accept_text(context, record):
        return
    raise ParaError(
        "session.illegal-transition",
        f"Cannot send to session {record.name}: {record.agent} takes more only when it is done",
        Remedy(title="Show it", command="para.show", params=_params(record)),
    )


def _params(record: Record) -> dict[str, object]:
    return {"name": record.name, "repo": record.repo}
