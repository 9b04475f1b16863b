"""Serve a scripted fake of the Messages API, which Claude Code calls."""

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
    """Return a text block, sent with `pace` seconds before each word."""
    return {"type": "text", "text": words, "pace": pace}


def tool(name: str, **arguments: object) -> Block:
    """Return a tool use block."""
    return {"type": "tool_use", "name": name, "input": arguments}


def bash(command: str) -> Block:
    """Return the block of a shell command."""
    return tool("Bash", command=command, description="as scripted")


LONG: Final = text("word " * 40 + "end", pace=0.15)  # long enough to be interrupted


@dataclass
class FakeApi:
    """A fake API: `script` sets its responses, `requests` has the requests that it received.

    A script applies to prompts that contain its key. Each of its turns is returned once, the last
    one repeatedly. A turn that is a number is an HTTP error.
    """

    address: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    scripts: dict[str, list[list[Block] | int]] = field(default_factory=dict)
    words: int = 0  # words sent so far, in all responses
    failing: int | None = None  # an HTTP error for all requests

    def script(self, key: str, *turns: list[Block] | int) -> None:
        """Set the responses to prompts that contain a key."""
        self.scripts[key] = list(turns)

    def prompts(self) -> list[str]:
        """Return all user texts of all requests, each once, in order."""
        texts: dict[str, None] = {}
        for request in self.requests:
            texts |= dict.fromkeys(_user_texts(request))
        return list(texts)

    def received(self, *words: str) -> bool:
        """Return whether the messages of one request contain all of these words."""
        return any(
            all(word in json.dumps(request["messages"]) for word in words)
            for request in self.requests
        )

    def respond(self, request: dict[str, Any]) -> list[Block] | int:
        """Return the response to a request."""
        if self.failing is not None:
            return self.failing
        if not request.get("tools"):
            return [text("A title")]
        self.requests.append(request)
        prompts = _user_texts(request)
        for prompt in reversed(prompts):
            for key, turns in self.scripts.items():
                if key in prompt:
                    return turns.pop(0) if len(turns) > 1 else turns[0]
        return [text("All is well.")]


async def wait_until_speaking(fake_api: FakeApi) -> None:
    """Wait until three more words of a response have been sent."""
    before = fake_api.words

    async def words() -> int:
        return fake_api.words

    await eventually(words, lambda count: count >= before + 3)


def _user_texts(request: dict[str, Any]) -> list[str]:
    texts = []
    for message in request.get("messages", []):
        if message["role"] != "user":
            continue
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        texts += [b["text"] for b in blocks if b.get("type") == "text"]
    return [one for one in texts if not one.startswith("<system-reminder>")]


@contextmanager
def serve_api(host: str) -> Iterator[FakeApi]:
    """Serve a fake API at an address that containers can reach."""
    api = FakeApi()
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
    api: FakeApi

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_HEAD(self) -> None:
        self._respond(200, {})

    def do_GET(self) -> None:
        self._respond(404, {})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.api.headers.append({key.lower(): value for key, value in self.headers.items()})
        if not self.path.startswith("/v1/messages?"):
            self._respond(404, {})
            return
        response = self.api.respond(request)
        if isinstance(response, int):
            kind = {401: "authentication_error"}.get(response, "api_error")
            self._respond(
                response, {"type": "error", "error": {"type": kind, "message": "scripted"}}
            )
            return
        with suppress(OSError):  # the client has closed the connection
            self._stream_blocks(request, response)
        self.close_connection = True

    def _respond(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _stream_blocks(self, request: dict[str, Any], blocks: list[Block]) -> None:
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
        self._send_event("message_start", message=message)
        for index, block in enumerate(blocks):
            self._send_block(index, block)
        reason = "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn"
        self._send_event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 1})
        self._send_event("message_stop")

    def _send_block(self, index: int, block: Block) -> None:
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
        self._send_event("content_block_start", index=index, content_block=empty)
        for pace, delta in deltas:
            time.sleep(pace)
            self._send_event("content_block_delta", index=index, delta=delta)
            self.api.words += 1
        self._send_event("content_block_stop", index=index)

    def _send_event(self, kind: str, **content: object) -> None:
        data = json.dumps({"type": kind, **content})
        self.wfile.write(f"event: {kind}\ndata: {data}\n\n".encode())
        self.wfile.flush()
