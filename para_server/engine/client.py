"""The only place that knows how the engine is called: threads, connections, errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeVar

from para_server.concurrency.cancellation import run_to_end
from para_server.core.errors import ParaError
from para_server.core.settings import EngineSettings
from para_server.engine import connection, endpoint
from para_server.engine.endpoint import Endpoint
from para_server.engine.error_translation import translate_error

if TYPE_CHECKING:  # docker is slow to import: only the thread that calls the engine pays for it
    from docker import APIClient

T = TypeVar("T")
_THREADS: Final = 8
_SLOW_THREADS: Final = 64
_MAX_STREAMS: Final = 32  # commands in containers that are followed at once
_MAX_REMOVALS: Final = 2  # at once
_UNVERSIONED: Final = (
    "1.41"  # of a connection that only asks for versions, which has none in its URL
)
SLOW_FACTOR: Final = (
    15  # times as long as for other answers: builds, and what saves a large container
)


class Engine:
    """One engine; `call` is the only way to it, and `removals` how many may be under way."""

    def __init__(self, settings: EngineSettings, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.removals = asyncio.Semaphore(_MAX_REMOVALS)
        self.streams = asyncio.Semaphore(_MAX_STREAMS)
        self._environ = environ
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="engine")
        self._slow_threads = ThreadPoolExecutor(_SLOW_THREADS, thread_name_prefix="engine-slow")
        self._own = threading.local()
        self._clients: list[APIClient] = []
        self._agreeing = threading.Lock()
        self._versions: dict[str, Future[str]] = {}  # of the API, by address

    async def call(
        self, ask: Callable[[APIClient], T], interrupt: Callable[[], None] | None = None
    ) -> T:
        """Ask the engine beside the event loop, to the end of the request.

        Raises ParaError: engine.* and store.unreadable, for whatever the engine says.
        """
        loop = asyncio.get_running_loop()
        return await run_to_end(loop.run_in_executor(self._threads, self._asked, ask), interrupt)

    async def call_slowly(
        self, ask: Callable[[APIClient], T], interrupt: Callable[[], None] | None = None
    ) -> T:
        """Ask for what lasts as long as a session likes, which keeps no other call waiting."""
        loop = asyncio.get_running_loop()
        return await run_to_end(
            loop.run_in_executor(self._slow_threads, self._asked, ask), interrupt
        )

    @property
    def address(self) -> str:
        """Name where the engine listens; raises engine.unreachable."""
        return self._endpoint.address

    @property
    def for_editors(self) -> dict[str, str]:
        """Say how an editor is told of this engine; nothing where it is the usual one."""
        return endpoint.editor_settings(self.settings, self._environ)

    @property
    def command_line(self) -> tuple[str, ...]:
        """Return how a command for this engine begins in a person's terminal."""
        return endpoint.command_prefix(self._endpoint, self._environ)

    @property
    def session_proxies(self) -> dict[str, str]:
        """Return the proxy variables that docker's configuration has for containers."""
        return endpoint.read_session_proxies(self.address, self._environ)

    def connect(self, timeout: float | None) -> APIClient:
        """Open a connection for one thread; no timeout is for streams.

        The first one to an engine asks for its API versions; all others use the same.
        """
        found = self._endpoint
        version = self._version(found, timeout or self.settings.timeout)
        return self._open(found, version, timeout)

    def translate_error(self, error: Exception) -> Exception:
        """Return what went wrong with this engine as a ParaError; what is no error of its stays."""
        try:
            where = f" at {endpoint.describe(self._endpoint)}"
        except ParaError:  # its socket is gone meanwhile
            where = ""
        return translate_error(error, self.settings, where)

    def close(self) -> None:
        """End the connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._slow_threads.shutdown(wait=False, cancel_futures=True)
        for client in self._clients:
            client.close()

    def _asked(self, ask: Callable[[APIClient], T]) -> T:
        try:
            return self._answered(ask)
        except ParaError:
            raise
        except Exception as error:
            raise self.translate_error(error) from error

    def _answered(self, ask: Callable[[APIClient], T]) -> T:
        try:
            return ask(self._client())
        except Exception as error:
            if not connection.is_version_refusal(error):
                raise
        # another engine listens there since, or this one was upgraded; it has done nothing yet
        self._versions.pop(self.address, None)
        self._own.client = None
        return ask(self._client())

    def _version(self, found: Endpoint, timeout: float) -> str:
        with self._agreeing:
            agreed = self._versions.get(found.address)
            asks = agreed is None
            if agreed is None:
                agreed = self._versions[found.address] = Future()
        if asks:
            try:
                with closing(self._open(found, _UNVERSIONED, timeout)) as client:
                    agreed.set_result(connection.negotiate_version(client, found))
            except BaseException as error:  # noqa: BLE001 # whoever waits for it fails with it
                self._versions.pop(found.address, None)
                agreed.set_exception(error)
        return agreed.result(timeout)

    @property
    def _endpoint(self) -> Endpoint:
        return endpoint.locate_engine(self.settings, self._environ)

    def _open(self, found: Endpoint, version: str, timeout: float | None) -> APIClient:
        return connection.open_client(found, self._environ, version, timeout)

    def _client(self) -> APIClient:
        # a client is not safe between threads
        client: APIClient | None = getattr(self._own, "client", None)
        address = self.address
        if client is None or self._own.address != address:
            client = self.connect(self.settings.timeout)
            self._own.client, self._own.address = client, address
            self._clients.append(client)
        return client


class Engines:
    """The connections of this process, one for each engine that settings name."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._known: dict[EngineSettings, Engine] = {}

    def __call__(self, settings: EngineSettings) -> Engine:
        """Give the connection to an engine."""
        if settings not in self._known:
            self._known[settings] = Engine(settings, self._environ)
        return self._known[settings]

    def close(self) -> None:
        """End all connections."""
        for engine in self._known.values():
            engine.close()


def create_engines(environ: Mapping[str, str]) -> Engines:
    """Know no engine yet."""
    return Engines(environ)
