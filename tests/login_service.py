"""A stand-in of what an agent logs in to: the maker's web page, its tokens and its API.

It is a proxy that real programs are sent through, with certificates of its own making. Beside
that it answers by itself, for agents that are given another address of the API.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlparse

import trustme

from para_server.core.container_spec import find_ca_bundle
from para_server.core.settings import ContainerSettings

CANARY = "kanarienvogel"  # in every secret that the stand-in gives out
BROWSER = "/usr/local/bin/browser"
# what a person's browser does with the page: it is sent on to where the agent listens
BROWSER_SCRIPT = b'#!/bin/sh\nexec curl -sL "$1"\n'
_HOURS = 8 * 3600
_ACCOUNT = {"uuid": "22222222-2222-2222-2222-222222222222", "email_address": "a@b.example"}
_ORGANIZATION = {"uuid": "11111111-1111-1111-1111-111111111111", "name": "o"}
_TURN: tuple[dict[str, Any], ...] = (
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 1},
    },
    {"type": "message_stop"},
)


class LoginService:
    """Serves containers; `accepted` are the secrets that its API takes, `seen` the requests.

    It listens on loopback, or on a bridge where no container can have the host's network.
    """

    def __init__(self, folder: Path, bridge: str | None) -> None:
        self.accepted: set[str] = set()
        self.renewals: list[str] = []  # the tokens that were handed in for new ones
        self.seen: list[str] = []
        self._renewing: set[str] = set()
        self._lock = threading.Lock()
        self._authority = trustme.CA()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.bundle = folder / "certificates.pem"
        system = find_ca_bundle(ContainerSettings(), {}) or Path(
            "/etc/ssl/certs/ca-certificates.crt"
        )
        known = system.read_bytes() if system.is_file() else b""
        self.bundle.write_bytes(known + self._authority.cert_pem.bytes())
        host = bridge or "127.0.0.1"
        self._network = "bridge" if bridge else "host"
        self._server = ThreadingHTTPServer((host, 0), type("Own", (_Handler,), {"of": self}))
        self._server.daemon_threads = True
        self.address = f"http://{host}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def settings(self) -> dict[str, str]:
        """Send para's containers to this service."""
        variables = {"HTTPS_PROXY": self.address, "BROWSER": BROWSER}
        return {
            "PARA_CONTAINER_CA_BUNDLE": str(self.bundle),
            "PARA_CONTAINER_ENV": json.dumps(variables),
            "PARA_CONTAINER_NETWORK": self._network,
        }

    def tokens(self, *, seconds: int = _HOURS) -> dict[str, Any]:
        """Give out an access token that the API accepts, and one to renew it with."""
        access, refresh = (f"sk-ant-{CANARY}-{secrets.token_hex(8)}" for _ in range(2))
        with self._lock:
            self.accepted.add(access)
            self._renewing.add(refresh)
        return {
            "token_type": "Bearer",
            "access_token": access,
            "refresh_token": refresh,
            "expires_in": seconds,
            "scope": "user:inference user:profile",
            "account": _ACCOUNT,
            "organization": _ORGANIZATION,
        }

    def renewed(self, token: str) -> dict[str, Any] | None:
        """Renew a token, once."""
        with self._lock:
            self.renewals.append(token)
            if token not in self._renewing:
                return None
            self._renewing.remove(token)
        return self.tokens()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def certified(self, host: str) -> ssl.SSLContext:
        """Be a host."""
        with self._lock:
            if host not in self._contexts:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self._authority.issue_cert(host).configure_cert(context)
                self._contexts[host] = context
            return self._contexts[host]


class _Handler(BaseHTTPRequestHandler):
    of: ClassVar[LoginService]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        return

    def do_CONNECT(self) -> None:  # http.server's
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            context = self.of.certified(self.path.partition(":")[0])
            with context.wrap_socket(self.connection, server_side=True) as inside:
                type(self)(inside, self.client_address, self.server)

    def do_GET(self) -> None:  # http.server's
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = urlparse(self.path).path
        self.of.seen.append(f"{self.command} {path}")
        match path:
            case "/cai/oauth/authorize" | "/oauth/authorize":
                self._back(parse_qs(urlparse(self.path).query))
            case "/v1/oauth/token":
                self._token(json.loads(body))
            case "/api/oauth/profile":
                self._say(200, {"account": _ACCOUNT | {"has_claude_max": True}})
            case "/v1/models":
                self._say(*((200, {"data": []}) if self._known() else _REFUSED))
            case "/v1/messages" if self._known():
                self._turn()
            case "/v1/messages":
                self._say(*_REFUSED)
            case _:
                self._say(404, {"error": {"type": "not_found_error", "message": "no"}})

    do_POST = do_HEAD = do_GET  # noqa: N815 # http.server's

    def _known(self) -> bool:
        given = self.headers.get("authorization", "").removeprefix("Bearer ")
        return given in self.of.accepted or self.headers.get("x-api-key") in self.of.accepted

    def _back(self, query: dict[str, list[str]]) -> None:
        answer = urlencode({"code": "code", "state": query["state"][0]})
        self.send_response(302)
        self.send_header("location", f"{query['redirect_uri'][0]}?{answer}")
        self.send_header("content-length", "0")
        self.end_headers()

    def _token(self, asked: dict[str, str]) -> None:
        if asked["grant_type"] == "authorization_code":
            self._say(200, self.of.tokens())
            return
        given = self.of.renewed(asked["refresh_token"])
        self._say(*((200, given) if given else (400, {"error": "invalid_grant"})))

    def _turn(self) -> None:
        events = [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in _TURN]
        self._send(200, "".join(events).encode(), "text/event-stream")

    def _say(self, code: int, answer: dict[str, Any]) -> None:
        self._send(code, json.dumps(answer).encode(), "application/json")

    def _send(self, code: int, content: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


_REFUSED = (401, {"type": "error", "error": {"type": "authentication_error", "message": "no"}})
