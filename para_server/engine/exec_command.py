"""Run short commands in containers, with a timeout since their programs are not trusted."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from para_server.core.container_spec import WORKSPACE
from para_server.core.errors import CHECK_SETUP, ParaError, Remedy
from para_server.engine.client import Engine

if TYPE_CHECKING:
    from docker import APIClient

_MAX_OUTPUT: Final = 4000  # bytes
_HEADER: Final = struct.Struct(">4xL")  # of each part of an output: its stream and its length


async def execute(
    engine: Engine,
    container: str,
    command: Sequence[str],
    *,
    user: str = "para",
    environment: Mapping[str, str] | None = None,
    workdir: str = WORKSPACE,
) -> tuple[int, str]:
    """Run a command and return its exit code and the end of its output.

    Raises engine.timeout if it takes longer than the setting of that name.
    """

    def request(api: APIClient) -> tuple[int, str]:
        created = api.exec_create(
            container,
            list(command),
            user=user,
            workdir=workdir,
            environment=dict(environment or {}),
        )
        output = b""
        stopper = Stopper()
        with stopper.after(api, engine.settings.timeout):
            for part in stopper.start(api, created["Id"]):
                output = (output + part)[-_MAX_OUTPUT:]
        if stopper.stopped.is_set():
            raise _timeout_error(container, command[0], engine.settings.timeout)
        code = api.exec_inspect(created["Id"])["ExitCode"]
        return int(code if code is not None else 1), output.decode(errors="replace")

    return await engine.call_long_running(request)


class Stopper:
    """Closes response streams of the engine, from any thread, even while nothing arrives.

    Every stream must be closed: an engine that writes to a stream that nobody reads blocks forever,
    and then answers no request for the container.
    """

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._streams: list[Any] = []

    def stop(self) -> None:
        """Close all streams, and those that are opened later."""
        self.stopped.set()
        self._close()

    def start(self, api: APIClient, command_id: str) -> Iterator[bytes]:
        """Start a created command within a block, and yield its output as it arrives.

        docker-py polls the socket before it reads, although TLS may have decrypted the rest
        already, and skips output that arrives together with the engine's response.
        """
        api.exec_start(command_id, socket=True)
        buffer = self._streams[-1].raw._fp.fp  # noqa: SLF001 # there is no other way
        connection = getattr(buffer.raw, "_sock", None)
        if connection is not None:
            connection.settimeout(None)  # a command may print nothing for long
        with suppress(OSError, ValueError):  # another thread has closed it
            while len(header := buffer.read(_HEADER.size)) == _HEADER.size:
                yield buffer.read(_HEADER.unpack(header)[0])

    @contextmanager
    def after(self, api: APIClient, seconds: float) -> Iterator[None]:
        """Stop the streams that a connection opens within the block after some seconds."""
        timer = threading.Timer(seconds, self.stop)
        with self.closing(api):
            timer.start()
            try:
                yield
            finally:
                timer.cancel()

    @contextmanager
    def closing(self, api: APIClient) -> Iterator[None]:
        """Close the streams that a connection opens within the block at its end."""

        def remember(response: Any, *_rest: object, **_options: object) -> None:
            self._streams.append(response)
            if self.stopped.is_set():
                self.stop()

        hooks = api.hooks["response"]
        hooks.append(remember)
        try:
            yield
        finally:
            hooks.remove(remember)
            self._close()

    def _close(self) -> None:
        for response in self._streams:
            with suppress(Exception):  # it may have been closed already
                _close_connection(response)


def _close_connection(response: Any) -> None:
    """Close the connection of a response, which also ends a read in another thread."""
    from docker.types import CancellableStream

    if response.raw.closed:
        return
    # docker-py keeps the `ssh` process that it reads from here, and cannot close it itself
    channel = getattr(response.raw._fp.fp, "channel", None)  # noqa: SLF001 # there is no other way
    if channel is None:
        CancellableStream(iter(()), response).close()
    else:
        channel.proc.kill()  # `docker system dial-stdio` ignores SIGTERM


def _timeout_error(container: str, program: str, seconds: float) -> ParaError:
    return ParaError(
        "engine.timeout",
        f"{program} in {container} timed out (engine.timeout is {seconds:g} seconds)",
        Remedy(title="Increase the timeout", setting="engine.timeout"),
        CHECK_SETUP,
    )
