"""The only place that knows how the engine is called: threads, connections, errors."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Final, TypeVar

from para_server.engine.endpoint import find, for_editors, unreachable
from para_server.errors import SETUP_CHECK, ParaError, Remedy
from para_server.names import BASE_IMAGE, build_params
from para_server.settings import EngineSettings
from para_server.steps import to_end
from para_server.untrusted import one_line

if TYPE_CHECKING:  # docker is slow to import: only the thread that calls the engine pays for it
    from docker import APIClient

T = TypeVar("T")
_THREADS: Final = 8
_REMOVALS: Final = 2  # at once
SLOW: Final = 15  # times as long as for other answers: builds, and what saves a large container
_SSH: Final = "ssh://"
_API: Final = "1.41"  # of Engine 20.10 and Podman 4: the oldest that para is tried with


class Engine:
    """One engine; `call` is the only way to it, and `removals` how many may be under way."""

    def __init__(self, settings: EngineSettings, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.removals = asyncio.Semaphore(_REMOVALS)
        self._environ = environ
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="engine")
        self._own = threading.local()
        self._clients: list[APIClient] = []

    async def call(
        self, ask: Callable[[APIClient], T], interrupt: Callable[[], None] | None = None
    ) -> T:
        """Ask the engine beside the event loop, to the end of the request.

        Raises ParaError: engine.* and store.unreadable, for whatever the engine says.
        """
        loop = asyncio.get_running_loop()
        return await to_end(loop.run_in_executor(self._threads, self._asked, ask), interrupt)

    @property
    def address(self) -> str:
        """Name where the engine listens; raises engine.unreachable."""
        return find(self.settings, self._environ)

    @property
    def for_editors(self) -> dict[str, str]:
        """Say how an editor is told of this engine; nothing where it is the usual one."""
        return for_editors(self.settings, self._environ)

    def connect(self, timeout: float | None) -> APIClient:
        """Make a connection for one thread; no timeout is for streams."""
        from docker import APIClient
        from docker.transport import UnixHTTPAdapter

        address = self.address
        if address.startswith(_SSH):
            _let_ssh_run()
        client = APIClient(
            base_url=address,
            version=_API,
            timeout=timeout,  # type: ignore[arg-type] # the stubs know neither None nor fractions
            num_pools=1,
            use_ssh_client=True,
        )
        adapter = client.get_adapter(client.base_url)
        if address.startswith(_SSH):
            # docker-py adds port 22, and ssh would no more look for the port in its configuration
            adapter.ssh_host = address.removeprefix(_SSH).rstrip("/")  # type: ignore[attr-defined] # not of all
        if isinstance(adapter, UnixHTTPAdapter):
            # docker-py has a pool for each URL and loses their sockets: one URL, one pool
            pool = partial(adapter.get_connection, client.base_url)
            adapter.get_connection = lambda _url, _proxies=None: pool()  # type: ignore[method-assign, assignment] # on purpose
            client.trust_env = False  # no proxy is between, so none is looked for at each request
        return client

    def close(self) -> None:
        """End the connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for client in self._clients:
            client.close()

    def _asked(self, ask: Callable[[APIClient], T]) -> T:
        try:
            return ask(self._client())
        except ParaError:
            raise
        except Exception as error:
            raise translated(error, self.settings) from error

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


def engines(environ: Mapping[str, str]) -> Engines:
    """Know no engine yet."""
    return Engines(environ)


def _let_ssh_run() -> None:
    """Let docker-py run `ssh`: it can only where there is paramiko, which it then does not use."""
    from docker.api import client

    if hasattr(client, "SSHHTTPAdapter"):
        return
    sys.modules["paramiko"] = ModuleType("paramiko")
    try:
        from docker.transport.sshconn import SSHHTTPAdapter
    finally:
        sys.modules.pop("paramiko", None)
    client.SSHHTTPAdapter = SSHHTTPAdapter  # type: ignore[attr-defined] # the stubs leave it out


def translated(error: Exception, settings: EngineSettings) -> Exception:
    """Tell what went wrong with the engine; what is no error of the engine's stays as it is."""
    from docker import errors as docker_errors
    from requests import exceptions as http
    from urllib3 import exceptions as stream  # a stream that is read raises them as they are

    text = _words(error)
    broken = (
        http.ConnectionError | http.ChunkedEncodingError | stream.ProtocolError | ConnectionError
    )
    late = http.ReadTimeout | stream.ReadTimeoutError | TimeoutError
    silent = isinstance(error, broken) or "Error while fetching server API" in text
    # in this order: a full disk and a missing image arrive as answers that mean other things too
    table: list[tuple[bool, Callable[[], ParaError]]] = [
        ("Permission denied" in text, _forbidden),
        (isinstance(error, late), lambda: _too_slow(settings)),
        (silent, lambda: unreachable("The container engine does not answer")),
        ("no space left on device" in text, _full),
        (isinstance(error, docker_errors.ImageNotFound), lambda: image_missing(text)),
        (
            isinstance(error, docker_errors.DockerException | http.RequestException),
            lambda: _refused(text),
        ),
    ]
    return next((make() for applies, make in table if applies), error)


def _forbidden() -> ParaError:
    return ParaError(
        "engine.permission-denied",
        "The engine's socket may not be used by this user",
        Remedy(title="Add yourself to the group docker", url=_GROUP_URL),
        SETUP_CHECK,
    )


def _too_slow(settings: EngineSettings) -> ParaError:
    return ParaError(
        "engine.timeout",
        f"The engine did not answer in time (engine.timeout is {settings.timeout:g} seconds)",
        Remedy(title="Give it more time", setting="engine.timeout"),
        SETUP_CHECK,
    )


def _full() -> ParaError:
    clean = Remedy(title="Remove what is left over", command="para.clean", params={})
    return ParaError("store.unreadable", "The engine's disk is full", clean)


def _refused(text: str) -> ParaError:
    return ParaError("engine.refused", f"The engine refused: {one_line(text, 500)}", SETUP_CHECK)


_GROUP_URL: Final = "https://docs.docker.com/engine/install/linux-postinstall/"


def image_missing(image: str) -> ParaError:
    """Say which image is missing, and how to get it."""
    name = image.removeprefix("No such image: ").removeprefix("no such image: ") or BASE_IMAGE
    params = build_params(name)
    build = Remedy(title="Build image", command="para.image.build", params=params)
    choose = Remedy(title="Choose another image", setting="container.image")
    ours = name == BASE_IMAGE or params
    remedies = [build] if ours else [choose, build]
    return ParaError("engine.image-missing", f"There is no image {name}", *remedies)


def _words(error: Exception) -> str:
    explanation = getattr(error, "explanation", None)
    if isinstance(explanation, bytes):
        explanation = explanation.decode(errors="replace")
    return str(explanation or error)
