"""The only place that knows how messages lie in a stream of bytes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lsprotocol.types import ErrorCodes

MAX_MESSAGE: Final = 32 << 20
_MAX_SKIPPED: Final = 1 << 30  # a length beyond it is taken for noise, not for a message
_MAX_LINE: Final = 8 << 10
# found at the end of a line, because what went wrong before it need not have ended with one
_LENGTH: Final = re.compile(rb"content-length:[ \t]*(\d{1,18})[ \t]*\r?$", re.IGNORECASE)
_WRONG_LENGTH: Final = re.compile(rb"^content-length:", re.IGNORECASE)
# where anybody may connect, nothing but these two is taken
_CONTENT_TYPE: Final = b"content-type:"
_HEADERS: Final = (b"content-length:", _CONTENT_TYPE)
_STRICT_LENGTH: Final = re.compile(rb"content-length:[ \t]*(\d{1,18})[ \t]*", re.IGNORECASE)
_MAX_STRICT_LINE: Final = 256
_MAX_STRICT_LINES: Final = 4


@dataclass(frozen=True)
class Refusal:
    """Something in the stream that is no message, as an error to answer."""

    code: int
    message: str


class ForeignStreamError(Exception):
    """The other side does not speak LSP: a browser, not an editor."""


class Framing:
    """Cut a stream into messages; it never holds more than one of at most `limit` bytes.

    What is no header is passed over, as programs print to the stdout that they share with a
    server. `strict`, for ports, raises ForeignStreamError at the first byte that cannot belong to
    a header, or where a message is larger than the limit.
    """

    def __init__(self, *, strict: bool = False, limit: int = MAX_MESSAGE) -> None:
        self.limit = limit
        self._strict = strict
        self._lines = 0  # of the header that is being read
        self._line = bytearray()
        self._body = bytearray()
        self._length: int | None = None  # of the message whose headers are being read
        self._missing = 0  # bytes of the body that are still to come
        self._skipped = 0  # bytes to come of a body that is too large

    def feed(self, chunk: bytes) -> Iterator[bytes | Refusal]:
        """Take what came and give the messages that are whole."""
        at = 0
        while at < len(chunk):
            if self._skipped:
                taken = min(self._skipped, len(chunk) - at)
                self._skipped -= taken
                at += taken
            elif self._missing:
                part = chunk[at : at + self._missing]
                self._body += part
                self._missing -= len(part)
                at += len(part)
                if not self._missing:
                    yield self._whole()
            else:
                end = chunk.find(b"\n", at)
                stop = len(chunk) if end < 0 else end
                self._line += chunk[at:stop]
                at = stop + 1
                if self._strict:
                    self._demand_header()
                del self._line[:-_MAX_LINE]
                if end >= 0:
                    yield from self._header()

    def _whole(self) -> bytes:
        body = bytes(self._body)
        self._body.clear()
        return body

    def _header(self) -> Iterator[Refusal]:
        line = bytes(self._line)
        self._line.clear()
        if self._strict:
            yield from self._strict_header(line.removesuffix(b"\r"))
        elif found := _LENGTH.search(line):
            self._length = int(found[1])
        elif _WRONG_LENGTH.match(line):
            yield Refusal(ErrorCodes.ParseError, "The Content-Length is not a number of bytes")
        elif not line.strip() and self._length is not None:
            yield from self._start(self._length)

    def _demand_header(self) -> None:
        """Raise ForeignStreamError where a line, also one that is not whole, begins no header."""
        line = bytes(self._line).lower().rstrip(b"\r")
        begins = any(name.startswith(line) or line.startswith(name) for name in _HEADERS)
        if not begins or len(line) > _MAX_STRICT_LINE:
            raise ForeignStreamError

    def _strict_header(self, line: bytes) -> Iterator[Refusal]:
        self._lines += 1
        if self._lines > _MAX_STRICT_LINES:
            raise ForeignStreamError
        if found := _STRICT_LENGTH.fullmatch(line):
            if self._length is not None:
                raise ForeignStreamError
            self._length = int(found[1])
        elif not line and self._length is not None:
            yield from self._start(self._length)
        elif not line.lower().startswith(_CONTENT_TYPE):
            raise ForeignStreamError

    def _start(self, length: int) -> Iterator[Refusal]:
        self._length, self._lines = None, 0
        if length <= self.limit:
            self._missing = length
            return
        if self._strict and self.limit < MAX_MESSAGE:
            raise ForeignStreamError
        if length <= _MAX_SKIPPED:
            self._skipped = length
        yield Refusal(
            ErrorCodes.InvalidRequest,
            f"A message may have {self.limit} bytes, this one has {length}",
        )
