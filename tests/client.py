"""A client of a real server process: what an editor is to para."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest_lsp
from lsprotocol import types
from pygls.exceptions import JsonRpcException

DEADLINE = 90.0  # seconds: generous, since a test waits for a state and not for a time
BUILD_DEADLINE = 170.0  # seconds, in which hundreds of megabytes are fetched and written


class Failed(Exception):  # noqa: N818 # reads as what happened
    """A command that the server refused; `slug`, `message` and `remedies` are its problem's."""

    def __init__(self, code: int, data: dict[str, Any] | None, message: str) -> None:
        super().__init__(f"{code}: {message} {data}")
        self.code, self.data = code, data or {}
        self.slug: str = self.data.get("slug", "")
        self.message: str = self.data.get("message", message)
        self.remedies: list[dict[str, Any]] = self.data.get("remedies", [])


class Para:
    """A connected client; `call` runs a command, `changes` are the notifications so far."""

    def __init__(self, client: Any) -> None:
        self.lsp = client
        self.changes: list[dict[str, Any]] = []
        self.heard: list[float] = []  # when each came
        self._stirred = asyncio.Event()
        self._tokens = 0

        @client.feature("para/sessionsChanged")  # type: ignore[untyped-decorator] # pygls'
        def changed(params: Any) -> None:
            self.heard.append(time.time())
            self.changes.append(plain(params))
            self._stirred.set()

    @property
    def pid(self) -> int:
        """Name the server's process."""
        return int(self.lsp._server.pid)

    async def call(self, command: str, /, **params: object) -> Any:
        """Run a command; raises Failed."""
        arguments = [params] if params else []
        return await self.answer(self.send(command, arguments))

    async def image(self, agent: str) -> Any:
        """Build the image of an agent, which installs it where it is not there yet."""
        return await self.answer(self.send("para.image.build", [{"agent": agent}]), BUILD_DEADLINE)

    def send(
        self,
        command: str,
        arguments: list[Any],
        token: str | None = None,
        msg_id: str | None = None,
    ) -> Any:
        """Send a command and give the future of its answer."""
        request = types.ExecuteCommandParams(
            command=command, arguments=arguments, work_done_token=token
        )
        protocol = self.lsp.protocol
        sent = protocol.send_request_async("workspace/executeCommand", request, msg_id)
        return asyncio.ensure_future(sent)  # at once, not when it is awaited

    def cancel(self, msg_id: str) -> None:
        """Ask for a command to be stopped."""
        self.lsp.protocol.notify("$/cancelRequest", types.CancelParams(id=msg_id))

    def kill(self) -> None:
        """End the server at once, wherever it is."""
        os.kill(self.lsp._server.pid, signal.SIGKILL)

    async def answer(self, sent: Any, deadline: float = DEADLINE) -> Any:
        """Wait for an answer; raises Failed."""
        try:
            return plain(await asyncio.wait_for(sent, deadline))
        except JsonRpcException as error:
            raise Failed(error.code, plain(error.data), error.message) from None

    async def fails(self, slug: str, command: str, /, **params: object) -> Failed:
        """Run a command that must be refused for a reason."""
        try:
            answer = await self.call(command, **params)
        except Failed as failed:
            if failed.slug != slug:
                raise
            return failed
        raise AssertionError(f"{command} should have failed with {slug}, and answered {answer}")

    async def until(self, met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a notification that meets a condition, the latest one first."""
        seen = 0
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    for change in self.changes[seen:]:
                        if met(change):
                            return dict(change)
                    seen = len(self.changes)
                    self._stirred.clear()
                    await self._stirred.wait()
        except TimeoutError:
            raise AssertionError(f"never came; the last were {self.changes[-3:]}") from None

    async def agent(self, name: str, *states: str) -> dict[str, Any]:
        """Wait until the agent of a session is in one of the states, and show the session."""
        shown: dict[str, Any] = await eventually(
            lambda: self.call("para.show", name=name),
            lambda session: session["agent"] is not None and session["agent"]["state"] in states,
        )
        return shown


async def eventually(
    look: Callable[[], Any], met: Callable[[Any], bool], deadline: float = DEADLINE
) -> Any:
    """Look again and again until what is seen meets a condition; tells what was seen last."""
    seen: Any = None
    try:
        async with asyncio.timeout(deadline):
            while True:
                seen = await look()
                if met(seen):
                    return seen
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"never came about; last seen: {seen}") from None


async def connect(
    environ: dict[str, str],
    folders: list[Path],
    *arguments: str,
    options: dict[str, Any] | None = None,
    watching: bool = True,
    prefix: tuple[str, ...] = (),
) -> Para:
    """Start a server process and initialise it; `watching` asks to be told of changes.

    `prefix` is a command that starts the server in circumstances of its own.
    """
    config = pytest_lsp.ClientServerConfig(
        server_command=[*prefix, sys.executable, "-m", "para_server", *arguments],
        server_env=environ,
    )
    para = Para(await config.start())
    await para.lsp.initialize_session(
        types.InitializeParams(
            capabilities=types.ClientCapabilities(experimental={"para": watching}),
            workspace_folders=[types.WorkspaceFolder(f.as_uri(), f.name) for f in folders],
            initialization_options=options or {},
            process_id=os.getpid(),
        )
    )
    return para


async def disconnect(para: Para) -> None:
    """End a server as an editor does; one that was killed is gone already."""
    async with asyncio.timeout(DEADLINE):
        if not para.lsp.stopped:
            await para.lsp.shutdown_session()
        await para.lsp.stop()


def plain(value: Any) -> Any:
    """Make dicts and lists of what pygls makes of untyped JSON."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
