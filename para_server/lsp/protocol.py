"""The only place that knows how a request is answered: once, also when it is stopped or fails."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cattrs import Converter
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.protocol import JsonRPCProtocol
from pygls.server import JsonRPCServer

from para_server.core.untrusted import one_line
from para_server.lsp.capabilities import MsgId, inside, is_id

if TYPE_CHECKING:
    from para_server.lsp.admission import Gate

logger = logging.getLogger(__name__)
CANCELLED: Final = types.LSPErrorCodes.RequestCancelled
SHUTTING_DOWN: Final = types.LSPErrorCodes.ServerCancelled
_UNREADABLE: Final = object()
_NOT_ADMITTED: Final = "Send the token of --token-file first, as initializationOptions.token"
MAX_SENT: Final = 64 << 20  # bytes of a message
_ROLLBACK: Final = 30.0  # seconds; what takes longer is completed or undone at the next start


class _TooLargeError(Exception):
    """A message is larger than what may be sent."""


class Phase(Enum):
    """How far the conversation is."""

    NEW = auto()
    READY = auto()
    SHUT_DOWN = auto()


class Json(str):
    """A value as the text that is sent: writing it out is the dear part of a long answer."""

    __slots__ = ()


class Protocol(JsonRPCProtocol):
    """A conversation with one client, of plain JSON.

    pygls' own dispatch answers a cancelled command while it runs on, keeps its futures for ever,
    and leaves what it cannot read or write unanswered; so messages are dispatched here.
    """

    def __init__(self, server: JsonRPCServer, converter: Converter) -> None:
        super().__init__(server, converter)
        self.phase = Phase.NEW
        self.gate: Gate | None = None  # what a client has to pass that did not start this process
        self.hang_up: Callable[[], None] = lambda: None
        self._running: dict[MsgId, asyncio.Task[Any]] = {}
        self._tokens: dict[MsgId, asyncio.Task[Any]] = {}  # by the token of their progress

    def receive(self, body: bytes | str) -> None:
        """Take one message; whatever it is, this does not raise."""
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            message = _UNREADABLE
        if self.gate is not None and not self.gate.admits(message):
            self._turn_away(message)
        elif message is _UNREADABLE:
            self.refuse(None, types.ErrorCodes.ParseError, "The message is not JSON")
        elif not isinstance(message, dict):
            self.refuse(None, types.ErrorCodes.InvalidRequest, "A message is one JSON object")
        else:
            self._dispatch(message)

    def _turn_away(self, message: object) -> None:
        """Refuse what comes before the token, and close the connection."""
        msg_id = inside(message, "id")
        code = types.ErrorCodes.InvalidRequest
        if inside(message, "method") == types.INITIALIZE:
            code = types.ErrorCodes.InvalidParams
        self.refuse(msg_id if is_id(msg_id) else None, code, _NOT_ADMITTED)
        self.hang_up()

    def refuse(self, msg_id: MsgId | None, code: int, message: str) -> None:
        """Answer with an error that has no problem to tell of."""
        self._answer(msg_id, "error", {"code": int(code), "message": message})

    def notify(self, method: str, params: Any | None = None) -> None:
        """Send a notification."""
        try:
            self._send({"jsonrpc": self.VERSION, "method": method}, "params", params)
        except _TooLargeError as error:
            logger.warning("%s is not sent: it %s", method, error)

    async def ask(self, method: str, params: Any) -> Any:
        """Send a request to the client and wait for its result; raises JsonRpcException."""
        return await self.send_request_async(method, params)

    async def stop(self) -> None:
        """Cancel the requests that run, and wait until they are rolled back and answered."""
        own = asyncio.current_task()
        stopped = [task for task in self._running.values() if task is not own]
        for task in stopped:
            _cancel_once(task)
        if stopped:
            _, late = await asyncio.wait(stopped, timeout=_ROLLBACK)
            for task in late:
                logger.error("%s is not rolled back after %g s", task.get_name(), _ROLLBACK)

    def _dispatch(self, message: dict[str, Any]) -> None:
        method, msg_id = message.get("method"), message.get("id")
        known_id = msg_id if is_id(msg_id) else None
        if message.get("jsonrpc") != self.VERSION:
            self.refuse(
                known_id, types.ErrorCodes.InvalidRequest, "The message is not JSON-RPC 2.0"
            )
        elif "method" not in message and ("result" in message or "error" in message):
            self._take_answer(known_id, message)
        elif not isinstance(method, str) or ("id" in message and known_id is None):
            self.refuse(
                known_id, types.ErrorCodes.InvalidRequest, "The message has no method or id"
            )
        elif known_id is None:
            self._take_notification(method, message.get("params"))
        else:
            self._take_request(known_id, method, message.get("params"))

    def _take_request(self, msg_id: MsgId, method: str, params: object) -> None:
        try:
            handler = self._admitted(msg_id, method)
            self._advance(method)
            if inspect.iscoroutinefunction(handler):
                self._start(msg_id, handler(params), _name(method, params), params)
                return
            self._answer(msg_id, "result", handler(params))
        except Exception as error:  # noqa: BLE001 # every request is answered
            self._answer(msg_id, "error", _told(method, error))

    def _start(
        self, msg_id: MsgId, work: Coroutine[Any, Any, Any], name: str, params: object
    ) -> None:
        """Run a request; it can be stopped from now on, also before its first step."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        token = inside(params, "workDoneToken")
        if is_id(token):
            self._tokens[token] = task
        self._running[msg_id] = task
        task.add_done_callback(partial(self._finished, msg_id, token))

    def _admitted(self, msg_id: MsgId, method: str) -> Callable[[Any], Any]:
        codes = types.ErrorCodes
        if self.phase is Phase.NEW and method != types.INITIALIZE:
            raise _refusal(codes.ServerNotInitialized, "The server is not initialized")
        if self.phase is Phase.SHUT_DOWN and method == types.WORKSPACE_EXECUTE_COMMAND:
            raise _refusal(SHUTTING_DOWN, "The server is shutting down")
        if self.phase is Phase.SHUT_DOWN:
            raise _refusal(codes.InvalidRequest, "The server was shut down")
        if self.phase is Phase.READY and method == types.INITIALIZE:
            raise _refusal(codes.InvalidRequest, "The server is initialized already")
        if msg_id in self._running:
            raise _refusal(codes.InvalidRequest, "A request with this id is running")
        handler = self.fm.builtin_features.get(method)
        if handler is None:
            raise _refusal(codes.MethodNotFound, f"There is no method {method[:100]}")
        found: Callable[[Any], Any] = handler
        return found

    def _advance(self, method: str) -> None:
        """Move on at once, not when the handler runs: more messages may lie in the same chunk."""
        if method == types.INITIALIZE:
            self.phase = Phase.READY
        elif method == types.SHUTDOWN:
            self.phase = Phase.SHUT_DOWN

    def _finished(self, msg_id: MsgId, token: object, task: asyncio.Task[Any]) -> None:
        self._running.pop(msg_id, None)
        if is_id(token) and self._tokens.get(token) is task:
            del self._tokens[token]
        if task.cancelled() and self.phase is Phase.SHUT_DOWN:
            self.refuse(msg_id, SHUTTING_DOWN, f"{task.get_name()} was stopped: shutting down")
        elif task.cancelled():
            self.refuse(msg_id, CANCELLED, f"{task.get_name()} was cancelled")
        elif error := task.exception():
            self._answer(msg_id, "error", _told(task.get_name(), error))
        else:
            self._answer(msg_id, "result", task.result())

    def _take_notification(self, method: str, params: object) -> None:
        if method == types.CANCEL_REQUEST:
            _cancel(self._running, inside(params, "id"))
            return
        if method == types.WINDOW_WORK_DONE_PROGRESS_CANCEL:
            _cancel(self._tokens, inside(params, "token"))
            return
        handler = self.fm.builtin_features.get(method)
        if handler is None or (self.phase is not Phase.READY and method != types.EXIT):
            logger.debug("Ignoring the notification %s", method)
            return
        try:
            handler(params)
        except Exception:
            logger.exception("The notification %s could not be handled", method)

    def _take_answer(self, msg_id: MsgId | None, message: dict[str, Any]) -> None:
        if msg_id is None:
            return
        self._result_types.pop(msg_id, None)
        future = self._request_futures.pop(msg_id, None)
        if future is None or not future.set_running_or_notify_cancel():
            return
        if "error" in message:
            future.set_exception(_refusal(CANCELLED, str(message["error"])[:500]))
        else:
            future.set_result(message.get("result"))

    def _answer(self, msg_id: MsgId | None, part: str, value: Any) -> None:
        head = {"jsonrpc": self.VERSION, "id": msg_id}
        try:
            self._send(head, part, value)
        except _TooLargeError as error:
            refused = _refusal(types.LSPErrorCodes.RequestFailed, f"The answer {error}")
            self._send(head, "error", _told("The answer", refused))
        except (TypeError, ValueError, RecursionError) as error:
            self._send(head, "error", _told("The answer", error))

    def _send(self, head: dict[str, Any], part: str, value: Any) -> None:
        text = value if isinstance(value, Json) else json.dumps(value)
        message = f'{json.dumps(head)[:-1]}, "{part}": {text}}}'.encode()
        if len(message) > MAX_SENT:
            raise _TooLargeError(f"has {len(message)} bytes, and {MAX_SENT} may be sent")
        self._write(message)

    def _send_data(self, data: Any) -> None:
        self._write(json.dumps(data, default=self._serialize_message).encode())

    def _write(self, message: bytes) -> None:
        if self.writer is not None:
            self.writer.write(message)


def _cancel(tasks: Mapping[MsgId, asyncio.Task[Any]], key: object) -> None:
    task = tasks.get(key) if is_id(key) else None
    if task is not None:
        _cancel_once(task)


def _cancel_once(task: asyncio.Task[Any]) -> None:
    if not task.cancelling():  # a second time would cancel its rollback
        task.cancel()


def _name(method: str, params: object) -> str:
    command = inside(params, "command")
    return one_line(command) if isinstance(command, str) else method


def _refusal(code: int, message: str) -> JsonRpcException:
    return JsonRpcException(message, int(code))


def _told(name: str, error: BaseException) -> dict[str, Any]:
    from para_server.core.errors import ParaError  # slow to import: `initialize` goes without

    if isinstance(error, ParaError):
        problem = error.problem.model_dump(mode="json", by_alias=True)
        return {"code": error.code, "message": error.problem.message, "data": problem}
    if isinstance(error, JsonRpcException):
        return {"code": error.code, "message": error.message}
    logger.error("%s failed: a bug", name, exc_info=error)
    return {
        "code": int(types.ErrorCodes.InternalError),
        "message": f"{name} failed unexpectedly; the log has the details",
    }
