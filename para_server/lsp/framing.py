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
_HTTP: Final = re.compile(rb"^[A-Z]{3,10} \S+ HTTP/\d")


@dataclass(frozen=True)
class Refusal:
    """Something in the stream that is no message, as an error to answer."""

    code: int
    message: str


class SpeaksHttpError(Exception):
    """The other side speaks HTTP: a browser, not an editor."""


class Framing:
    """Cut a stream into messages; it never holds more than one of at most MAX_MESSAGE bytes."""

    def __init__(self, *, guarded: bool = False) -> None:
        self._guarded = guarded  # anybody may connect
        self._line = bytearray()
        self._body = bytearray()
        self._length: int | None = None  # of the message whose headers are being read
        self._missing = 0  # bytes of the body that are still to come
        self._skipped = 0  # bytes to come of a body that is too large

    def feed(self, chunk: bytes) -> Iterator[bytes | Refusal]:
        """Take what came and give the messages that are whole; guarded, raises SpeaksHttpError."""
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
                del self._line[:-_MAX_LINE]
                at = stop + 1
                if end >= 0:
                    yield from self._header()

    def _whole(self) -> bytes:
        body = bytes(self._body)
        self._body.clear()
        return body

    def _header(self) -> Iterator[Refusal]:
        line = bytes(self._line)
        self._line.clear()
        if self._guarded and _HTTP.match(line):
            raise SpeaksHttpError
        if found := _LENGTH.search(line):
            self._length = int(found[1])
        elif _WRONG_LENGTH.match(line):
            yield Refusal(ErrorCodes.ParseError, "The Content-Length is not a number of bytes")
        elif not line.strip() and self._length is not None:
            length, self._length = self._length, None
            yield from self._start(length)

    def _start(self, length: int) -> Iterator[Refusal]:
        if length <= MAX_MESSAGE:
            self._missing = length
            return
        if length <= _MAX_SKIPPED:
            self._skipped = length
        yield Refusal(
            ErrorCodes.InvalidRequest,
            f"A message may have {MAX_MESSAGE} bytes, this one has {length}",
        )
