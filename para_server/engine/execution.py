"""The only place that runs a short command in a container, whose programs may be an agent's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from para_server.engine.client import Engine
from para_server.errors import SETUP_CHECK, ParaError, Remedy
from para_server.spec import WORKSPACE

if TYPE_CHECKING:
    from docker import APIClient

_TOLD: Final = 4000  # bytes of its output


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
                said = (said + part)[-_TOLD:]
        if stopper.stopped.is_set():
            raise _endless(container, command[0], engine.settings.timeout)
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
            with suppress(Exception):  # it may have ended in the meantime
                _shut(response)


def _shut(response: Any) -> None:
    """Shut the connection of a response, which ends a read of it in another thread too."""
    from docker.types import CancellableStream

    if response.raw.closed:
        return
    # docker-py notes here which `ssh` it reads from; its own streams end no such one
    through = getattr(response.raw._fp.fp, "channel", None)  # noqa: SLF001 # it has no other way
    if through is None:
        CancellableStream(iter(()), response).close()
    else:
        through.proc.kill()  # `docker system dial-stdio` goes on where it is only terminated


def _endless(container: str, program: str, seconds: float) -> ParaError:
    return ParaError(
        "engine.timeout",
        f"{program} in {container} did not end in time (engine.timeout is {seconds:g} seconds)",
        Remedy(title="Give it more time", setting="engine.timeout"),
        SETUP_CHECK,
    )
