"""Send text to a session's agent: `para.send`."""

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

_MAX_TEXT: Final = 1 << 20  # characters


@command("para.send", "Send to Agent")
async def send(context: Context, params: SendParams) -> Session:
    """Send text to a session's agent, as if typed at its terminal.

    A digit answers a question or a request for permission; any other text closes it and is sent
    instead. An agent that has ended is started again with the text.
    """
    text = params.text.replace("\r\n", "\n")
    if len(text) > _MAX_TEXT or not agent_process.can_be_typed(text):
        message = "A text must have at most 1 MiB and no control characters"
        issue = Issue(path="text", message=message)
        raise ParaError("command.invalid-params", message, issues=[issue])
    async with locking.locked_session(context, "send", params.name, params.repo) as (
        record,
        session,
        _,
    ):
        _require_agent(record, session)
        if session.agent and session.agent.state is AgentState.WORKING:
            _require_accepting(context, record)
        await ignore_cancellation(agent_process.send_text(context, record, text))
        return await present.load_session(context, record)


def _require_agent(record: Record, session: Session) -> None:
    open_it = Remedy(title="Open it", command="para.open", params=_params(record))
    if record.type == "worktree" or session.agent is None:
        what = "a worktree session" if record.type == "worktree" else "a session for a person"
        raise ParaError(
            "session.wrong-type",
            f"Session {record.name} has no agent to send to: it is {what}",
            open_it,
        )


def _require_accepting(context: Context, record: Record) -> None:
    if agent_process.can_accept_text(context, record):
        return
    raise ParaError(
        "session.illegal-transition",
        f"Cannot send to session {record.name}: {record.agent} accepts text only when it is done",
        Remedy(title="Show it", command="para.show", params=_params(record)),
    )


def _params(record: Record) -> dict[str, object]:
    return {"name": record.name, "repo": record.repo}
