"""A client that speaks bytes: what no well-behaved editor would send goes through it too."""

from __future__ import annotations

import itertools
import json
import queue
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

DEADLINE = 60.0  # seconds: generous, since a test waits for an event and not for a time


class Wire:
    """One connection: `heard` is every message so far."""

    def __init__(self, incoming: IO[bytes], outgoing: IO[bytes], log: Path) -> None:
        self.heard: list[dict[str, Any]] = []
        self._outgoing = outgoing
        self._log = log
        self._ids = itertools.count(1)
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._listen, args=(incoming,), daemon=True).start()

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._outgoing.write(data)
        self._outgoing.flush()

    def send(self, *messages: Mapping[str, Any]) -> None:
        """Send messages in one piece."""
        self.raw(b"".join(framed(json.dumps({"jsonrpc": "2.0", **m}).encode()) for m in messages))

    def request(self, method: str, params: object = None) -> int:
        """Send a request and give its id."""
        number = next(self._ids)
        self.send({"id": number, "method": method, "params": params})
        return number

    def ask(self, method: str, params: object = None) -> dict[str, Any]:
        """Send a request and give the whole answer."""
        return self.answer(self.request(method, params))

    def command(self, name: str, *arguments: object, progress: str | None = None) -> int:
        """Send a command and give its id."""
        params = {"command": name, "arguments": arguments}
        return self.request(
            "workspace/executeCommand", params | ({"workDoneToken": progress} if progress else {})
        )

    def notify(self, method: str, params: object = None) -> None:
        """Send a notification."""
        self.send({"method": method, "params": params})

    def answer(self, number: int | str | None) -> dict[str, Any]:
        """Wait for the answer to a request."""
        return self.until(lambda m: "method" not in m and m.get("id") == number)

    def until(self, met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a message that meets a condition."""
        while (message := self._next()) is not None:
            if met(message):
                return message
        raise AssertionError(f"the server hung up; heard {self.heard}; it logged {self.log()}")

    def ended(self) -> bool:
        """Wait until the server hangs up."""
        while self._next() is not None:
            pass
        return True

    def initialize(self, **params: object) -> dict[str, Any]:
        """Begin as an editor does."""
        answer = self.ask("initialize", {"processId": None, "capabilities": {}} | params)
        self.notify("initialized", {})
        return answer

    def log(self) -> str:
        """Give what the server wrote to stderr."""
        return self._log.read_text()

    def _next(self) -> dict[str, Any] | None:
        try:
            message = self._queue.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f"silence; heard {self.heard}; it logged {self.log()}") from None
        if message is not None:
            self.heard.append(message)
        return message

    def _listen(self, incoming: IO[bytes]) -> None:
        try:
            while head := _head(incoming):
                found = re.search(rb"Content-Length: (\d+)", head)
                assert found, head
                self._queue.put(json.loads(incoming.read(int(found[1]))))
        except OSError:
            pass  # hung up on
        finally:
            self._queue.put(None)


class Process:
    """A server process; its stderr is a file."""

    def __init__(
        self,
        environ: Mapping[str, str],
        log: Path,
        *arguments: str,
        command: Sequence[str] = (sys.executable, "-m", "para_server"),
    ) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self.popen = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=dict(environ),
            )

    def stdio(self) -> Wire:
        """Talk over its stdin and stdout."""
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        return Wire(self.popen.stdout, self.popen.stdin, self._log)

    def tcp(self) -> Wire:
        """Connect to it."""
        connection = socket.create_connection(("127.0.0.1", self.port()), DEADLINE)
        return Wire(connection.makefile("rb"), connection.makefile("wb"), self._log)

    def port(self) -> int:
        """Wait until it listens, and tell where."""
        eventually(lambda: "Listening" in self._log.read_text())
        found = re.search(r"127\.0\.0\.1:(\d+)", self._log.read_text())
        assert found, self._log.read_text()
        return int(found[1])

    def end_of_input(self) -> None:
        """Do as an editor that died."""
        assert self.popen.stdin is not None
        self.popen.stdin.close()

    def exit_code(self) -> int:
        """Wait until it has ended."""
        return self.popen.wait(DEADLINE)


def framed(body: bytes) -> bytes:
    """Put the header before a message."""
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def eventually(met: Callable[[], object]) -> None:
    """Look again and again until a condition is met."""
    end = time.monotonic() + DEADLINE
    while not met():
        assert time.monotonic() < end, "never came about"
        time.sleep(0.02)


def _head(incoming: IO[bytes]) -> bytes:
    head = b""
    while (line := incoming.readline()).strip():
        head += line
    return head
