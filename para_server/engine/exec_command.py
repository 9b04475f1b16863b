"""The only place that runs a short command in a container, whose programs may be an agent's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from para_server.core.container_spec import WORKSPACE
from para_server.core.errors import CHECK_SETUP, ParaError, Remedy
from para_server.engine.client import Engine

if TYPE_CHECKING:
    from docker import APIClient

_MAX_OUTPUT: Final = 4000  # bytes of its output


async def execute(
    engine: Engine,
    container: str,
    command: Sequence[str],
    *,
    user: str = "para",
    environment: Mapping[str, str] | None = None,
    workdir: str = WORKSPACE,
) -> tuple[int, str]:
    """Run a command; gives its exit code and the end of its output.

    It has the time that the engine has for an answer; then raises engine.timeout.
    """

    def ask(api: APIClient) -> tuple[int, str]:
        made = api.exec_create(
            container,
            list(command),
            user=user,
            workdir=workdir,
            environment=dict(environment or {}),
        )
        said = b""
        stopper = Stopper()
        with stopper.after(api, engine.settings.timeout):
            for part in api.exec_start(made["Id"], stream=True):
                said = (said + part)[-_MAX_OUTPUT:]
        if stopper.stopped.is_set():
            raise _timeout_error(container, command[0], engine.settings.timeout)
        code = api.exec_inspect(made["Id"])["ExitCode"]
        return int(code if code is not None else 1), said.decode(errors="replace")

    return await engine.call_slowly(ask)


class Stopper:
    """Ends what the engine streams to one thread, from another one, also where it is silent.

    What is still streamed at the end of a block is ended with it. An engine that goes on writing to
    somebody who does not read waits for ever, and answers no call for the container any more.
    """

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._streams: list[Any] = []

    def stop(self) -> None:
        """End the streams there are, and those to come."""
        self.stopped.set()
        self._close()

    @contextmanager
    def after(self, api: APIClient, seconds: float) -> Iterator[None]:
        """Stop after a while what a connection streams within the block."""
        timer = threading.Timer(seconds, self.stop)
        with self.closing(api):
            timer.start()
            try:
                yield
            finally:
                timer.cancel()

    @contextmanager
    def closing(self, api: APIClient) -> Iterator[None]:
        """Close at the end of the block what a connection streams within it."""
        from docker.types import CancellableStream

        def remember(response: Any, *_rest: object, **_options: object) -> None:
            self._streams.append(CancellableStream(iter(()), response))
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
        for stream in self._streams:
            with suppress(Exception):  # it may have ended in the meantime
                stream.close()


def _timeout_error(container: str, program: str, seconds: float) -> ParaError:
    return ParaError(
        "engine.timeout",
        f"{program} in {container} did not end in time (engine.timeout is {seconds:g} seconds)",
        Remedy(title="Give it more time", setting="engine.timeout"),
        CHECK_SETUP,
    )
