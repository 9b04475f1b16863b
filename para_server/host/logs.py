"""Format log records for stderr and for editors."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Final, TextIO

from para_server.core.untrusted import one_line, printable, safe_message

_PACKAGE: Final = "para_server"
_MAX_FIELD: Final = 20_000  # characters; tracebacks are shorter
_MAX_RECORD: Final = 2000  # characters of a record for a person or an editor

SessionLog = logging.LoggerAdapter[logging.Logger]


def log_to_stderr(stream: TextIO | None = None, *, for_person: bool = False) -> None:
    """Log to stderr: para from level INFO, libraries from level WARNING."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PlainFormatter() if for_person else KeyValueFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger(_PACKAGE).setLevel(logging.INFO)


def session_logger(logger: logging.Logger, name: str) -> SessionLog:
    """Return a logger whose records contain the name of a session."""
    return logging.LoggerAdapter(logger, {"session": name})


class PlainFormatter(logging.Formatter):
    """Format a record as one line for a terminal, without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as one line."""
        session = getattr(record, "session", None)
        about = f"{session}: " if session else ""
        return f"para: {one_line(f'{about}{record.getMessage()}', _MAX_RECORD)}"


class KeyValueFormatter(logging.Formatter):
    """Format a record as one line of key=value pairs, without control characters."""

    default_msec_format = "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as one line."""
        fields = {"time": self.formatTime(record), "level": record.levelname.lower()}
        fields["logger"] = record.name
        session = getattr(record, "session", None)
        if session:
            fields["session"] = str(session)
        fields["message"] = record.getMessage()
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return " ".join(f"{key}={_quote(value)}" for key, value in fields.items())


class ClientHandler(logging.Handler):
    """Send para's records to a client, as a level and one line of text, until it is closed."""

    def __init__(self, send: Callable[[int, str], None]) -> None:
        super().__init__(logging.INFO)
        self._send = send
        logging.getLogger(_PACKAGE).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        session = getattr(record, "session", None)
        text = f"{session}: {record.getMessage()}" if session else record.getMessage()
        if record.exc_info and record.exc_info[1]:  # without the traceback
            text += f" ({_error_text(record.exc_info[1])})"
        self._send(record.levelno, safe_message(text, _MAX_RECORD))

    def close(self) -> None:
        """Stop sending records."""
        logging.getLogger(_PACKAGE).removeHandler(self)
        super().close()


def _error_text(error: BaseException) -> str:
    return one_line(f"{type(error).__name__}: {error}")


def _quote(value: str) -> str:
    plain = printable(value[:_MAX_FIELD])
    if plain and not any(c.isspace() or c in '"=' for c in plain):
        return plain
    return json.dumps(plain, ensure_ascii=False)
