"""Split a byte stream into messages by their Content-Length headers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lsprotocol.types import ErrorCodes

MAX_MESSAGE_BYTES: Final = 32 << 20
_MAX_SKIPPED_BYTES: Final = 1 << 30  # a larger length is noise: do not skip a body
_MAX_LINE_BYTES: Final = 8 << 10
# matched at the end of a line: output before it may lack a line break
_LENGTH: Final = re.compile(rb"content-length:[ \t]*(\d{1,18})[ \t]*\r?$", re.IGNORECASE)
_WRONG_LENGTH: Final = re.compile(rb"^content-length:", re.IGNORECASE)
# on a port no other headers are accepted
_CONTENT_TYPE: Final = b"content-type:"
_HEADERS: Final = (b"content-length:", _CONTENT_TYPE)
_STRICT_LENGTH: Final = re.compile(rb"content-length:[ \t]*(\d{1,18})[ \t]*", re.IGNORECASE)
_MAX_STRICT_LINE_BYTES: Final = 256
_MAX_STRICT_LINES: Final = 4


@dataclass(frozen=True)
class Refusal:
    """An invalid message in the stream, as the error to respond with."""

    code: int
    message: str


class ForeignStreamError(Exception):
    """The peer does not speak LSP, for example a browser."""


class Framing:
    """A parser of a stream; buffers at most one message, of at most `limit` bytes.

    Lines that are not headers are skipped, because other programs may print to the same stdout.
    With `strict`, for ports, the first byte that cannot belong to a header and a message over the
    limit raise ForeignStreamError.
    """

    def __init__(self, *, strict: bool = False, limit: int = MAX_MESSAGE_BYTES) -> None:
        self.limit = limit
        self._strict = strict
        self._lines = 0  # of the current header
        self._line = bytearray()
        self._body = bytearray()
        self._length: int | None = None  # of the current message
        self._missing = 0  # bytes of the body not received yet
        self._skipped = 0  # bytes left to skip of a body over the limit

    def feed(self, chunk: bytes) -> Iterator[bytes | Refusal]:
        """Add a chunk and yield the messages that are complete."""
        position = 0
        while position < len(chunk):
            if self._skipped:
                taken = min(self._skipped, len(chunk) - position)
                self._skipped -= taken
                position += taken
            elif self._missing:
                part = chunk[position : position + self._missing]
                self._body += part
                self._missing -= len(part)
                position += len(part)
                if not self._missing:
                    yield self._take_body()
            else:
                end = chunk.find(b"\n", position)
                stop = len(chunk) if end < 0 else end
                self._line += chunk[position:stop]
                position = stop + 1
                if self._strict:
                    self._require_header()
                del self._line[:-_MAX_LINE_BYTES]
                if end >= 0:
                    yield from self._end_line()

    def _take_body(self) -> bytes:
        body = bytes(self._body)
        self._body.clear()
        return body

    def _end_line(self) -> Iterator[Refusal]:
        line = bytes(self._line)
        self._line.clear()
        if self._strict:
            yield from self._end_strict_line(line.removesuffix(b"\r"))
        elif match := _LENGTH.search(line):
            self._length = int(match[1])
        elif _WRONG_LENGTH.match(line):
            yield Refusal(ErrorCodes.ParseError, "The Content-Length is not a number of bytes")
        elif not line.strip() and self._length is not None:
            yield from self._start_body(self._length)

    def _require_header(self) -> None:
        """Raise ForeignStreamError if the line, complete or not, cannot be a header."""
        line = bytes(self._line).lower().rstrip(b"\r")
        is_header = any(name.startswith(line) or line.startswith(name) for name in _HEADERS)
        if not is_header or len(line) > _MAX_STRICT_LINE_BYTES:
            raise ForeignStreamError

    def _end_strict_line(self, line: bytes) -> Iterator[Refusal]:
        self._lines += 1
        if self._lines > _MAX_STRICT_LINES:
            raise ForeignStreamError
        if match := _STRICT_LENGTH.fullmatch(line):
            if self._length is not None:
                raise ForeignStreamError
            self._length = int(match[1])
        elif not line and self._length is not None:
            yield from self._start_body(self._length)
        elif not line.lower().startswith(_CONTENT_TYPE):
            raise ForeignStreamError

    def _start_body(self, length: int) -> Iterator[Refusal]:
        self._length, self._lines = None, 0
        if length <= self.limit:
            self._missing = length
            return
        if self._strict and self.limit < MAX_MESSAGE_BYTES:
            raise ForeignStreamError
        if length <= _MAX_SKIPPED_BYTES:
            self._skipped = length
        yield Refusal(
            ErrorCodes.InvalidRequest,
            f"The message has {length} bytes, the limit is {self.limit}",
        )
