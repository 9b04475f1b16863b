"""Handle the requests and notifications of one client, and send it notifications."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cattrs import Converter
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.server import JsonRPCServer

from para_server import __version__
from para_server.core.untrusted import one_line, safe_message
from para_server.host.logs import ClientHandler
from para_server.lsp import parent_process
from para_server.lsp.capabilities import Client, get_nested, is_id, parse_initialize
from para_server.lsp.protocol import Json, Phase, Protocol

if TYPE_CHECKING:  # slow to import: keep `initialize` fast
    from pygls.io_ import Writer

    from para_server.context import Context, Report

logger = logging.getLogger(__name__)
SECTION: Final = "para"
SESSIONS_CHANGED: Final = "para/sessionsChanged"
COMMANDS_FILE: Final = Path(__file__).parents[1] / "commands.json"  # written by codegen
_AUTOPAUSE_INTERVAL: Final = 10.0  # seconds between checks for sessions at a time limit
_SETTINGS_TIMEOUT: Final = 2.0  # seconds that the first command waits for them


class Server(JsonRPCServer):
    """The server of one client; sets `closed` when the connection should end."""

    protocol: Protocol

    def __init__(
        self, context: Callable[[], Context], writer: Writer, closed: asyncio.Event
    ) -> None:
        super().__init__(Protocol, Converter)
        self.exit_code = 0
        self._base = context
        self._client = Client()
        self._closed = closed
        self._settings_known = asyncio.Event()  # also set after a timeout
        self._background: dict[str, asyncio.Task[None]] = {}
        self._log: ClientHandler | None = None
        self.protocol.set_writer(writer)
        self.protocol.disconnect = closed.set
        handlers: dict[str, Callable[[Any], Any]] = {
            types.INITIALIZE: self._initialize,
            types.INITIALIZED: self._initialized,
            types.SHUTDOWN: self._shutdown,
            types.EXIT: self._exit,
            types.WORKSPACE_EXECUTE_COMMAND: self._execute,
            types.WORKSPACE_DID_CHANGE_CONFIGURATION: self._configuration_changed,
            types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS: self._folders_changed,
        }
        for method, handler in handlers.items():
            self.protocol.fm.add_builtin_feature(method, handler)

    async def close(self) -> None:
        """Cancel the requests and background tasks, and wait until they are rolled back."""
        self.protocol.phase = Phase.SHUT_DOWN
        for task in self._background.values():
            task.cancel()
        await self.protocol.cancel_requests()
        await asyncio.gather(*self._background.values(), return_exceptions=True)
        if self._log is not None:
            self._log.close()

    def _initialize(self, params: object) -> dict[str, Any]:
        self._client = parse_initialize(params)
        self._log = ClientHandler(self._create_log_sender(asyncio.get_running_loop()))
        if not self._client.answers_configuration:
            self._settings_known.set()
        if self._client.process_id is not None and self.protocol.gate is None:
            self._start_background(
                "client", partial(self._stop_with_client, self._client.process_id)
            )
        commands = list(json.loads(COMMANDS_FILE.read_text()))
        folders = {"supported": True, "changeNotifications": True}
        return {
            "capabilities": {
                "executeCommandProvider": {"commands": commands, "workDoneProgress": True},
                "workspace": {"workspaceFolders": folders},
            },
            "serverInfo": {"name": "para-server", "version": __version__},
        }

    def _initialized(self, _params: object) -> None:
        self._start_background("register", self._register)
        self._start_background("configure", self._configure)
        self._start_background("reconcile", self._reconcile_sessions)
        self._start_background("watch", self._send_session_changes)
        self._start_background("autopause", self._pause_idle_sessions)

    async def _shutdown(self, _params: object) -> None:
        await self.protocol.cancel_requests()

    def _exit(self, _params: object) -> None:
        self.exit_code = 0 if self.protocol.phase is Phase.SHUT_DOWN else 1
        self._closed.set()

    async def _execute(self, params: object) -> Json:
        from para_server.lsp import bridge

        title = bridge.get_title(params)
        with self._progress(get_nested(params, "workDoneToken"), title) as report:
            return await bridge.execute_command(await self._create_context(), params, report)

    @contextmanager
    def _progress(self, token: object, title: str) -> Iterator[Report]:
        if not is_id(token):
            yield _ignore_progress
            return

        def send(kind: str, **value: Any) -> None:
            value = {"kind": kind, **value}
            self.protocol.notify(types.PROGRESS, {"token": token, "value": value})

        def report(message: str, percentage: int | None = None) -> None:
            progress = {} if percentage is None else {"percentage": max(0, min(100, percentage))}
            send("report", message=safe_message(one_line(message)), **progress)

        # clients ignore later percentages if the first message has none
        send("begin", title=safe_message(one_line(title)), cancellable=True, percentage=0)
        try:
            yield report
        finally:
            send("end")

    def _folders_changed(self, params: object) -> None:
        self._client = self._client.with_folders(params)
        if "watch" in self._background:
            self._start_background("configure", self._configure)
            self._start_background("watch", self._send_session_changes)  # of other repositories now

    def _configuration_changed(self, params: object) -> None:
        self._apply_settings(get_nested(params, "settings", SECTION))
        self._start_background("configure", self._configure)

    async def _register(self) -> None:
        if not self._client.dynamic_registration:
            return
        method = types.WORKSPACE_DID_CHANGE_CONFIGURATION
        wanted = {"id": SECTION, "method": method, "registerOptions": {"section": SECTION}}
        with suppress(JsonRpcException):
            await self.protocol.request_client(
                types.CLIENT_REGISTER_CAPABILITY, {"registrations": [wanted]}
            )

    async def _configure(self) -> None:
        if not self._client.answers_configuration:
            return
        try:
            several = self._client.folders if len(self._client.folders) > 1 else ()
            of_folders = [{"scopeUri": _to_uri(folder), "section": SECTION} for folder in several]
            request = {"items": [{"section": SECTION}, *of_folders]}
            response = await self.protocol.request_client(types.WORKSPACE_CONFIGURATION, request)
            settings, *scoped = response if isinstance(response, list) and response else [None]
            self._client = self._client.with_scoped(several, scoped)
            self._apply_settings(settings)
        except JsonRpcException as error:
            logger.warning("The client did not send its settings: %s", one_line(error.message))
        finally:
            self._settings_known.set()

    async def _create_context(self) -> Context:
        from para_server.lsp import bridge

        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTINGS_TIMEOUT):
                await self._settings_known.wait()
        self._settings_known.set()  # only the first command waits
        return bridge.create_context(self._base(), self._client)

    def _apply_settings(self, settings: object) -> None:
        before = self._client
        self._client = before.with_settings(settings)
        if self._client.editor != before.editor and "watch" in self._background:
            self._start_background("watch", self._send_session_changes)  # maybe of another engine

    async def _stop_with_client(self, pid: int) -> None:
        await parent_process.wait_for_exit(pid)
        logger.info("The client's process has ended")
        self._closed.set()

    async def _reconcile_sessions(self) -> None:
        from para_server.lsp import bridge

        await bridge.reconcile_sessions(await self._create_context())

    async def _pause_idle_sessions(self) -> None:
        from para_server.lsp import bridge

        while True:
            await bridge.pause_idle_sessions(await self._create_context())
            await asyncio.sleep(_AUTOPAUSE_INTERVAL)

    async def _send_session_changes(self) -> None:
        from para_server.lsp import bridge

        # also without notifications: watching keeps the container cache of `para.list` up to date
        wanted = self._client.wants_changes
        notify = partial(self.protocol.notify, SESSIONS_CHANGED) if wanted else _ignore_change
        await bridge.send_session_changes(
            await self._create_context(), notify, call_once=self._client.call_once and wanted
        )

    def _start_background(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        before = self._background.get(name)

        async def after() -> None:
            if before is not None:
                before.cancel()
                await asyncio.wait({before})
            try:
                await work()
            except Exception:
                logger.exception("The background task %s failed: internal error", name)

        self._background[name] = asyncio.get_running_loop().create_task(after(), name=name)

    def _create_log_sender(self, loop: asyncio.AbstractEventLoop) -> Callable[[int, str], None]:
        def send(level: int, message: str) -> None:
            kind = next(
                (kind for least, kind in _MESSAGE_TYPES if level >= least), types.MessageType.Log
            )
            params = {"type": int(kind), "message": message}
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self.protocol.notify, types.WINDOW_LOG_MESSAGE, params)

        return send


_MESSAGE_TYPES: Final = (
    (logging.ERROR, types.MessageType.Error),
    (logging.WARNING, types.MessageType.Warning),
    (logging.INFO, types.MessageType.Info),
)


def _to_uri(folder: str) -> str:
    return folder if folder.startswith("file://") else Path(folder).as_uri()


def _ignore_change(_change: object) -> None:
    """Discard a change of the sessions."""


def _ignore_progress(_message: str, _percentage: int | None = None) -> None:
    """Discard a progress report."""
