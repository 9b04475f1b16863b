"""The only place that knows what an editor may ask of para and what it is told unasked."""

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
from para_server.lsp.capabilities import Client, inside, introduced, is_id
from para_server.lsp.protocol import Json, Phase, Protocol

if TYPE_CHECKING:  # an editor waits for `initialize`: what it does not need is loaded after it
    from pygls.io_ import Writer

    from para_server.context import Context, Report

logger = logging.getLogger(__name__)
SECTION: Final = "para"
SESSIONS_CHANGED: Final = "para/sessionsChanged"
COMMANDS_FILE: Final = Path(__file__).parents[1] / "commands.json"  # written by codegen
_BETWEEN_LOOKS: Final = 10.0  # seconds between two looks for sessions whose time is over
_PATIENCE: Final = 2.0  # seconds that the first command waits for the client's settings


class Server(JsonRPCServer):
    """What one client talks to; `over` is set when there is no more to say."""

    protocol: Protocol

    def __init__(self, context: Callable[[], Context], writer: Writer, over: asyncio.Event) -> None:
        super().__init__(Protocol, Converter)
        self.exit_code = 0
        self._base = context
        self._client = Client()
        self._over = over
        self._settled = asyncio.Event()  # the client's settings are known
        self._background: dict[str, asyncio.Task[None]] = {}
        self._log: ClientHandler | None = None
        self.protocol.set_writer(writer)
        self.protocol.hang_up = over.set
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
        """Stop whatever runs for this client, and wait until it is rolled back."""
        self.protocol.phase = Phase.SHUT_DOWN
        for task in self._background.values():
            task.cancel()
        await self.protocol.stop()
        await asyncio.gather(*self._background.values(), return_exceptions=True)
        if self._log is not None:
            self._log.close()

    def _initialize(self, params: object) -> dict[str, Any]:
        self._client = introduced(params)
        self._log = ClientHandler(self._tell_log(asyncio.get_running_loop()))
        if not self._client.configuration:
            self._settled.set()
        if self._client.process is not None and self.protocol.gate is None:
            self._begin("client", partial(self._outlive_nobody, self._client.process))
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
        self._begin("register", self._register)
        self._begin("configure", self._configure)
        self._begin("sweep", self._sweep)
        self._begin("watch", self._watch)
        self._begin("rest", self._rest)

    async def _shutdown(self, _params: object) -> None:
        await self.protocol.stop()

    def _exit(self, _params: object) -> None:
        self.exit_code = 0 if self.protocol.phase is Phase.SHUT_DOWN else 1
        self._over.set()

    async def _execute(self, params: object) -> Json:
        from para_server.lsp import bridge

        title = bridge.title_of(params)
        with self._progress(inside(params, "workDoneToken"), title) as report:
            return await bridge.execute(await self._context(), params, report)

    @contextmanager
    def _progress(self, token: object, title: str) -> Iterator[Report]:
        if not is_id(token):
            yield _nobody
            return

        def tell(kind: str, **value: Any) -> None:
            value = {"kind": kind, **value}
            self.protocol.notify(types.PROGRESS, {"token": token, "value": value})

        def report(message: str, percentage: int | None = None) -> None:
            known = {} if percentage is None else {"percentage": max(0, min(100, percentage))}
            tell("report", message=safe_message(one_line(message)), **known)

        # without a percentage at the beginning clients ignore those that follow
        tell("begin", title=safe_message(one_line(title)), cancellable=True, percentage=0)
        try:
            yield report
        finally:
            tell("end")

    def _folders_changed(self, params: object) -> None:
        self._client = self._client.with_folders(params)
        if "watch" in self._background:
            self._begin("configure", self._configure)
            self._begin("watch", self._watch)  # it is called for others now

    def _configuration_changed(self, params: object) -> None:
        self._use(inside(params, "settings", SECTION))
        self._begin("configure", self._configure)

    async def _register(self) -> None:
        if not self._client.registration:
            return
        method = types.WORKSPACE_DID_CHANGE_CONFIGURATION
        wanted = {"id": SECTION, "method": method, "registerOptions": {"section": SECTION}}
        with suppress(JsonRpcException):
            await self.protocol.ask(types.CLIENT_REGISTER_CAPABILITY, {"registrations": [wanted]})

    async def _configure(self) -> None:
        if not self._client.configuration:
            return
        try:
            several = self._client.folders if len(self._client.folders) > 1 else ()
            of_folders = [{"scopeUri": _uri(folder), "section": SECTION} for folder in several]
            asked = {"items": [{"section": SECTION}, *of_folders]}
            answer = await self.protocol.ask(types.WORKSPACE_CONFIGURATION, asked)
            found, *scoped = answer if isinstance(answer, list) and answer else [None]
            self._client = self._client.with_scoped(several, scoped)
            self._use(found)
        except JsonRpcException as error:
            logger.warning("The client did not tell its settings: %s", one_line(error.message))
        finally:
            self._settled.set()

    async def _context(self) -> Context:
        from para_server.lsp import bridge

        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._settled.wait()
        self._settled.set()  # one command waits, not each
        return bridge.context_of(self._base(), self._client)

    def _use(self, settings: object) -> None:
        before = self._client
        self._client = before.with_settings(settings)
        if self._client.editor != before.editor and "watch" in self._background:
            self._begin("watch", self._watch)  # it may be another engine now

    async def _outlive_nobody(self, pid: int) -> None:
        await parent_process.ended(pid)
        logger.info("The client's process has ended")
        self._over.set()

    async def _sweep(self) -> None:
        from para_server.lsp import bridge

        await bridge.clear_up(await self._context())

    async def _rest(self) -> None:
        from para_server.lsp import bridge

        while True:
            await bridge.rest(await self._context())
            await asyncio.sleep(_BETWEEN_LOOKS)

    async def _watch(self) -> None:
        from para_server.lsp import bridge

        # also where nobody wants to be told: what is heard keeps true what `para.list` remembers
        notify = partial(self.protocol.notify, SESSIONS_CHANGED)
        tell = notify if self._client.notifications else _unheard
        await bridge.watch(
            await self._context(), tell, once=self._client.once and self._client.notifications
        )

    def _begin(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        before = self._background.get(name)

        async def after() -> None:
            if before is not None:
                before.cancel()
                await asyncio.wait({before})
            try:
                await work()
            except Exception:
                logger.exception("%s failed: a bug", name)

        self._background[name] = asyncio.get_running_loop().create_task(after(), name=name)

    def _tell_log(self, loop: asyncio.AbstractEventLoop) -> Callable[[int, str], None]:
        def tell(level: int, message: str) -> None:
            kind = next((kind for least, kind in _KINDS if level >= least), types.MessageType.Log)
            params = {"type": int(kind), "message": message}
            with suppress(RuntimeError):  # the loop is closed: nobody is there to be told
                loop.call_soon_threadsafe(self.protocol.notify, types.WINDOW_LOG_MESSAGE, params)

        return tell


_KINDS: Final = (
    (logging.ERROR, types.MessageType.Error),
    (logging.WARNING, types.MessageType.Warning),
    (logging.INFO, types.MessageType.Info),
)


def _uri(folder: str) -> str:
    return folder if folder.startswith("file://") else Path(folder).as_uri()


def _unheard(_change: object) -> None:
    """Tell nobody."""


def _nobody(_message: str, _percentage: int | None = None) -> None:
    """Report to nobody."""
