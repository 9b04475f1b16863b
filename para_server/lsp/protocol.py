"""Dispatch JSON-RPC messages; every request gets one response, also if it fails or is cancelled."""

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
from para_server.lsp.capabilities import MsgId, get_nested, is_id

if TYPE_CHECKING:
    from para_server.lsp.admission import TokenGate

logger = logging.getLogger(__name__)
CANCELLED: Final = types.LSPErrorCodes.RequestCancelled
SHUTTING_DOWN: Final = types.LSPErrorCodes.ServerCancelled
_UNREADABLE: Final = object()
_SEND_FIRST: Final = "Send the token of --token-file first, as initializationOptions.token"
MAX_SENT_BYTES: Final = 64 << 20  # of one message
_ROLLBACK_TIMEOUT: Final = 30.0  # seconds; the next start reconciles what takes longer


class _TooLargeError(Exception):
    """A message is larger than MAX_SENT_BYTES."""


class Phase(Enum):
    """The phases of a connection."""

    NEW = auto()
    READY = auto()
    SHUT_DOWN = auto()


class Json(str):
    """A value already serialized, since serialization takes most of the time of a long response."""

    __slots__ = ()


class Protocol(JsonRPCProtocol):
    """The connection to one client, with params and results as plain JSON.

    It replaces pygls' dispatch, which responds to a cancelled command while it still runs, never
    removes its futures, and sends no response to what it cannot parse or serialize.
    """

    def __init__(self, server: JsonRPCServer, converter: Converter) -> None:
        super().__init__(server, converter)
        self.phase = Phase.NEW
        self.gate: TokenGate | None = None  # of a connection over a port
        self.disconnect: Callable[[], None] = lambda: None
        self._running: dict[MsgId, asyncio.Task[Any]] = {}
        self._tokens: dict[MsgId, asyncio.Task[Any]] = {}  # by progress token

    def receive(self, body: bytes | str) -> None:
        """Dispatch one message; never raises."""
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            message = _UNREADABLE
        if self.gate is not None and not self.gate.admit(message):
            self._reject_unadmitted(message)
        elif message is _UNREADABLE:
            self.send_error(None, types.ErrorCodes.ParseError, "The message is not JSON")
        elif not isinstance(message, dict):
            self.send_error(
                None, types.ErrorCodes.InvalidRequest, "A message must be a JSON object"
            )
        else:
            self._dispatch(message)

    def _reject_unadmitted(self, message: object) -> None:
        """Refuse a message before the token and close the connection."""
        msg_id = get_nested(message, "id")
        code = types.ErrorCodes.InvalidRequest
        if get_nested(message, "method") == types.INITIALIZE:
            code = types.ErrorCodes.InvalidParams
        self.send_error(msg_id if is_id(msg_id) else None, code, _SEND_FIRST)
        self.disconnect()

    def send_error(self, msg_id: MsgId | None, code: int, message: str) -> None:
        """Respond with an error without a Problem."""
        self._respond(msg_id, "error", {"code": int(code), "message": message})

    def notify(self, method: str, params: Any | None = None) -> None:
        """Send a notification."""
        try:
            self._send({"jsonrpc": self.VERSION, "method": method}, "params", params)
        except _TooLargeError as error:
            logger.warning("Did not send %s: %s", method, error)

    async def request_client(self, method: str, params: Any) -> Any:
        """Send a request to the client and return its result; raise JsonRpcException."""
        return await self.send_request_async(method, params)

    async def cancel_requests(self) -> None:
        """Cancel the running requests and wait until they are rolled back and have a response."""
        own = asyncio.current_task()
        cancelled = [task for task in self._running.values() if task is not own]
        for task in cancelled:
            _cancel_once(task)
        if cancelled:
            _, late = await asyncio.wait(cancelled, timeout=_ROLLBACK_TIMEOUT)
            for task in late:
                logger.error(
                    "%s is still rolling back after %g s", task.get_name(), _ROLLBACK_TIMEOUT
                )

    def _dispatch(self, message: dict[str, Any]) -> None:
        method, msg_id = message.get("method"), message.get("id")
        known_id = msg_id if is_id(msg_id) else None
        if message.get("jsonrpc") != self.VERSION:
            self.send_error(
                known_id, types.ErrorCodes.InvalidRequest, "The message is not JSON-RPC 2.0"
            )
        elif "method" not in message and ("result" in message or "error" in message):
            self._receive_response(known_id, message)
        elif not isinstance(method, str) or ("id" in message and known_id is None):
            self.send_error(
                known_id, types.ErrorCodes.InvalidRequest, "The message has no method or id"
            )
        elif known_id is None:
            self._receive_notification(method, message.get("params"))
        else:
            self._receive_request(known_id, method, message.get("params"))

    def _receive_request(self, msg_id: MsgId, method: str, params: object) -> None:
        try:
            handler = self._find_handler(msg_id, method)
            self._advance_phase(method)
            if inspect.iscoroutinefunction(handler):
                self._start_request(
                    msg_id, handler(params), _get_request_name(method, params), params
                )
                return
            self._respond(msg_id, "result", handler(params))
        except Exception as error:  # noqa: BLE001 # every request gets a response
            self._respond(msg_id, "error", _to_error_object(method, error))

    def _start_request(
        self, msg_id: MsgId, work: Coroutine[Any, Any, Any], name: str, params: object
    ) -> None:
        """Start a request as a task, which can be cancelled even before its first step."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        token = get_nested(params, "workDoneToken")
        if is_id(token):
            self._tokens[token] = task
        self._running[msg_id] = task
        task.add_done_callback(partial(self._send_outcome, msg_id, token))

    def _find_handler(self, msg_id: MsgId, method: str) -> Callable[[Any], Any]:
        codes = types.ErrorCodes
        if self.phase is Phase.NEW and method != types.INITIALIZE:
            raise _create_rpc_error(codes.ServerNotInitialized, "The server is not initialized")
        if self.phase is Phase.SHUT_DOWN and method == types.WORKSPACE_EXECUTE_COMMAND:
            raise _create_rpc_error(SHUTTING_DOWN, "The server is shutting down")
        if self.phase is Phase.SHUT_DOWN:
            raise _create_rpc_error(codes.InvalidRequest, "The server was shut down")
        if self.phase is Phase.READY and method == types.INITIALIZE:
            raise _create_rpc_error(codes.InvalidRequest, "The server is already initialized")
        if msg_id in self._running:
            raise _create_rpc_error(
                codes.InvalidRequest, "A request with this id is already running"
            )
        handler = self.fm.builtin_features.get(method)
        if handler is None:
            raise _create_rpc_error(codes.MethodNotFound, f"Unknown method {method[:100]}")
        known: Callable[[Any], Any] = handler
        return known

    def _advance_phase(self, method: str) -> None:
        """Change the phase before the handler runs: the same chunk may have more messages."""
        if method == types.INITIALIZE:
            self.phase = Phase.READY
        elif method == types.SHUTDOWN:
            self.phase = Phase.SHUT_DOWN

    def _send_outcome(self, msg_id: MsgId, token: object, task: asyncio.Task[Any]) -> None:
        self._running.pop(msg_id, None)
        if is_id(token) and self._tokens.get(token) is task:
            del self._tokens[token]
        if task.cancelled() and self.phase is Phase.SHUT_DOWN:
            self.send_error(
                msg_id,
                SHUTTING_DOWN,
                f"{task.get_name()} was cancelled: the server is shutting down",
            )
        elif task.cancelled():
            self.send_error(msg_id, CANCELLED, f"{task.get_name()} was cancelled")
        elif error := task.exception():
            self._respond(msg_id, "error", _to_error_object(task.get_name(), error))
        else:
            self._respond(msg_id, "result", task.result())

    def _receive_notification(self, method: str, params: object) -> None:
        if method == types.CANCEL_REQUEST:
            _cancel_by_key(self._running, get_nested(params, "id"))
            return
        if method == types.WINDOW_WORK_DONE_PROGRESS_CANCEL:
            _cancel_by_key(self._tokens, get_nested(params, "token"))
            return
        handler = self.fm.builtin_features.get(method)
        if handler is None or (self.phase is not Phase.READY and method != types.EXIT):
            logger.debug("Ignoring the notification %s", method)
            return
        try:
            handler(params)
        except Exception:
            logger.exception("Cannot handle the notification %s", method)

    def _receive_response(self, msg_id: MsgId | None, message: dict[str, Any]) -> None:
        if msg_id is None:
            return
        self._result_types.pop(msg_id, None)
        future = self._request_futures.pop(msg_id, None)
        if future is None or not future.set_running_or_notify_cancel():
            return
        if "error" in message:
            future.set_exception(_create_rpc_error(CANCELLED, str(message["error"])[:500]))
        else:
            future.set_result(message.get("result"))

    def _respond(self, msg_id: MsgId | None, part: str, value: Any) -> None:
        head = {"jsonrpc": self.VERSION, "id": msg_id}
        try:
            self._send(head, part, value)
        except _TooLargeError as error:
            refused = _create_rpc_error(
                types.LSPErrorCodes.RequestFailed, f"The response is too large: {error}"
            )
            self._send(head, "error", _to_error_object("The response", refused))
        except (TypeError, ValueError, RecursionError) as error:
            self._send(head, "error", _to_error_object("The response", error))

    def _send(self, head: dict[str, Any], part: str, value: Any) -> None:
        text = value if isinstance(value, Json) else json.dumps(value)
        message = f'{json.dumps(head)[:-1]}, "{part}": {text}}}'.encode()
        if len(message) > MAX_SENT_BYTES:
            raise _TooLargeError(f"{len(message)} bytes, the limit is {MAX_SENT_BYTES}")
        self._write(message)

    def _send_data(self, data: Any) -> None:
        self._write(json.dumps(data, default=self._serialize_message).encode())

    def _write(self, message: bytes) -> None:
        if self.writer is not None:
            self.writer.write(message)


def _cancel_by_key(tasks: Mapping[MsgId, asyncio.Task[Any]], key: object) -> None:
    task = tasks.get(key) if is_id(key) else None
    if task is not None:
        _cancel_once(task)


def _cancel_once(task: asyncio.Task[Any]) -> None:
    if not task.cancelling():  # a second cancellation would stop its rollback
        task.cancel()


def _get_request_name(method: str, params: object) -> str:
    command = get_nested(params, "command")
    return one_line(command) if isinstance(command, str) else method


def _create_rpc_error(code: int, message: str) -> JsonRpcException:
    return JsonRpcException(message, int(code))


def _to_error_object(name: str, error: BaseException) -> dict[str, Any]:
    from para_server.core.errors import ParaError  # slow to import: keep `initialize` fast

    if isinstance(error, ParaError):
        problem = error.problem.model_dump(mode="json", by_alias=True)
        return {"code": error.code, "message": error.problem.message, "data": problem}
    if isinstance(error, JsonRpcException):
        return {"code": error.code, "message": error.message}
    logger.error("%s failed: internal error", name, exc_info=error)
    return {
        "code": int(types.ErrorCodes.InternalError),
        "message": f"{name} failed with an internal error; see the log",
    }
