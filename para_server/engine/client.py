"""Call an engine from the event loop: threads, connections, API version and errors."""

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
_MAX_CALLS: Final = 8  # threads
_MAX_LONG_CALLS: Final = 64  # threads
_MAX_STREAMS: Final = 32  # commands in containers whose output is streamed at once
_MAX_REMOVALS: Final = 2  # containers that are removed at once
_PROBE_VERSION: Final = "1.41"  # never sent: the URL of a version request has no version
SLOW_FACTOR: Final = 15  # multiplies the timeout for builds and for saving large containers


class Engine:
    """A container engine; all requests go through `call` and `call_long_running`.

    `removals` and `streams` limit how many of these run at once.
    """

    def __init__(self, settings: EngineSettings, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.removals = asyncio.Semaphore(_MAX_REMOVALS)
        self.streams = asyncio.Semaphore(_MAX_STREAMS)
        self._environ = environ
        self._threads = ThreadPoolExecutor(_MAX_CALLS, thread_name_prefix="engine")
        self._long_threads = ThreadPoolExecutor(_MAX_LONG_CALLS, thread_name_prefix="engine-long")
        self._local = threading.local()
        self._clients: list[APIClient] = []
        self._version_lock = threading.Lock()
        self._versions: dict[str, Future[str]] = {}  # of the API, by address

    async def call(
        self, request: Callable[[APIClient], T], interrupt: Callable[[], None] | None = None
    ) -> T:
        """Run a request in a thread and return its result; a cancellation waits for its end.

        Every error of the engine is raised as a ParaError: engine.* or store.unreadable.
        """
        loop = asyncio.get_running_loop()
        return await run_to_end(
            loop.run_in_executor(self._threads, self._call_translated, request), interrupt
        )

    async def call_long_running(
        self, request: Callable[[APIClient], T], interrupt: Callable[[], None] | None = None
    ) -> T:
        """Do the same in a pool of its own, for requests that may take minutes."""
        loop = asyncio.get_running_loop()
        return await run_to_end(
            loop.run_in_executor(self._long_threads, self._call_translated, request), interrupt
        )

    @property
    def address(self) -> str:
        """Return the engine's address; raises engine.unreachable."""
        return self._endpoint.address

    @property
    def name(self) -> str:
        """Return the engine's address without a password, for people."""
        return endpoint.hide_password(self.address)

    @property
    def editor_settings(self) -> dict[str, str]:
        """Return an editor's settings for this engine; empty for the default engine."""
        return endpoint.editor_settings(self.settings, self._environ)

    @property
    def command_prefix(self) -> tuple[str, ...]:
        """Return the program and options that call this engine in a terminal."""
        return endpoint.command_prefix(self._endpoint, self._environ)

    @property
    def session_proxies(self) -> dict[str, str]:
        """Return the proxy variables for containers from Docker's configuration."""
        return endpoint.read_session_proxies(self.address, self._environ)

    def connect(self, timeout: float | None) -> APIClient:
        """Return a connection for one thread; `timeout` is in seconds, None for streams.

        The first connection to an engine negotiates the API version, which the others use.
        """
        target = self._endpoint
        version = self._version(target, timeout or self.settings.timeout)
        return self._open(target, version, timeout)

    def translate_error(self, error: Exception) -> Exception:
        """Return an error of this engine as a ParaError, and any other error as it is."""
        try:
            place = f" at {endpoint.describe(self._endpoint)}"
        except ParaError:  # the socket has been removed
            place = ""
        return translate_error(error, self.settings, place)

    def close(self) -> None:
        """Close the connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._long_threads.shutdown(wait=False, cancel_futures=True)
        for client in self._clients:
            client.close()

    def _call_translated(self, request: Callable[[APIClient], T]) -> T:
        try:
            return self._call_with_retry(request)
        except ParaError:
            raise
        except Exception as error:
            raise self.translate_error(error) from error

    def _call_with_retry(self, request: Callable[[APIClient], T]) -> T:
        try:
            return request(self._client())
        except Exception as error:
            if not connection.is_version_refusal(error):
                raise
        # The engine was upgraded or replaced. It rejected the request, so a retry is safe.
        self._versions.pop(self.address, None)
        self._local.client = None
        return request(self._client())

    def _version(self, target: Endpoint, timeout: float) -> str:
        with self._version_lock:
            negotiated = self._versions.get(target.address)
            is_first = negotiated is None
            if negotiated is None:
                negotiated = self._versions[target.address] = Future()
        if is_first:
            try:
                with closing(self._open(target, _PROBE_VERSION, timeout)) as client:
                    negotiated.set_result(connection.negotiate_version(client, target))
            except BaseException as error:  # noqa: BLE001 # raised in all waiting threads
                self._versions.pop(target.address, None)
                negotiated.set_exception(error)
        return negotiated.result(timeout)

    @property
    def _endpoint(self) -> Endpoint:
        return endpoint.locate_engine(self.settings, self._environ)

    def _open(self, target: Endpoint, version: str, timeout: float | None) -> APIClient:
        return connection.open_client(target, self._environ, version, timeout)

    def _client(self) -> APIClient:
        # an APIClient is not thread-safe
        client: APIClient | None = getattr(self._local, "client", None)
        address = self.address
        if client is None or self._local.address != address:
            client = self.connect(self.settings.timeout)
            self._local.client, self._local.address = client, address
            self._clients.append(client)
        return client


class Engines:
    """The engines that this process uses, one for each engine settings."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._engines: dict[EngineSettings, Engine] = {}

    def __call__(self, settings: EngineSettings) -> Engine:
        """Return the engine of settings."""
        if settings not in self._engines:
            self._engines[settings] = Engine(settings, self._environ)
        return self._engines[settings]

    def close(self) -> None:
        """Close the connections to all engines."""
        for engine in self._engines.values():
            engine.close()


def create_engines(environ: Mapping[str, str]) -> Engines:
    """Return an empty collection of engines."""
    return Engines(environ)
