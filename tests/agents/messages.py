"""A scripted stand-in of the Messages API that Claude Code talks to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from tests.client import eventually

Block = dict[str, Any]


def text(words: str, *, pace: float = 0.0) -> Block:
    """Say something, with so many seconds before each word."""
    return {"type": "text", "text": words, "pace": pace}


def tool(name: str, **given: object) -> Block:
    """Ask for the use of a tool."""
    return {"type": "tool_use", "name": name, "input": given}


def bash(command: str) -> Block:
    """Ask for a shell command."""
    return tool("Bash", command=command, description="as scripted")


LONG: Final = text("word " * 40 + "end", pace=0.15)  # long enough to be cut in its midst


@dataclass
class Api:
    """The stand-in: `script` says what is answered, `requests` is what it was asked.

    A script belongs to the prompts that have its key in them; each of its turns is given once, and
    the last one again and again. A turn that is a number is an HTTP error.
    """

    address: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    scripts: dict[str, list[list[Block] | int]] = field(default_factory=dict)
    words: int = 0  # said so far, in all
    failing: int | None = None  # whatever the script says

    def script(self, key: str, *turns: list[Block] | int) -> None:
        """Say what is answered to prompts with a key in them."""
        self.scripts[key] = list(turns)

    def prompts(self) -> list[str]:
        """Give all that users have said, over all requests, each once and in order."""
        said: dict[str, None] = {}
        for request in self.requests:
            said |= dict.fromkeys(_said(request))
        return list(said)

    def seen(self, *words: str) -> bool:
        """Tell whether one request had all of these words in its messages."""
        return any(
            all(word in json.dumps(request["messages"]) for word in words)
            for request in self.requests
        )

    def answer(self, request: dict[str, Any]) -> list[Block] | int:
        """Choose the answer to a request."""
        if self.failing is not None:
            return self.failing
        if not request.get("tools"):
            return [text("A title")]
        self.requests.append(request)
        prompts = _said(request)
        for prompt in reversed(prompts):
            for key, turns in self.scripts.items():
                if key in prompt:
                    return turns.pop(0) if len(turns) > 1 else turns[0]
        return [text("All is well.")]


async def speaking(standin: Api) -> None:
    """Wait until the agent is in the midst of its answer."""
    before = standin.words

    async def words() -> int:
        return standin.words

    await eventually(words, lambda said: said >= before + 3)


def _said(request: dict[str, Any]) -> list[str]:
    found = []
    for message in request.get("messages", []):
        if message["role"] != "user":
            continue
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        found += [b["text"] for b in blocks if b.get("type") == "text"]
    return [one for one in found if not one.startswith("<system-reminder>")]


@contextmanager
def serving(host: str) -> Iterator[Api]:
    """Serve the stand-in at an address that containers reach."""
    api = Api()
    server = ThreadingHTTPServer((host, 0), type("Handler", (_Handler,), {"api": api}))
    server.daemon_threads = True
    api.address = f"http://{host}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: Api

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        self._whole(200, {})

    def do_GET(self) -> None:
        self._whole(404, {})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.api.headers.append({key.lower(): value for key, value in self.headers.items()})
        if not self.path.startswith("/v1/messages?"):
            self._whole(404, {})
            return
        answer = self.api.answer(request)
        if isinstance(answer, int):
            kind = {401: "authentication_error"}.get(answer, "api_error")
            self._whole(answer, {"type": "error", "error": {"type": kind, "message": "scripted"}})
            return
        with suppress(OSError):  # the client has gone away
            self._stream(request, answer)
        self.close_connection = True

    def _whole(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _stream(self, request: dict[str, Any], blocks: list[Block]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        usage = {"input_tokens": 1, "output_tokens": 1}
        message: dict[str, Any] = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [],
        }
        message |= {"model": request.get("model"), "stop_reason": None, "usage": usage}
        self._event("message_start", message=message)
        for index, block in enumerate(blocks):
            self._block(index, block)
        reason = "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn"
        self._event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 1})
        self._event("message_stop")

    def _block(self, index: int, block: Block) -> None:
        empty: dict[str, Any]
        if block["type"] == "text":
            empty = {"type": "text", "text": ""}
            deltas = [
                (block["pace"], {"type": "text_delta", "text": f"{word} "})
                for word in block["text"].split(" ")
            ]
        else:
            name = f"toolu_{time.time_ns()}"
            empty = {"type": "tool_use", "id": name, "name": block["name"], "input": {}}
            given = json.dumps(block["input"])
            deltas = [(0.0, {"type": "input_json_delta", "partial_json": given})]
        self._event("content_block_start", index=index, content_block=empty)
        for pace, delta in deltas:
            time.sleep(pace)
            self._event("content_block_delta", index=index, delta=delta)
            self.api.words += 1
        self._event("content_block_stop", index=index)

    def _event(self, kind: str, **content: object) -> None:
        data = json.dumps({"type": kind, **content})
        self.wfile.write(f"event: {kind}\ndata: {data}\n\n".encode())
        self.wfile.flush()
